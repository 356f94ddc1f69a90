"""Templates of prompts and greetings: `{{name}}`, `{{nested.path}}`, `{{name | fallback text}}`.

Text that is no well-formed template stays as it was written. What is inserted is never read as a template
again, so nothing a caller says can pull another variable into a prompt.
"""

import json
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import NamedTuple

# Linear: the quantifiers are possessive, and a body holds no `{{`, so no character is read by two attempts.
_EXPRESSION = re.compile(r"\{\{(?!\{)([^{}]*+(?:(?:\{(?!\{)|\}(?!\}))[^{}]*+)*+)\}\}")
_OPENING = re.compile(r"\{{2,}")
_LINE_END = re.compile(r"\n")
_SEGMENT = re.compile(r"[\w-]+")
_JSON = (int, dict, list, tuple)
_FALLBACK_KEYWORD = "fallback:"
_MAX_PLAIN_FLOAT = 1e15  # above it a float no longer holds every integer, and digits would be invented
_MAX_INDEX = 9  # digits of a list index


class Variable(NamedTuple):
    """A variable a template reads. `has_fallback` is true when every mention of it brings a fallback."""

    name: str
    has_fallback: bool


class _Expression(NamedTuple):
    path: tuple[str, ...]
    fallback: str | None

    @property
    def name(self) -> str:
        return ".".join(self.path)


def render(template: str, values: Mapping[str, object], escape: Callable[[str], str] = str) -> str:
    """Replace every variable by its value, in time linear in the template and what is inserted; never raises.

    Strings are inserted as they are, booleans as true or false, numbers plainly (3.0 as 3), mappings and
    lists as JSON. A value that is missing, None or empty text gives the fallback, or nothing without one.
    `escape` is applied to each insertion, for templates of something stricter than plain text.
    """

    def replacement(match: re.Match[str]) -> str:
        expression = _expression(match[1])
        if expression is None:
            return match[0]
        return escape(_text(lookup(values, expression.path)) or expression.fallback or "")

    return _EXPRESSION.sub(replacement, template)


def syntax_errors(template: str) -> list[str]:
    """The syntax errors of a template, in order, each with line and column from 1; none when it is sound."""
    errors: list[tuple[int, str]] = []
    literal_from = 0
    for match in _EXPRESSION.finditer(template):
        errors += _unclosed(template, literal_from, match.start())
        if _expression(match[1]) is None:
            errors.append((match.start(), f"{_quoted(match[0])} does not name a variable"))
        literal_from = match.end()
    errors += _unclosed(template, literal_from, len(template))
    line_starts = [0, *(match.end() for match in _LINE_END.finditer(template))]
    return [f"{_position(line_starts, index)}: {message}" for index, message in errors]


def variables(template: str) -> tuple[Variable, ...]:
    """The variables a template reads, each once, in the order of their first mention."""
    found: dict[str, bool] = {}
    for match in _EXPRESSION.finditer(template):
        expression = _expression(match[1])
        if expression is not None:
            found[expression.name] = found.get(expression.name, True) and expression.fallback is not None
    return tuple(Variable(name, has_fallback) for name, has_fallback in found.items())


def lookup(values: Mapping[str, object], path: tuple[str, ...]) -> object:
    """The value at a path of mapping keys and list indices (from 0), or None when there is none."""
    value: object = values
    for segment in path:
        if isinstance(value, Mapping):
            value = value.get(segment)
        elif isinstance(value, list | tuple):
            value = value[int(segment)] if _is_index(segment) and int(segment) < len(value) else None
        else:
            return None
    return value


def _is_index(segment: str) -> bool:
    return segment.isascii() and segment.isdigit() and len(segment) <= _MAX_INDEX


def _expression(inner: str) -> _Expression | None:
    """What stands between the braces, or None when it names no variable."""
    path_text, bar, rest = inner.partition("|")
    path = tuple(segment.strip() for segment in path_text.split("."))
    if not all(_SEGMENT.fullmatch(segment) for segment in path):
        return None
    fallback = rest.strip().removeprefix(_FALLBACK_KEYWORD).strip() if bar else None
    return _Expression(path, fallback)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float):
        return _number(value)
    try:
        # json also gives true, false and plain integers.
        return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, _JSON) else str(value)
    except Exception:
        # Only values no JSON can hold get here (a cycle, an integer of thousands of digits, an object that
        # cannot be shown). A turn must not fail because of what is said in it, so they count as missing.
        return ""


def _number(value: float) -> str:
    if not math.isfinite(value) or abs(value) >= _MAX_PLAIN_FLOAT:
        return str(value)
    return str(int(value)) if value.is_integer() else str(value)


def _unclosed(template: str, start: int, end: int) -> list[tuple[int, str]]:
    """Openings in a stretch of literal text, with their index: `{{` that no `}}` closes."""
    message = '"{{" is never closed by "}}"'
    return [(match.start(), message) for match in _OPENING.finditer(template, start, end)]


def _position(line_starts: list[int], index: int) -> str:
    line = bisect_right(line_starts, index)
    return f"line {line}, column {index - line_starts[line - 1] + 1}"


def _quoted(text: str, longest: int = 60) -> str:
    short = text if len(text) <= longest else text[:longest] + "..."
    return json.dumps(short, ensure_ascii=not short.isprintable())
