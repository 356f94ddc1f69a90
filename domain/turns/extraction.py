"""Variables that a node learns from the conversation: what a model is asked for, and what of its answer counts."""

import json
from collections.abc import Sequence
from math import isfinite

from pydantic import JsonValue

from domain.agents.definition import Extraction

RECORD_TOOL = "record_variables"
"""The tool with which a model hands in what it found."""
EXTRACTION_INSTRUCTIONS = (
    "Read the conversation and record the variables with the tool. Record only what was actually said; leave out "
    "what is not known. Later words count more than earlier ones."
)
EXTRACTION_CUE = "(The conversation pauses here. Record the variables now.)"
"""Goes after a conversation from which variables are read: providers insist that a user speaks last."""

_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


def extraction_schema(wanted: Sequence[Extraction]) -> dict[str, JsonValue]:
    """A JSON schema of an object in which every variable may be left out."""
    properties: dict[str, JsonValue] = {}
    for variable in wanted:
        described: dict[str, JsonValue] = {"type": variable.type}
        if variable.hint:
            described["description"] = variable.hint
        properties[variable.name] = described
    return {"type": "object", "properties": properties, "additionalProperties": False}


def extracted_values(wanted: Sequence[Extraction], found: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """What a model recorded, as far as it was asked for and is of the right type; the rest is left out."""
    read = {variable.name: _typed(variable, found.get(variable.name)) for variable in wanted}
    return {name: value for name, value in read.items() if value is not None}


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
    """A number, whole where it is; one that was written as a text counts too."""
    number = _parse_number(value) if isinstance(value, str) else value
    if isinstance(number, float):
        if not isfinite(number):
            return None
        return int(number) if number.is_integer() else number
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _parse_number(text: str) -> int | float | None:
    """Read as a whole number first: a float holds no more than some 15 digits."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None
