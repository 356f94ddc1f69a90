"""Agents as people write or export them: YAML or JSON text to a definition, with the place of every fault."""

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

DEEPEST: Final = 100
"""Levels of nesting that are read: reading more could exhaust the stack, and no agent has them."""


def read_agent(text: bytes, written: TextFormat) -> AgentDefinition:
    """The definition in a text. Raises InvalidAgent with every fault.

    A text that is no YAML or JSON has one fault, whose place is a line and a column.
    """
    return parse_definition(parse_text(text, written))


def read_export(text: bytes, written: TextFormat, name: str) -> ImportedAgent:
    """The agent in the text of a dograh workflow export, under the given name. Raises InvalidAgent as `read_agent`."""
    return import_dograh(parse_text(text, written), name=name)


def parse_text(text: bytes, written: TextFormat) -> object:
    """The values in a text. Raises InvalidAgent for what is no YAML or JSON, with a line and a column."""
    return _read_json(text) if written == "json" else _read_yaml(text)


def _read_json(text: bytes) -> object:
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except JSONDecodeError as error:
        raise _broken(f"line {error.lineno}, column {error.colno}", error.msg) from error
    except UnicodeDecodeError as error:
        raise _broken(ROOT_PATH, f"is not UTF-8: {error.reason} at byte {error.start}") from error
    except RecursionError as error:
        raise _broken(ROOT_PATH, "is nested too deeply") from error
    except ValueError as error:  # a number with thousands of digits
        raise _broken(ROOT_PATH, str(error)) from error


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise _broken(ROOT_PATH, f"the key {format_value(key)} stands twice in one mapping")
        found[key] = value
    return found


def _read_yaml(text: bytes) -> object:
    try:
        _require_shallow(text)
        return yaml.load(text, _StrictLoader)
    except yaml.MarkedYAMLError as error:
        raise _broken(
            _place(error.problem_mark or error.context_mark), error.problem or error.context or "is no YAML"
        ) from error
    except yaml.YAMLError as error:
        raise _broken(ROOT_PATH, str(error).splitlines()[0]) from error
    except RecursionError as error:
        raise _broken(ROOT_PATH, "is nested too deeply") from error
    except ValueError as error:  # a date such as 2026-02-31, or a number with thousands of digits
        raise _broken(ROOT_PATH, str(error)) from error


def _require_shallow(text: bytes) -> None:
    """Look at the events first: the loader itself would go down into any depth."""
    depth = 0
    for event in yaml.parse(text, _StrictLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise _broken(_place(event.start_mark), "is nested too deeply")


class _StrictLoader(yaml.CSafeLoader):
    """YAML's safe subset, where a key may stand only once in a mapping."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping, refusing a key that was there before."""
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                problem = f"the key {format_value(key)} stands twice in one mapping"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else ROOT_PATH


def _broken(place: str, message: str) -> InvalidAgent:
    return InvalidAgent([ValidationIssue(path=place, message=message)])
