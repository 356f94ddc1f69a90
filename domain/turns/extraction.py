"""Extraction of variables from a conversation: the schema for the model, and the parsing of its result."""

import json
from collections.abc import Sequence
from math import isfinite

from pydantic import JsonValue

from domain.agents.definition import Extraction

RECORD_TOOL = "record_variables"
"""Name of the tool with which a model returns variables."""
EXTRACTION_INSTRUCTIONS = (
    "Read the conversation and record the variables with the tool. Record only what was actually said; leave out "
    "what is not known. Later words count more than earlier ones."
)
EXTRACTION_CUE = "(The conversation pauses here. Record the variables now.)"
"""Last message of an extraction request: providers require a user message at the end."""

_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


def extraction_schema(variables: Sequence[Extraction]) -> dict[str, JsonValue]:
    """JSON schema of an object in which every variable is optional."""
    properties: dict[str, JsonValue] = {}
    for variable in variables:
        schema: dict[str, JsonValue] = {"type": variable.type}
        if variable.hint:
            schema["description"] = variable.hint
        properties[variable.name] = schema
    return {"type": "object", "properties": properties, "additionalProperties": False}


def extracted_values(variables: Sequence[Extraction], found: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The requested variables among those returned by a model; values of the wrong type are dropped."""
    values = {variable.name: _typed(variable, found.get(variable.name)) for variable in variables}
    return {name: value for name, value in values.items() if value is not None}


def _typed(variable: Extraction, value: JsonValue) -> JsonValue:
    match variable.type:
        case "boolean":
            return _boolean(value)
        case "number":
            return _number(value)
        case "string":
            return _string(value)


def _string(value: JsonValue) -> str | None:
    if isinstance(value, str):
        return value.strip() or None
    return None if value is None or isinstance(value, dict | list) else json.dumps(value)


def _boolean(value: JsonValue) -> bool | None:
    if isinstance(value, bool):
        return value
    return _BOOLEANS.get(value.strip().lower()) if isinstance(value, str) else None


def _number(value: JsonValue) -> int | float | None:
    """A number, as int if it is whole; text that is a number is accepted too."""
    number = _parse_number(value) if isinstance(value, str) else value
    if isinstance(number, float):
        if not isfinite(number):
            return None
        return int(number) if number.is_integer() else number
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _parse_number(text: str) -> int | float | None:
    """Parse as int first: a float has only about 15 exact digits."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None
