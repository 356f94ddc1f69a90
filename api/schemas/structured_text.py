"""Parsing of JSON and YAML from callers in bounded time and memory, with the location of an error."""

import json
from collections.abc import Hashable
from json import JSONDecodeError
from typing import Any, Final, Literal

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from domain.agents.definition import InvalidAgent, ValidationIssue
from domain.agents.validation_errors import MAX_VALUES, ROOT_PATH, format_value

TextFormat = Literal["json", "yaml"]

MAX_DEPTH: Final = 100
"""Levels of nesting that are read: more could exhaust the stack, and no definition has them."""
MAX_YAML_NODES: Final = 60_000
"""Keys and values that are written out in one YAML text. Reading so many takes a second; JSON is faster."""
MAX_NUMBER_CHARACTERS: Final = 400

_MERGE = "tag:yaml.org,2002:merge"
_SLOW_IF_LONG = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")
_MAX_INTEGER_KEY = 2**61 - 2
"""Larger integers can be chosen so that all have the same hash, which makes a dictionary slow."""


def parse_text(text: bytes, format: TextFormat) -> object:
    """Parse YAML or JSON. Raises InvalidAgent with a line and a column for invalid text."""
    return _read_json(text) if format == "json" else _read_yaml(text)


def write_yaml(value: object) -> str:
    """A JSON value as YAML, in the order of its keys."""
    text: str = yaml.dump(value, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=110)
    return text


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
        _Limits().check(text)
        return yaml.load(text, _StrictLoader)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(
            _place(error.problem_mark or error.context_mark), error.problem or error.context or "is not valid YAML"
        ) from error
    except yaml.YAMLError as error:
        raise _syntax_error(ROOT_PATH, str(error).splitlines()[0]) from error
    except RecursionError as error:
        raise _syntax_error(ROOT_PATH, "is nested too deeply") from error


class _Limits:
    """A first pass over the events of a YAML text, which are parsed one by one before any value is built.

    Merge keys are rejected, because they copy what they refer to: a few lines could expand to gigabytes.
    """

    def __init__(self) -> None:
        self._written = 0
        self._unfolded = 0
        self._open: list[tuple[str | None, int]] = []
        self._sizes: dict[str, int] = {}

    def check(self, text: bytes) -> None:
        """Raises InvalidAgent at the first place that exceeds a limit."""
        for event in yaml.parse(text, _StrictLoader):
            if isinstance(event, yaml.NodeEvent):
                self._node(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._end_of_collection()

    def _node(self, event: yaml.NodeEvent) -> None:
        self._written += 1
        self._unfolded += 1
        if isinstance(event, yaml.AliasEvent):
            self._unfolded += self._sizes.get(event.anchor or "", 1) - 1
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open.append((event.anchor, self._unfolded - 1))
        elif isinstance(event, yaml.ScalarEvent) and _is_merge(event):
            raise _syntax_error(
                _place(event.start_mark), "merge keys (<<) are not supported: write the fields out where they belong"
            )
        if len(self._open) > MAX_DEPTH:
            raise _syntax_error(_place(event.start_mark), "is nested too deeply")
        if self._written > MAX_YAML_NODES:
            message = f"has more than {MAX_YAML_NODES:,} keys and values; send it as JSON, or make it smaller"
            raise _syntax_error(_place(event.start_mark), message)
        if self._unfolded > 2 * MAX_VALUES:  # keys are counted here
            raise _syntax_error(_place(event.start_mark), f"has more than {MAX_VALUES:,} values, aliases unfolded")

    def _end_of_collection(self) -> None:
        anchor, before = self._open.pop()
        if anchor is not None:
            self._sizes[anchor] = self._unfolded - before


class _StrictLoader(yaml.CSafeLoader):
    """YAML's safe subset, where a key may occur only once in a mapping, and every error has a location."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """Build a value. The library's constructors fail in many ways on text that does not fit its tag."""
        if isinstance(node, ScalarNode) and node.tag in _SLOW_IF_LONG and len(node.value) > MAX_NUMBER_CHARACTERS:
            problem = f"is a number with more than {MAX_NUMBER_CHARACTERS} digits; in quotes it would be text"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, ArithmeticError, TypeError) as error:
            problem = str(error) if isinstance(error, ValueError) else f"is not a {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping. A duplicate key is an error."""
        if not isinstance(node, MappingNode):
            raise yaml.constructor.ConstructorError(None, None, "is not a mapping", node.start_mark)
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, int) and abs(key) > _MAX_INTEGER_KEY:
                raise yaml.constructor.ConstructorError(None, None, "the key is not text", key_node.start_mark)
            if isinstance(key, Hashable) and key in seen:
                problem = f"the key {format_value(key)} is duplicated in one mapping"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)


class _PlainDumper(yaml.CSafeDumper):
    """The library's dumper in C; the one in Python takes seconds for the largest agents."""

    def ignore_aliases(self, data: object) -> bool:
        """Write every value out: JSON has no aliases."""
        return True


def _is_merge(event: yaml.ScalarEvent) -> bool:
    return event.tag == _MERGE or (event.tag is None and event.value == "<<" and event.implicit[0])


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else ROOT_PATH


def _syntax_error(place: str, message: str) -> InvalidAgent:
    return InvalidAgent([ValidationIssue(path=place, message=message)])
