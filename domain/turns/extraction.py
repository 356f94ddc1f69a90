"""Extraction of variables from a conversation: the schema for the model, and the parsing of its result."""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import count
from math import isfinite

from pydantic import JsonValue

from domain.agents.definition import Extraction, Node
from domain.agents.templates import render

RECORD_TOOL = "record_variables"
"""Name of the tool with which a model returns variables."""
RECORD_TOOL_DESCRIPTION = "Record what was found in the conversation."
EXTRACTION_INSTRUCTIONS = (
    "Read the conversation and record the variables with the tool. Record only what was actually said; leave out "
    "what is not known. Later words count more than earlier ones."
)
EXTRACTION_CUE = "(The conversation pauses here. Record the variables now.)"
"""Last message of an extraction request: providers require a user message at the end."""

MAX_PROPERTY_NAME_CHARACTERS = 64
"""Maximum characters of the name of a property that every model provider accepts."""

_UNSUPPORTED_CHARACTER = re.compile(r"[^A-Za-z0-9_.-]")
_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


def extraction_instructions(node: Node, values: Mapping[str, JsonValue]) -> str:
    """Instructions for the extraction of a node's variables: those of every node, then the node's own, rendered."""
    own = render(node.extract_prompt, values)
    return f"{EXTRACTION_INSTRUCTIONS}\n\n{own}" if own.strip() else EXTRACTION_INSTRUCTIONS


def extraction_schema(
    variables: Sequence[Extraction], values: Mapping[str, JsonValue] | None = None
) -> dict[str, JsonValue]:
    """JSON schema of an object in which every variable is optional; `values` are those of the templates of hints.

    A name that providers reject is replaced, and is part of the description instead.
    """
    properties: dict[str, JsonValue] = {}
    for name, variable in zip(_property_names(variables), variables, strict=True):
        schema: dict[str, JsonValue] = {"type": variable.type}
        hint = render(variable.hint, values or {})
        if name != variable.name:
            hint = f"{variable.name}: {hint}" if hint else variable.name
        if hint:
            schema["description"] = hint
        properties[name] = schema
    return {"type": "object", "properties": properties, "additionalProperties": False}


def extraction_texts(node: Node, values: Mapping[str, JsonValue]) -> str:
    """All text about the variables in the request of an extraction."""
    return json.dumps([extraction_instructions(node, values), extraction_schema(node.extract, values)])


def extracted_values(variables: Sequence[Extraction], found: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The requested variables among those returned by a model; values of the wrong type are dropped."""
    names = zip(_property_names(variables), variables, strict=True)
    values = {variable.name: _typed(variable, found.get(name)) for name, variable in names}
    return {name: value for name, value in values.items() if value is not None}


def _property_names(variables: Sequence[Extraction]) -> list[str]:
    """The names of the variables as properties of the schema, each once."""
    taken = {variable.name for variable in variables}
    names = []
    for number, variable in enumerate(variables, start=1):
        name = _UNSUPPORTED_CHARACTER.sub("_", variable.name)
        if name != variable.name or len(name) > MAX_PROPERTY_NAME_CHARACTERS:
            suffixes = (f"_{suffix}" for suffix in count(number))
            shortened = (name[: MAX_PROPERTY_NAME_CHARACTERS - len(suffix)] + suffix for suffix in suffixes)
            name = next(each for each in shortened if each not in taken)
            taken.add(name)
        names.append(name)
    return names


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
