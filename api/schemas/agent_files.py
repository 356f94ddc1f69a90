"""Parsing of agents from YAML or JSON, with the location of every error."""

import json
from collections.abc import Hashable
from json import JSONDecodeError
from typing import Any, Final, Literal

import yaml
from yaml.nodes import MappingNode

from domain.agents.definition import AgentDefinition, InvalidAgent, ValidationIssue, parse_definition
from domain.agents.validation_errors import ROOT_PATH, format_value
from domain.dograh.importer import ImportedAgent, import_dograh

TextFormat = Literal["json", "yaml"]

MAX_DEPTH: Final = 100
"""Maximum nesting. Deeper input could exhaust the stack, and no agent needs it."""


def read_agent(text: bytes, format: TextFormat) -> AgentDefinition:
    """Parse an agent definition. Raises InvalidAgent with all errors.

    Text that is not valid YAML or JSON gives one error, whose location is a line and a column.
    """
    return parse_definition(parse_text(text, format))


def read_export(text: bytes, format: TextFormat, name: str) -> ImportedAgent:
    """Parse a dograh workflow export as an agent of the given name. Raises InvalidAgent as `read_agent` does."""
    return import_dograh(parse_text(text, format), name=name)


def parse_text(text: bytes, format: TextFormat) -> object:
    """Parse YAML or JSON. Raises InvalidAgent with a line and a column for invalid text."""
    return _read_json(text) if format == "json" else _read_yaml(text)


def _read_json(text: bytes) -> object:
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except JSONDecodeError as error:
        raise _syntax_error(f"line {error.lineno}, column {error.colno}", error.msg) from error
    except UnicodeDecodeError as error:
        raise _syntax_error(ROOT_PATH, f"is not UTF-8: {error.reason} at byte {error.start}") from error
    except RecursionError as error:
        raise _syntax_error(ROOT_PATH, "is nested too deeply") from error
    except ValueError as error:  # a number with thousands of digits
        raise _syntax_error(ROOT_PATH, str(error)) from error


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise _syntax_error(ROOT_PATH, f"the key {format_value(key)} is duplicated in one mapping")
        found[key] = value
    return found


def _read_yaml(text: bytes) -> object:
    try:
        _require_shallow(text)
        return yaml.load(text, _StrictLoader)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(
            _place(error.problem_mark or error.context_mark), error.problem or error.context or "is not valid YAML"
        ) from error
    except yaml.YAMLError as error:
        raise _syntax_error(ROOT_PATH, str(error).splitlines()[0]) from error
    except RecursionError as error:
        raise _syntax_error(ROOT_PATH, "is nested too deeply") from error
    except ValueError as error:  # a date such as 2026-02-31, or a number with thousands of digits
        raise _syntax_error(ROOT_PATH, str(error)) from error


def _require_shallow(text: bytes) -> None:
    """Check the nesting of the YAML events first, because the loader has no limit."""
    depth = 0
    for event in yaml.parse(text, _StrictLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise _syntax_error(_place(event.start_mark), "is nested too deeply")


class _StrictLoader(yaml.CSafeLoader):
    """Safe YAML loader that rejects duplicate keys."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping. Raises ConstructorError for a duplicate key."""
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                problem = f"the key {format_value(key)} is duplicated in one mapping"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else ROOT_PATH


def _syntax_error(place: str, message: str) -> InvalidAgent:
    return InvalidAgent([ValidationIssue(path=place, message=message)])
