"""Parser of dograh workflow exports: readable nodes and edges, and issues for the rest.

An export is the editor's React Flow graph `{nodes, edges, viewport}`, or the file that the editor downloads, which
holds the graph under `workflow_definition` next to a name.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from domain.agents.validation_errors import Location, NameSuggestions, ValidationIssue, format_path, format_value
from domain.turns.recordings import reference_to

WEBHOOK_TYPE: Final = "webhook"
START_TYPE: Final = "startCall"
AGENT_TYPE: Final = "agentNode"
END_TYPE: Final = "endCall"
GLOBAL_TYPE: Final = "globalNode"

CONVERSATION_TYPES: Final = frozenset({START_TYPE, AGENT_TYPE, END_TYPE})
"""Types of the nodes of a conversation; a global node only adds its prompt to them."""

WRAPPER_FIELD: Final = "workflow_definition"

AUDIO: Final = "audio"
"""Type of speech that is a recording."""
RECORDING_ID: Final = re.compile(r"[\w-]+(?:\.[\w-]+)*")
_RECORDED: Final = re.compile(rf"RECORDING_ID: ({RECORDING_ID.pattern})(?:\n(.+))?", re.DOTALL)

FETCH_TOOL: Final = "pre_call_fetch"
"""Name of the imported tool that is called before the greeting."""
FETCH_MODE: Final = "always"
"""The only mode in which text chats fetch: others depend on the direction of a telephone call."""


@dataclass(frozen=True)
class ExportedNode:
    """A node of the editor; `data` contains its form fields."""

    location: Location
    id: str
    type: str
    data: Mapping[str, object]

    @property
    def converses(self) -> bool:
        return self.type in CONVERSATION_TYPES

    @property
    def name(self) -> str:
        """The name of the node, or else its id."""
        return name if isinstance(name := self.data.get("name"), str) and name.strip() else self.id

    @property
    def title(self) -> str:
        """The quoted name, for messages."""
        return format_value(self.name)

    @property
    def fetches(self) -> bool:
        """True if the fields enable a fetch before a text chat. A mode takes precedence over the older switch."""
        mode, enabled = self.data.get("pre_call_fetch_mode"), self.data.get("pre_call_fetch_enabled")
        return enabled is True if is_blank(mode) else mode == FETCH_MODE

    def at(self, *fields: str | int) -> Location:
        """The location of a field in its data."""
        return (*self.location, "data", *fields)


@dataclass(frozen=True)
class ExportedEdge:
    """An edge between two nodes that exist."""

    location: Location
    source: ExportedNode
    target: ExportedNode
    data: Mapping[str, object]

    @property
    def converses(self) -> bool:
        return self.source.converses and self.target.converses

    def at(self, *fields: str | int) -> Location:
        """The location of a field in its data."""
        return (*self.location, "data", *fields)


@dataclass(frozen=True)
class Export:
    """The readable part of an export. `issues` concern the form of the graph, not the contents of data fields."""

    root: Location
    outside: Mapping[str, object]
    nodes: tuple[ExportedNode, ...]
    edges: tuple[ExportedEdge, ...]
    issues: tuple[ValidationIssue, ...]

    @property
    def name(self) -> str | None:
        """The name in the file that the editor downloads; None in a bare graph."""
        name = self.outside.get("name")
        return name.strip() or None if isinstance(name, str) else None


def is_export(data: object) -> bool:
    """True if parsed JSON or YAML looks like an export of a workflow, and not like an agent definition."""
    if not isinstance(data, dict):
        return False
    wrapped = data.get(WRAPPER_FIELD)
    graph = wrapped if isinstance(wrapped, dict) and "nodes" not in data else data
    return isinstance(graph.get("nodes"), list) and isinstance(graph.get("edges"), list)


def read_export(data: Mapping[str, object]) -> Export:
    """The graph of a parsed export; never raises."""
    wrapped = data.get(WRAPPER_FIELD)
    if "nodes" not in data and isinstance(wrapped, dict):
        root: Location = (WRAPPER_FIELD,)
        return _Reader(root).export(wrapped, outside=data)
    return _Reader(()).export(data, outside=data)


def is_blank(value: object) -> bool:
    """True for a field without content: None, blank text, an empty collection, or false."""
    return value is None or value is False or value in ([], {}) or (isinstance(value, str) and not value.strip())


def recording_of(data: Mapping[str, object], field: str) -> str | None:
    """The id of the recording that is played for a field; None if the field is text."""
    recording = data.get(f"{field}_recording_id")
    if data.get(f"{field}_type") != AUDIO or not isinstance(recording, str | int) or isinstance(recording, bool):
        return None
    return str(recording).strip() if RECORDING_ID.fullmatch(str(recording).strip()) else None


def spoken(data: Mapping[str, object], field: str) -> object:
    """The spoken text of a field, after a reference to the recording if there is one."""
    text, recording = data.get(field), recording_of(data, field)
    if recording is None or not (text is None or isinstance(text, str)):
        return text
    return reference_to(recording, "" if text is None or not text.strip() else text)


def spoken_fields(text: str, field: str) -> dict[str, JsonValue]:
    """The fields for a text that is said: those of a recording if the text begins with a reference to one."""
    match = _RECORDED.fullmatch(text)
    if match is None:
        return {field: text, f"{field}_type": "text"}
    said: dict[str, JsonValue] = {field: match[2]} if match[2] else {}
    return {**said, f"{field}_type": AUDIO, f"{field}_recording_id": match[1]}


class _Reader:
    """Reads one graph and collects its issues."""

    def __init__(self, root: Location) -> None:
        self._root = root
        self._issues: list[ValidationIssue] = []
        self._hints = NameSuggestions()

    def export(self, graph: Mapping[str, object], outside: Mapping[str, object]) -> Export:
        nodes: dict[str, ExportedNode] = {}
        for location, entry in self._entries(graph, "nodes"):
            node = self._node(location, entry)
            if node is None:
                continue
            if node.id in nodes:
                self._report(
                    (*location, "id"),
                    f"{format_value(node.id)} is the id of {format_path(nodes[node.id].location)} too",
                )
            else:
                nodes[node.id] = node
        edges = [self._edge(location, entry, nodes) for location, entry in self._entries(graph, "edges")]
        return Export(
            root=self._root,
            outside=outside,
            nodes=tuple(nodes.values()),
            edges=tuple(edge for edge in edges if edge is not None),
            issues=tuple(self._issues),
        )

    def _entries(self, graph: Mapping[str, object], field: str) -> Iterator[tuple[Location, Mapping[str, object]]]:
        entries = graph.get(field)
        if not isinstance(entries, list):
            self._report((*self._root, field), f"must be a list of {field}: is this a dograh workflow export?")
            return
        for index, entry in enumerate(entries):
            location = (*self._root, field, index)
            if isinstance(entry, dict):
                yield location, entry
            else:
                self._report(location, "must be a mapping of fields")

    def _node(self, location: Location, entry: Mapping[str, object]) -> ExportedNode | None:
        node_id, node_type = self._text(location, entry, "id"), self._text(location, entry, "type")
        data = self._data(location, entry)
        return ExportedNode(location, node_id, node_type, data) if node_id and node_type else None

    def _edge(
        self, location: Location, entry: Mapping[str, object], nodes: Mapping[str, ExportedNode]
    ) -> ExportedEdge | None:
        source, target = (self._end(location, entry, end, nodes) for end in ("source", "target"))
        data = self._data(location, entry)
        return ExportedEdge(location, source, target, data) if source and target else None

    def _end(
        self, location: Location, entry: Mapping[str, object], end: str, nodes: Mapping[str, ExportedNode]
    ) -> ExportedNode | None:
        node_id = self._text(location, entry, end)
        if node_id and node_id not in nodes:
            self._report(
                (*location, end), f"no node has the id {format_value(node_id)}" + self._hints.about(node_id, nodes)
            )
        return nodes.get(node_id)

    def _text(self, location: Location, entry: Mapping[str, object], field: str) -> str:
        """The text of a required field; empty text, with an issue, if it is missing."""
        value = entry.get(field)
        if isinstance(value, str) and value.strip():
            return value
        self._report(
            (*location, field), "is required" if is_blank(value) else f"must be text, is {format_value(value)}"
        )
        return ""

    def _data(self, location: Location, entry: Mapping[str, object]) -> Mapping[str, object]:
        data = entry.get("data")
        if data is not None and not isinstance(data, dict):
            self._report((*location, "data"), "must be a mapping of fields")
        return data if isinstance(data, dict) else {}

    def _report(self, location: Location, message: str) -> None:
        self._issues.append(ValidationIssue(path=format_path(location), message=message))
