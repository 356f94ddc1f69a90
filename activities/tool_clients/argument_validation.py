"""Validates tool arguments against the tool's JSON schema, which is untrusted."""

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from pydantic import JsonValue
from referencing import Registry
from referencing.exceptions import Unresolvable

from activities.tool_clients.interface import ToolFailed
from activities.tool_clients.responses import MAX_CONTENT_CHARACTERS
from domain.agents.safe_regex import MatchBudget, UnsupportedRegex, matches

MAX_ERRORS = 5
MAX_ERROR_CHARACTERS = 300
MAX_REFERENCES = 2_000
"""Upper bound on the references resolved for one call: they may fan out without end."""
MAX_MATCH_STEPS = 100_000_000
"""Upper bound on the steps of matching regular expressions for one call: less than a second."""

_DECLARING_KEYWORDS = frozenset(
    {"$ref", "$dynamicRef", "additionalProperties", "allOf", "anyOf", "oneOf", "unevaluatedProperties"}
)
_references_left: ContextVar[int] = ContextVar("references_left")
_match_budget: ContextVar[MatchBudget] = ContextVar("match_budget")


class UnusableSchema(ValueError):
    """A schema that cannot be used for validation: malformed, with external references, or endless."""


def check_arguments(schema: Mapping[str, JsonValue], arguments: Mapping[str, JsonValue]) -> None:
    """Validate arguments by the parameters of a tool. Raises ToolFailed with a message for the model."""
    try:
        issues = argument_errors(schema, arguments)
    except UnusableSchema as error:
        message = f"The call was not made: the parameters of this tool cannot be checked ({error})."
        raise ToolFailed("invalid_tool", message) from None
    if issues:
        raise ToolFailed("invalid_arguments", f"The call was not made. {'; '.join(issues)}"[:MAX_CONTENT_CHARACTERS])


def argument_errors(schema: Mapping[str, JsonValue], arguments: Mapping[str, JsonValue]) -> list[str]:
    """Errors in the arguments, worded for the model; empty if they are valid. Raises UnusableSchema.

    Undeclared names are errors unless the schema may allow them in another way. Only references inside the schema
    are resolved, and patterns match in linear time: a schema can neither start requests nor block a worker.
    """
    _references_left.set(MAX_REFERENCES)
    _match_budget.set(MatchBudget(MAX_MATCH_STEPS))
    try:
        _require_no_pattern_properties(schema)
        _require_valid(schema)
        found = [_describe(error) for error in _first(_validator(schema).iter_errors(dict(arguments)))]
    except SchemaError as error:
        raise UnusableSchema(error.message[:MAX_ERROR_CHARACTERS]) from None
    except (Unresolvable, RecursionError, UnsupportedRegex) as error:
        raise UnusableSchema(str(error)[:MAX_ERROR_CHARACTERS]) from None
    return [*found, *_unknown_arguments(schema, arguments)][:MAX_ERRORS]


def _require_valid(schema: Mapping[str, JsonValue]) -> None:
    """Raises SchemaError. Formats are not checked: Python's own engine would compile and keep every pattern."""
    for error in _META_VALIDATOR.iter_errors(dict(schema)):
        raise SchemaError.create_from(error)


def _require_no_pattern_properties(schema: object) -> None:
    """Reject patterns that the library would match with Python's own engine, wherever a reference could lead."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            if isinstance(part.get("patternProperties"), Mapping):
                raise UnusableSchema("patternProperties is not supported")
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _validator(schema: Mapping[str, JsonValue]) -> Validator:
    checker: Validator = _ArgumentValidator(dict(schema), registry=Registry())
    return checker


def _first(errors: Iterator[ValidationError]) -> Iterator[ValidationError]:
    for _, error in zip(range(MAX_ERRORS), errors, strict=False):
        yield error


def _describe(error: ValidationError) -> str:
    place = error.json_path.removeprefix("$").removeprefix(".")
    message = (
        error.message if len(error.message) <= MAX_ERROR_CHARACTERS else f"{error.message[:MAX_ERROR_CHARACTERS]}..."
    )
    return f"{place}: {message}" if place else message


def _unknown_arguments(schema: Mapping[str, JsonValue], arguments: Mapping[str, JsonValue]) -> Iterator[str]:
    properties = schema.get("properties", {})
    if _DECLARING_KEYWORDS & schema.keys() or not isinstance(properties, dict):
        return
    for name in arguments:
        if name not in properties:
            yield f"{name[:64]}: there is no such argument; expected one of: {', '.join(properties) or 'none'}"


def _pattern(_: Validator, pattern: str, instance: object, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not matches(pattern, instance, _match_budget.get()):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _reference(validator: Validator, reference: str, instance: object, schema: Any) -> Iterator[ValidationError]:
    yield from _resolve("$ref", validator, reference, instance, schema)


def _dynamic_reference(
    validator: Validator, reference: str, instance: object, schema: Any
) -> Iterator[ValidationError]:
    yield from _resolve("$dynamicRef", validator, reference, instance, schema)


def _resolve(
    keyword: str, validator: Validator, reference: str, instance: object, schema: Any
) -> Iterator[ValidationError]:
    left = _references_left.get()
    if left == 0:
        raise RecursionError(f"more than {MAX_REFERENCES} references were followed")
    _references_left.set(left - 1)
    yield from Draft202012Validator.VALIDATORS[keyword](validator, reference, instance, schema) or ()


_KEYWORDS = {"pattern": _pattern, "$ref": _reference, "$dynamicRef": _dynamic_reference}
_ArgumentValidator: type[Validator] = extend(Draft202012Validator, _KEYWORDS)  # type: ignore[no-untyped-call]  # as its stubs have it
_META_VALIDATOR: Validator = Draft202012Validator(Draft202012Validator.META_SCHEMA)
