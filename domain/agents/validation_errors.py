"""Faults of what a person wrote: where they are, in plain words, and all of them at once."""

import difflib
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

Location = tuple[int | str, ...]

ROOT_PATH = "definition"  # the path of a issue of the definition as a whole
_MAX_DEPTH = 40
_MAX_VALUES = 100_000
_MAX_INTEGER = 2**63 - 1
_MAX_SUGGESTIONS = 50
_MAX_CANDIDATES = 200
_MAX_NAMES_SHOWN = 12
_MAX_COMPARED_CHARACTERS = 64
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

_EXPECTED_TYPES = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "decimal_type": 'a number, best in quotes ("1.00")',
    "decimal_parsing": 'a number, best in quotes ("1.00")',
    "finite_number": "a finite number",
    "dict_type": "a mapping of names to values",
    "model_type": "a mapping of fields",
    "model_attributes_type": "a mapping of fields",
    "tuple_type": "a list",
}
_CONTAINERS: dict[type, str] = {type(None): "empty", list: "a list", dict: "a mapping"}
_TAG_ERRORS = ("union_tag_invalid", "union_tag_not_found")
_NOT_JSON = "invalid-json-value"  # pydantic's code; a readable copy has reported these values already
_CONSTRAINTS = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_long": "is too long: at most {max_length} characters",
    "too_short": "must have at least {min_length} entry",
    "literal_error": "must be one of {expected}",
    "missing": "is required",
    "union_tag_not_found": "is required",
    "string_pattern_mismatch": "must not be empty",
}


Form = TypeVar("Form", bound=BaseModel)


class ValidationIssue(BaseModel):
    """One thing wrong with a definition. `path` is a path such as `nodes.greet.transitions[1].to`."""

    model_config = ConfigDict(frozen=True)

    path: str
    message: str


class InvalidDefinition(ValueError):
    """Something written that cannot be used, with every issue that was found (at least one)."""

    subject: ClassVar[str] = "definition"

    def __init__(self, issues: Iterable[ValidationIssue]) -> None:
        self.issues: tuple[ValidationIssue, ...] = tuple(issues)
        count = f"{len(self.issues)} errors" if len(self.issues) > 1 else "1 error"
        lines = (f"  {issue.path}: {issue.message}" for issue in self.issues)
        super().__init__("\n".join([f"the {self.subject} has {count}:", *lines]))


def format_path(location: Location) -> str:
    """The path of a location in a definition, as a person would write it."""
    path = ""
    for part in location:
        if isinstance(part, str) and _PLAIN_KEY.fullmatch(part):
            path += f".{part}" if path else part
        else:
            path += f"[{format_value(part)}]"
    return path or ROOT_PATH


def format_value(value: object, longest: int = 60) -> str:
    """A value for a message: short, on one line, and always encodable."""
    if not isinstance(value, str):
        return str(value) if _is_printable(value) else f"a {type(value).__name__}"
    short = value if len(value) <= longest else value[:longest] + "..."
    return json.dumps(short, ensure_ascii=bool(_UNSTORABLE.search(short)))


class NameSuggestions:
    """Guesses at what an unknown word was meant to be, for as many words as a person would read about.

    Comparing words is slow: without limits, thousands of unknown words in one definition would stop a server.
    """

    def __init__(self) -> None:
        self._guesses_left = _MAX_SUGGESTIONS

    def about(self, word: str, known: Collection[str]) -> str:
        """The end of a sentence about an unknown word: the nearest known one, else some of the known ones."""
        if self._guesses_left == 0 or not known:
            return ""
        self._guesses_left -= 1
        candidates = sorted(name for name in known if len(name) <= _MAX_COMPARED_CHARACTERS)[:_MAX_CANDIDATES]
        near = difflib.get_close_matches(word[:_MAX_COMPARED_CHARACTERS], candidates, n=1)
        if near:
            return f"; did you mean {format_value(near[0])}?"
        more = ", ..." if len(known) > _MAX_NAMES_SHOWN else ""
        return f"; known are: {', '.join(format_value(name) for name in candidates[:_MAX_NAMES_SHOWN])}{more}"


class JsonCopy:
    """A copy of parsed data that holds only what JSON can hold, and the issues of what could not be copied.

    YAML can give mappings with keys that are no text, values that contain themselves, and a few lines that
    unfold to millions of values: `value` is None when the data is too deep or too large to look at further.
    """

    def __init__(self, data: object) -> None:
        self.issues: list[ValidationIssue] = []
        self._values_left = _MAX_VALUES
        try:
            self.value: object = self._copied(data, ())
        except _TooLargeError as error:
            self.value = None
            self.issues = [ValidationIssue(path=format_path(error.location), message=str(error))]

    def _copied(self, value: object, location: Location) -> object:
        self._values_left -= 1
        if len(location) > _MAX_DEPTH:
            raise _TooLargeError(f"is nested more than {_MAX_DEPTH} levels deep, or contains itself", location)
        if self._values_left < 0:
            raise _TooLargeError(f"has more than {_MAX_VALUES:,} values, aliases unfolded", ())
        if isinstance(value, dict):
            return {key: self._copied(item, (*location, key)) for key, item in self._entries(value, location)}
        if isinstance(value, list | tuple):
            return [self._copied(item, (*location, index)) for index, item in enumerate(value)]
        self._look_at(value, location)
        return value

    def _entries(self, mapping: dict[Any, object], location: Location) -> Iterator[tuple[str, object]]:
        for key, item in mapping.items():
            if not isinstance(key, str):
                self._report(location, f"the key {format_value(key)} is not text; put it in quotes")
            elif _UNSTORABLE.search(key):
                self._report(location, f"the key {format_value(key)} has a character that cannot be stored")
            else:
                yield key, item

    def _look_at(self, value: object, location: Location) -> None:
        match value:
            case None | bool():
                return
            case str() if _UNSTORABLE.search(value):
                self._report(location, "has a character that cannot be stored (NUL or a lone surrogate)")
            case int() if abs(value) > _MAX_INTEGER:
                self._report(location, "is too large a number: JSON readers agree on 64 bits only")
            case float() if not math.isfinite(value):
                self._report(location, f"must be a finite number, is {value}")
            case str() | int() | float():
                return
            case _:
                kind = type(value).__name__
                self._report(location, f"is a {kind}, which JSON cannot hold; in quotes it would be text")

    def _report(self, location: Location, message: str) -> None:
        self.issues.append(ValidationIssue(path=format_path(location), message=message))


class _TooLargeError(Exception):
    def __init__(self, message: str, location: Location) -> None:
        super().__init__(message)
        self.location = location


def validate_definition(
    data: object,
    form: type[Form],
    invalid: type[InvalidDefinition],
    *,
    fields_at: Callable[[Location], Collection[str]],
    as_written: Callable[[Location], Location],
    semantic_issues: Callable[[Mapping[str, object]], Iterable[ValidationIssue]],
) -> Form:
    """What parsed YAML or JSON defines, read strictly.

    Raises `invalid` with every issue of form (types, lengths, unknown fields) and of meaning, which
    `semantic_issues` finds in what was written: a issue here hides none elsewhere.
    """
    copy = JsonCopy(data)
    issues = list(copy.issues)
    if not isinstance(copy.value, dict):
        required = [name for name, field in form.model_fields.items() if field.is_required()]
        wanted = f"must be a mapping with {', '.join(required[:-1])} and {required[-1]}"
        raise invalid(issues or [ValidationIssue(path=ROOT_PATH, message=wanted)])
    definition = None
    try:
        definition = form.model_validate(copy.value, extra="forbid")
    except ValidationError as error:
        known_paths = {issue.path for issue in issues}
        found = schema_issues(error, fields_at, as_written)
        issues += [issue for issue in found if issue.path not in known_paths]
    issues += semantic_issues(copy.value)
    if issues or definition is None:
        raise invalid(dict.fromkeys(issues))
    return definition


def schema_issues(
    error: ValidationError,
    fields_at: Callable[[Location], Collection[str]],
    as_written: Callable[[Location], Location],
) -> list[ValidationIssue]:
    """What pydantic found in a readable copy, in plain words.

    `fields_at` names the fields of a location of pydantic's, `as_written` turns one into the writer's.
    """
    hints = NameSuggestions()
    issues = []
    for detail in error.errors(include_url=False):
        location = detail["loc"]
        if detail["type"] in _TAG_ERRORS:
            location = (*location, detail["ctx"]["discriminator"].strip("'"))
        if detail["type"] == "extra_forbidden":
            message = "unknown field" + hints.about(str(location[-1]), fields_at(location[:-1]))
        elif detail["type"] == _NOT_JSON:
            continue
        else:
            message = _message(detail)
        issues.append(ValidationIssue(path=format_path(as_written(location)), message=message))
    return issues


def _message(detail: ErrorDetails) -> str:
    kind, given = detail["type"], detail["input"]
    if kind == "union_tag_invalid":
        context = detail["ctx"]
        known = " or ".join(context["expected_tags"].split(", "))
        return f"must be one of {known}, is {_describe_input(context['tag'])}"
    if kind in _EXPECTED_TYPES:
        return f"must be {_EXPECTED_TYPES[kind]}, is {_describe_input(given)}"
    if kind in _CONSTRAINTS:
        message = _CONSTRAINTS[kind].format(**detail.get("ctx", {}))
        return f"{message}, is {_describe_input(given)}" if kind == "literal_error" else message
    return detail["msg"][:1].lower() + detail["msg"][1:]


def _describe_input(value: object) -> str:
    if isinstance(value, bool):
        return f"{str(value).lower()} (put it in quotes if text is meant)"
    if isinstance(value, str):
        return f"the text {format_value(value)}"
    if isinstance(value, int | float):
        return f"the number {format_value(value)}"
    return _CONTAINERS.get(type(value), f"a {type(value).__name__}")


def _is_printable(value: object) -> bool:
    if isinstance(value, int):
        return abs(value) <= _MAX_INTEGER  # Python refuses to print thousands of digits
    return value is None or isinstance(value, float)
