"""Validation issues of definitions: paths, readable messages, and all issues at once."""

import difflib
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

Location = tuple[int | str, ...]

ROOT_PATH = "definition"  # the path of an issue of the whole definition
MAX_LISTED_ISSUES: Final = 100
MAX_COUNTED_ISSUES: Final = 1_000
"""Issues of one kind of validation after which it stops."""
_MAX_ENTRIES = 1_000  # of a collection, once the definition is known to be invalid
_FEW_ENTRIES = (5, 20, 60)  # of a collection, when there are more issues than anybody reads
_MAX_DEPTH = 40
MAX_VALUES = 100_000
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


Definition = TypeVar("Definition", bound=BaseModel)


class ValidationIssue(BaseModel):
    """One error in a definition. `path` locates it, as in `nodes.greet.transitions[1].to`."""

    model_config = ConfigDict(frozen=True)

    path: str
    message: str


class InvalidDefinition(ValueError):
    """A definition with validation issues: `issues` has the first (at least one), `count` the number of all."""

    subject: ClassVar[str] = "definition"

    def __init__(self, issues: Iterable[ValidationIssue]) -> None:
        found = tuple(issues)
        self.count = len(found)
        self.issues: tuple[ValidationIssue, ...] = found[:MAX_LISTED_ISSUES]
        lines = (f"  {issue.path}: {issue.message}" for issue in self.issues)
        super().__init__("\n".join([f"the {self.subject} has {error_count(self.count)}:", *lines]))


def error_count(count: int) -> str:
    """The number of errors for a sentence, and how many of them are listed."""
    if count == 1:
        return "1 error"
    number = f"{count:,} errors" if count < MAX_COUNTED_ISSUES else f"{MAX_COUNTED_ISSUES:,} errors or more"
    return number if count <= MAX_LISTED_ISSUES else f"{number} (the first {MAX_LISTED_ISSUES} are listed)"


def format_path(location: Location) -> str:
    """The location in a definition as a readable path."""
    path = ""
    for part in location:
        if isinstance(part, str) and _PLAIN_KEY.fullmatch(part):
            path += f".{part}" if path else part
        else:
            path += f"[{format_value(part)}]"
    return path or ROOT_PATH


def format_value(value: object, max_characters: int = 60) -> str:
    """A value as text for a message: short, on one line, and always encodable."""
    if not isinstance(value, str):
        return str(value) if _is_printable(value) else f"a {type(value).__name__}"
    short = value if len(value) <= max_characters else value[:max_characters] + "..."
    return json.dumps(short, ensure_ascii=bool(_UNSTORABLE.search(short)))


def mapping_or_empty(value: object) -> Mapping[str, object]:
    """The value if it is a mapping, else an empty one: malformed parts are reported by the schema validation."""
    return value if isinstance(value, dict) else {}


def list_or_empty(value: object) -> list[object]:
    """The value if it is a list, else an empty one: malformed parts are reported by the schema validation."""
    return value if isinstance(value, list) else []


class NameSuggestions:
    """Suggestions for unknown names, for a limited number of names.

    Comparing names is slow: without the limit, thousands of unknown names in one definition would block a server.
    """

    def __init__(self) -> None:
        self._suggestions_left = _MAX_SUGGESTIONS

    def about(self, name: str, known: Collection[str]) -> str:
        """The end of a message about an unknown name: the most similar known name, or else a list of known names."""
        if self._suggestions_left == 0 or not known:
            return ""
        self._suggestions_left -= 1
        candidates = sorted(each for each in known if len(each) <= _MAX_COMPARED_CHARACTERS)[:_MAX_CANDIDATES]
        near = difflib.get_close_matches(name[:_MAX_COMPARED_CHARACTERS], candidates, n=1)
        if near:
            return f"; did you mean {format_value(near[0])}?"
        more = ", ..." if len(known) > _MAX_NAMES_SHOWN else ""
        return f"; expected one of: {', '.join(format_value(each) for each in candidates[:_MAX_NAMES_SHOWN])}{more}"


class JsonCopy:
    """A copy of parsed data that contains only JSON values, and issues for everything else.

    YAML can contain keys that are not text, values that contain themselves, and aliases that expand to millions of
    values. `value` is None if the data is too deep or too large.
    """

    def __init__(self, data: object) -> None:
        self.issues: list[ValidationIssue] = []
        self._values_left = MAX_VALUES
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
            raise _TooLargeError(f"has more than {MAX_VALUES:,} values, aliases unfolded", ())
        if isinstance(value, dict):
            return {key: self._copied(item, (*location, key)) for key, item in self._entries(value, location)}
        if isinstance(value, list | tuple):
            return [self._copied(item, (*location, index)) for index, item in enumerate(value)]
        self._check_scalar(value, location)
        return value

    def _entries(self, mapping: dict[Any, object], location: Location) -> Iterator[tuple[str, object]]:
        for key, item in mapping.items():
            if not isinstance(key, str):
                self._report(location, f"the key {format_value(key)} is not text; put it in quotes")
            elif _UNSTORABLE.search(key):
                self._report(location, f"the key {format_value(key)} has a character that cannot be stored")
            else:
                yield key, item

    def _check_scalar(self, value: object, location: Location) -> None:
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
        if len(self.issues) < MAX_COUNTED_ISSUES:
            self.issues.append(ValidationIssue(path=format_path(location), message=message))


class _TooLargeError(Exception):
    def __init__(self, message: str, location: Location) -> None:
        super().__init__(message)
        self.location = location


def validate_definition(
    data: object,
    model: type[Definition],
    invalid: type[InvalidDefinition],
    *,
    known_fields: Callable[[Location], Collection[str]],
    source_location: Callable[[Location], Location],
    semantic_issues: Callable[[Mapping[str, object]], Iterable[ValidationIssue]],
) -> Definition:
    """Validate parsed YAML or JSON strictly.

    `known_fields` and `source_location` are those of `schema_issues`. Raises `invalid` with every issue: of the schema
    (types, lengths, unknown fields), and those that `semantic_issues` finds in the data. Neither hides the other.
    """
    copy = JsonCopy(data)
    issues = list(copy.issues)
    if not isinstance(copy.value, dict):
        required = [name for name, field in model.model_fields.items() if field.is_required()]
        message = f"must be a mapping with {', '.join(required[:-1])} and {required[-1]}"
        raise invalid(issues or [ValidationIssue(path=ROOT_PATH, message=message)])
    semantic = list(islice(semantic_issues(copy.value), MAX_COUNTED_ISSUES))
    definition, error = _validated(model, copy.value, is_invalid=bool(issues or semantic))
    if error is not None:
        known_paths = {issue.path for issue in issues}
        reported = schema_issues(error, known_fields, source_location)
        issues += [issue for issue in reported if issue.path not in known_paths]
    issues += semantic
    if issues or definition is None:
        raise invalid(dict.fromkeys(issues))
    return definition


def _validated(
    model: type[Definition], value: object, *, is_invalid: bool
) -> tuple[Definition | None, ValidationError | None]:
    """The model, or the errors of pydantic: not many more than a thousand, since each takes a kilobyte.

    A collection that is too long is a semantic issue. If there are any, only the first entries of each collection are
    validated.
    """
    part = _trimmed(value, _MAX_ENTRIES) if is_invalid else value
    try:
        return model.model_validate(part, extra="forbid"), None
    except ValidationError as error:
        all_errors = error
    if all_errors.error_count() > MAX_COUNTED_ISSUES:
        for entries in _FEW_ENTRIES:
            try:
                model.model_validate(_trimmed(value, entries), extra="forbid")
            except ValidationError as error:
                return None, error
    return None, all_errors


def _trimmed(value: object, entries: int) -> object:
    if isinstance(value, dict):
        return {key: _trimmed(item, entries) for key, item in islice(value.items(), entries)}
    if isinstance(value, list):
        return [_trimmed(item, entries) for item in value[:entries]]
    return value


def schema_issues(
    error: ValidationError,
    known_fields: Callable[[Location], Collection[str]],
    source_location: Callable[[Location], Location],
) -> list[ValidationIssue]:
    """The errors of pydantic as readable issues.

    `known_fields` returns the fields allowed at a location of pydantic, `source_location` converts such a location
    into one of the source.
    """
    suggestions = NameSuggestions()
    issues = []
    for detail in error.errors(include_url=False):
        location = detail["loc"]
        if detail["type"] in _TAG_ERRORS:
            location = (*location, detail["ctx"]["discriminator"].strip("'"))
        if detail["type"] == "extra_forbidden":
            message = "unknown field" + suggestions.about(str(location[-1]), known_fields(location[:-1]))
        elif detail["type"] == _NOT_JSON or _follows_from_entries(detail):
            continue
        else:
            message = _message(detail)
        issues.append(ValidationIssue(path=format_path(source_location(location)), message=message))
    return issues


def _follows_from_entries(detail: ErrorDetails) -> bool:
    """True for a list that is too short only without its invalid entries, which pydantic does not count."""
    return detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]


def _message(detail: ErrorDetails) -> str:
    kind, value = detail["type"], detail["input"]
    if kind == "union_tag_invalid":
        context = detail["ctx"]
        *others, last = context["expected_tags"].split(", ")
        known = f"{', '.join(others)} or {last}" if others else last
        return f"must be one of {known}, is {_describe_input(context['tag'])}"
    if kind in _EXPECTED_TYPES:
        return f"must be {_EXPECTED_TYPES[kind]}, is {_describe_input(value)}"
    if kind in _CONSTRAINTS:
        message = _CONSTRAINTS[kind].format(**detail.get("ctx", {}))
        return f"{message}, is {_describe_input(value)}" if kind == "literal_error" else message
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
