"""Templates of prompts and greetings: `{{name}}`, `{{nested.path}}`, `{{name | fallback text}}`.

Built-in variables are `{{current_time}}` and `{{current_weekday}}`, in UTC, and both with a time zone of the IANA
database at their end, as in `{{current_time_Europe/Rome}}`. They show the time at which the turn began, which is one of
the values (`TURN_STARTED_AT`), so that a replay renders the same text. A path may begin with `initial_context.` or
`gathered_context.`.

Malformed templates stay as they are. Inserted values are not rendered again, so that a user's message cannot insert
another variable into a prompt.
"""

import json
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

# Linear: the quantifiers are possessive, and a body contains no `{{`, so no character is read by two attempts.
_EXPRESSION = re.compile(r"\{\{(?!\{)([^{}]*+(?:(?:\{(?!\{)|\}(?!\}))[^{}]*+)*+)\}\}")
_OPENING = re.compile(r"\{{2,}")
_LINE_END = re.compile(r"\n")
_SEGMENT = re.compile(r"[\w-]+")
_JSON = (int, dict, list, tuple)
_FALLBACK_KEYWORD = "fallback"
_PREFIXES = ("initial_context", "gathered_context")
_BUILT_IN = re.compile(r"current_(time|weekday)(?:_([A-Za-z0-9_+/-]+))?")
_FORMATS: Final = {"time": "%Y-%m-%d %H:%M:%S %Z", "weekday": "%A"}
_MAX_PLAIN_FLOAT = 1e15  # above it floats do not represent every integer
_MAX_INDEX_DIGITS = 9


TURN_STARTED_AT: Final = "turn_started_at"
"""Name of the variable with the time at which the turn began, in ISO 8601."""


class Variable(NamedTuple):
    """A variable of a template. `has_fallback` is true if every mention of it has a fallback."""

    name: str
    has_fallback: bool


class Insertion(NamedTuple):
    """A place of a rendered text that came from a variable; `is_fallback` where the fallback took its place."""

    start: int
    end: int
    name: str
    is_fallback: bool


class _Expression(NamedTuple):
    path: tuple[str, ...]
    fallback: str | None

    @property
    def name(self) -> str:
        return ".".join(self.path)


def render(template: str, values: Mapping[str, object], escape: Callable[[str], str] = str) -> str:
    """Replace every variable by its value, in time linear in the template and the values; never raises.

    Strings are inserted verbatim, booleans as true or false, numbers plainly (3.0 as 3), mappings and lists as JSON. A
    missing, None or empty value is replaced by the fallback, or by nothing. `escape` is applied to each insertion, for
    example to encode it for a URL.
    """

    zone: list[str] = []

    def replacement(match: re.Match[str]) -> str:
        expression = _expression(match[1])
        if expression is None:
            return match[0]
        return escape(_text(_value(values, expression, zone, template)) or expression.fallback or "")

    return _EXPRESSION.sub(replacement, template)


def render_marked(template: str, values: Mapping[str, object]) -> tuple[str, tuple[Insertion, ...]]:
    """The text that `render` makes, and the places in it that came from variables."""
    zone: list[str] = []
    parts: list[str] = []
    insertions: list[Insertion] = []
    read, length = 0, 0
    for match in _EXPRESSION.finditer(template):
        expression = _expression(match[1])
        if expression is None:
            continue
        found = _text(_value(values, expression, zone, template))
        inserted = found or expression.fallback or ""
        literal = template[read : match.start()]
        start = length + len(literal)
        insertions.append(Insertion(start, start + len(inserted), expression.name, is_fallback=not found))
        parts += (literal, inserted)
        read, length = match.end(), start + len(inserted)
    return "".join((*parts, template[read:])), tuple(insertions)


def syntax_errors(template: str) -> list[str]:
    """The syntax errors of a template, in order, each with line and column from 1."""
    errors: list[tuple[int, str]] = []
    literal_from = 0
    for match in _EXPRESSION.finditer(template):
        errors += _unclosed(template, literal_from, match.start())
        expression = _expression(match[1])
        if expression is None:
            errors.append((match.start(), f"{_quoted(match[0])} does not name a variable"))
        elif (zone := _zone_of(expression)) and _time_zone(zone) is None:
            errors.append((match.start(), f"{_quoted(zone)} is not a time zone; write one such as Europe/Rome"))
        literal_from = match.end()
    errors += _unclosed(template, literal_from, len(template))
    line_starts = [0, *(match.end() for match in _LINE_END.finditer(template))]
    return [f"{_position(line_starts, index)}: {message}" for index, message in errors]


def variables(template: str) -> tuple[Variable, ...]:
    """The variables of a template, each once, in the order of their first mention."""
    found: dict[str, bool] = {}
    for match in _EXPRESSION.finditer(template):
        expression = _expression(match[1])
        if expression is not None and not is_built_in(expression.name):
            found[expression.name] = found.get(expression.name, True) and expression.fallback is not None
    return tuple(Variable(name, has_fallback) for name, has_fallback in found.items())


def is_built_in(name: str) -> bool:
    """True for the name of a variable that every session has."""
    return name == TURN_STARTED_AT or _BUILT_IN.fullmatch(name) is not None


def lookup(values: Mapping[str, object], path: tuple[str, ...]) -> object:
    """The value at a path of mapping keys and list indices (from 0); None if it does not exist."""
    value: object = values
    for segment in path:
        if isinstance(value, Mapping):
            value = value.get(segment)
        elif isinstance(value, list | tuple):
            value = value[int(segment)] if _is_index(segment) and int(segment) < len(value) else None
        else:
            return None
    return value


def _value(values: Mapping[str, object], expression: _Expression, zone: list[str], template: str) -> object:
    """The value of an expression. `zone` caches the default time zone of the template for the other expressions."""
    built_in = _BUILT_IN.fullmatch(expression.name)
    started = values.get(TURN_STARTED_AT)
    if built_in is not None and isinstance(started, str):
        if not zone:
            zone.append(_default_zone(template))
        return _time(started, _FORMATS[built_in[1]], built_in[2] or zone[0])
    found = lookup(values, expression.path)
    if found is None and len(expression.path) > 1 and expression.path[0] in _PREFIXES:
        return lookup(values, expression.path[1:])
    return found


def _default_zone(template: str) -> str:
    """The time zone of the first built-in variable that has one, which also applies to those without one; else UTC."""
    named = (_zone_of(expression) for match in _EXPRESSION.finditer(template) if (expression := _expression(match[1])))
    return next((zone for zone in named if zone), "UTC")


def _zone_of(expression: _Expression) -> str | None:
    built_in = _BUILT_IN.fullmatch(expression.name)
    return built_in[2] if built_in else None


def _time(started: str, form: str, zone: str) -> str | None:
    """A time in a time zone; None if the zone does not exist or the time cannot be read."""
    time_zone = _time_zone(zone)
    try:
        return datetime.fromisoformat(started).astimezone(time_zone).strftime(form) if time_zone else None
    except (ValueError, OverflowError):
        return None


def _time_zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # no such zone, or a directory of the database
        return None


def _is_index(segment: str) -> bool:
    return segment.isascii() and segment.isdigit() and len(segment) <= _MAX_INDEX_DIGITS


def _expression(inner: str) -> _Expression | None:
    """Parse the text between the braces; None if it does not name a variable."""
    path_text, bar, rest = inner.partition("|")
    path = tuple(segment.strip() for segment in path_text.split("."))
    if not all(_SEGMENT.fullmatch(segment) for segment in path) and not _BUILT_IN.fullmatch(path_text.strip()):
        return None
    return _Expression(path, _fallback(rest.strip(), path) if bar else None)


def _fallback(written: str, path: tuple[str, ...]) -> str:
    """The text after the bar. The word `fallback` alone stands for the name of the variable, in title case."""
    if written == _FALLBACK_KEYWORD:
        return ".".join(path).title()
    return written.removeprefix(f"{_FALLBACK_KEYWORD}:").strip()


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
        # Only values that JSON cannot represent (a cycle, a huge integer, an object whose str() fails). A turn must not
        # fail because of a value, so they count as missing.
        return ""


def _number(value: float) -> str:
    if not math.isfinite(value) or abs(value) >= _MAX_PLAIN_FLOAT:
        return str(value)
    return str(int(value)) if value.is_integer() else str(value)


def _unclosed(template: str, start: int, end: int) -> list[tuple[int, str]]:
    """Unclosed `{{` in a part of literal text, with their index."""
    message = '"{{" is never closed by "}}"'
    return [(match.start(), message) for match in _OPENING.finditer(template, start, end)]


def _position(line_starts: list[int], index: int) -> str:
    line = bisect_right(line_starts, index)
    return f"line {line}, column {index - line_starts[line - 1] + 1}"


def _quoted(text: str, max_characters: int = 60) -> str:
    short = text if len(text) <= max_characters else text[:max_characters] + "..."
    return json.dumps(short, ensure_ascii=not short.isprintable())
