"""Untrusted regular expressions: matched in linear time and compiled within a memory limit, or rejected."""

import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

from domain.agents.validation_errors import format_value

MAX_PATTERN_CHARACTERS: Final = 2_000
MAX_PATTERN_BYTES: Final = 4 * 1024 * 1024
"""Estimated memory of one compiled pattern: `\\w{1,60}` has about as much."""
MAX_PATTERN_POSITIONS: Final = 10_000
"""Places of a pattern at which matching can be at once: matching takes at most this many steps a character."""
MAX_PATTERNS: Final = 100
"""Different patterns of one definition."""
MAX_TOTAL_BYTES: Final = 16 * 1024 * 1024
"""Estimated memory of all patterns of one definition."""

_CACHED_PATTERNS: Final = 16
"""Compiled patterns that a process keeps. Each grows by up to 2 MB while it is used."""
_CACHED_BYTES: Final = 8 * 1024 * 1024

_FLAGS = re.compile(r"\(\?(?P<flags>[A-Za-z-]*)(?P<end>[:)])")
_GROUP_NAME = re.compile(r"\(\?P?<[^>=!]*>")
_COUNT = re.compile(r"\{\s*([0-9]*)\s*(?:,\s*([0-9]*)\s*)?\}")
_PROPERTY = re.compile(r"[pP](?:\{[^}]*\}|.)", re.DOTALL)
_CODE_POINT = re.compile(r"[xuU](?:\{[^}]*\}|[0-9A-Fa-f]{2,8})")


class UnsupportedRegex(ValueError):
    """A pattern that is malformed, too large, or needs look-around or back-references, or a match of too many steps."""


@dataclass(frozen=True)
class RegexCost:
    """A conservative estimate: bytes when compiled, and places at which a match can be at once."""

    size: int
    positions: int

    @property
    def is_acceptable(self) -> bool:
        """True when one pattern may cost this much."""
        return self.size <= MAX_PATTERN_BYTES and self.positions <= MAX_PATTERN_POSITIONS

    def times(self, count: int) -> "RegexCost":
        """The cost of a part that is repeated."""
        return RegexCost(self.size * count, self.positions * count)

    def __add__(self, other: "RegexCost") -> "RegexCost":
        return RegexCost(self.size + other.size, self.positions + other.positions)


class MatchBudget:
    """Steps that several matches may take together: each character counts once for every position of its pattern."""

    def __init__(self, steps: int) -> None:
        self._steps_left = steps

    def spend(self, steps: int) -> None:
        """Count steps. Raises UnsupportedRegex when too few are left."""
        self._steps_left -= steps
        if self._steps_left < 0:
            raise UnsupportedRegex("its regular expressions take too many steps for values of this length")


class RegexLimits:
    """The limits on all patterns of one definition, applied to one pattern after the other."""

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}
        self._bytes_left = MAX_TOTAL_BYTES
        self._is_exceeded = False

    def issue(self, pattern: str) -> str | None:
        """The message about a pattern that is not accepted; patterns after an exceeded limit are not examined."""
        if pattern in self._known:
            return self._known[pattern]
        if self._is_exceeded:
            return None
        if len(self._known) == MAX_PATTERNS:
            self._is_exceeded = True
            return f"is one regular expression too many: a definition may have {MAX_PATTERNS} different ones"
        message = self._examined(pattern)
        if not self._is_exceeded:
            self._known[pattern] = message
        return message

    def _examined(self, pattern: str) -> str | None:
        if not _is_acceptable(pattern):
            return f"{format_value(pattern)} is too large a regular expression: repeat less, or shorten it"
        self._bytes_left -= cost_of(pattern).size
        if self._bytes_left < 0:
            self._is_exceeded = True
            return "is too much: the regular expressions of the definition are too large together; repeat less"
        if not is_supported_regex(pattern):
            return (
                f"{format_value(pattern)} is not a supported regular expression: remove look-around and back-references"
            )
        return None


def matches(pattern: str, text: str, budget: MatchBudget | None = None) -> bool:
    """True when the pattern is found anywhere in the text. Raises UnsupportedRegex, also when the budget is used up."""
    cost, validator = _kept(pattern, budget)
    if budget:
        budget.spend(cost.positions * len(text))
    try:
        validator.validate_python(text)
    except ValidationError:
        return False
    return True


def is_supported_regex(pattern: str) -> bool:
    """True if `matches` accepts this pattern."""
    return _is_acceptable(pattern) and _compiled(pattern) is not None


def cost_of(pattern: str) -> RegexCost:
    """The cost of a pattern, estimated from its text, without compiling it. A malformed pattern may have any cost."""
    return _Estimate(pattern).cost


_Compiled = tuple[RegexCost, SchemaValidator]
_cache: OrderedDict[str, _Compiled] = OrderedDict()


def _kept(pattern: str, budget: MatchBudget | None) -> _Compiled:
    """The compiled pattern, from the cache if it is there. Raises UnsupportedRegex."""
    kept = _cache.pop(pattern, None)
    if kept is None:
        if not _is_acceptable(pattern):
            raise UnsupportedRegex(f"{format_value(pattern)} is too large a regular expression")
        cost = cost_of(pattern)
        if budget:
            budget.spend(cost.size)  # a byte takes about as long to compile as a step to match
        validator = _compiled(pattern)
        if validator is None:
            raise UnsupportedRegex(f"{format_value(pattern)} is not a supported regular expression")
        kept = (cost, validator)
    _cache[pattern] = kept
    while len(_cache) > _CACHED_PATTERNS or sum(cost.size for cost, _ in list(_cache.values())) > _CACHED_BYTES:
        _cache.popitem(last=False)
    return kept


def _is_acceptable(pattern: str) -> bool:
    return len(pattern) <= MAX_PATTERN_CHARACTERS and cost_of(pattern).is_acceptable


def _compiled(pattern: str) -> SchemaValidator | None:
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except SchemaError:
        return None


# Measured with the regex engine of pydantic-core 2.x; tests/domain/agents/test_safe_regex.py measures again.
_WORD = RegexCost(70_000, 4)
_DIGIT = RegexCost(7_000, 4)
_SPACE = RegexCost(2_000, 4)
_ANY = RegexCost(1_400, 4)
_RANGE = RegexCost(1_400, 4)
_EMPTY = RegexCost(150, 1)
_LITERAL = RegexCost(150, 1)
_ANY_CASE_FACTOR: Final = 3
_PATTERN_ITSELF: Final = RegexCost(20_000, 2)
_NOT_COUNTED: Final = RegexCost(MAX_PATTERN_BYTES + 1, MAX_PATTERN_POSITIONS + 1)
"""The cost of a pattern that is over a limit, or that the estimate does not cover."""
_ESCAPES: Final = {"w": _WORD, "W": _WORD, "d": _DIGIT, "D": _DIGIT, "s": _SPACE, "S": _SPACE}


class _Estimate:
    """One reading of a pattern from left to right, with a stack of open groups."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        # Conservative: a flag counts for the whole pattern, wherever it is set.
        flags = "".join(match["flags"] for match in _FLAGS.finditer(pattern))
        self._factor = _ANY_CASE_FACTOR if "i" in flags else 1
        if "x" in flags:  # with spaces and comments anywhere
            self.cost = _NOT_COUNTED
        else:
            self.cost = self._total() + _PATTERN_ITSELF

    def _total(self) -> RegexCost:
        groups: list[RegexCost] = []
        before, last = _EMPTY, _EMPTY
        while self._at < len(self._pattern):
            character = self._pattern[self._at]
            if character == "(":
                self._open_group()
                groups.append(before + last)
                before, last = _EMPTY, _EMPTY
            elif character == ")" and groups:
                self._at += 1
                before, last = groups.pop(), before + last + _EMPTY
            elif character == "{" and (count := _COUNT.match(self._pattern, self._at)):
                self._at = count.end()
                last = last.times(_highest(count))
            elif character in "*+?":
                self._at += 1
                last += _EMPTY
            else:
                before, last = before + last, self._single()
            if not (before + last).is_acceptable:
                return _NOT_COUNTED
        for outer in groups:
            before += outer
        return before + last

    def _open_group(self) -> None:
        head = _FLAGS.match(self._pattern, self._at) or _GROUP_NAME.match(self._pattern, self._at)
        if head is None:
            self._at += 1
        elif head[0].endswith(")"):  # flags alone: the ")" closes the group that this opens
            self._at = head.end() - 1
        else:
            self._at = head.end()

    def _single(self) -> RegexCost:
        character = self._pattern[self._at]
        if character == "\\":
            return self._escape()
        if character == "[":
            return self._class()
        self._at += 1
        return _ANY if character == "." else _literal(character).times(self._factor)

    def _escape(self) -> RegexCost:
        self._at += 1
        if named := _PROPERTY.match(self._pattern, self._at):
            self._at = named.end()
            return _WORD
        if code := _CODE_POINT.match(self._pattern, self._at):
            self._at = code.end()
            return _RANGE.times(self._factor)
        known = _ESCAPES.get(self._pattern[self._at : self._at + 1], _LITERAL.times(self._factor))
        self._at += 1
        return known

    def _class(self) -> RegexCost:
        """A class in brackets, with the classes in it."""
        depth, total = 0, _LITERAL.times(self._factor)
        first = False
        while self._at < len(self._pattern):
            character = self._pattern[self._at]
            if character == "[":
                depth += 1
                self._at += 1
                first = True
                continue
            if character == "]" and not first:
                depth -= 1
                self._at += 1
                if depth == 0:
                    break
                continue
            if character == "^":
                total += _ANY
                self._at += 1
                continue
            first = False
            if character == "\\":
                total += self._escape()
            else:
                self._at += 1
                total += RegexCost(30, 0).times(self._factor) if character.isascii() else _RANGE.times(self._factor)
        return RegexCost(total.size, 4)


def _literal(character: str) -> RegexCost:
    return _LITERAL if character.isascii() else RegexCost(600, 4)


def _highest(count: re.Match[str]) -> int:
    """The number of copies that a counted repetition makes."""
    least, most = (int((number or "").lstrip("0")[:9] or 0) for number in (count[1], count[2]))
    return max(least, most, 1)
