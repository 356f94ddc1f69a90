"""Variables that a node learns from the conversation: what a model is asked for, and what of its answer counts."""

from collections.abc import Sequence
from math import isfinite

from pydantic import JsonValue

from domain.agent import Extraction

RECORD_TOOL = "record_variables"
"""The tool with which a model hands in what it found."""
EXTRACTION_INSTRUCTIONS = (
    "Read the conversation and record the variables with the tool. Record only what was actually said; leave out "
    "what is not known. Later words count more than earlier ones."
)


def schema_of(wanted: Sequence[Extraction]) -> dict[str, JsonValue]:
    """A JSON schema of an object in which every variable may be left out."""
    properties: dict[str, JsonValue] = {}
    for variable in wanted:
        described: dict[str, JsonValue] = {"type": variable.type}
        if variable.hint:
            described["description"] = variable.hint
        properties[variable.name] = described
    return {"type": "object", "properties": properties, "additionalProperties": False}


def values_of(wanted: Sequence[Extraction], found: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """What a model recorded, as far as it was asked for and is of the right type; the rest is left out."""
    read = {variable.name: _typed(variable, found.get(variable.name)) for variable in wanted}
    return {name: value for name, value in read.items() if value is not None}


def _typed(variable: Extraction, value: JsonValue) -> JsonValue:
    if variable.type == "boolean":
        words: dict[object, bool] = {"true": True, "yes": True, "false": False, "no": False}
        return value if isinstance(value, bool) else words.get(str(value).strip().lower())
    if variable.type == "number":
        return _number(value)
    if isinstance(value, str):
        return value.strip() or None
    return None if value is None or isinstance(value, dict | list) else str(value)


def _number(value: JsonValue) -> JsonValue:
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(str(value))
    except ValueError:
        return None
    if not isfinite(number):
        return None
    return int(number) if number.is_integer() else number
