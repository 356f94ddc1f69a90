"""Reads the workflow exports of dograh, a builder of voice agents, into agent definitions."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from domain.agents.definition import AgentDefinition, InvalidAgent, parse_definition
from domain.agents.validation_errors import JsonCopy, Location, ValidationIssue, format_path, format_value
from domain.dograh.export_format import (
    END_TYPE,
    FETCH_TOOL,
    GLOBAL_TYPE,
    START_TYPE,
    Export,
    ExportedEdge,
    ExportedNode,
    is_blank,
    read_export,
)
from domain.dograh.warnings import import_warnings

__all__ = ["ImportedAgent", "import_dograh"]

_MAX_ID_CHARACTERS: Final = 40
_NODE_FIELDS: Final = {"prompt": "prompt", "greeting": "greeting", "add_global_prompt": "use_global_prompt"}
_EDGE_FIELDS: Final = {"label": "name", "condition": "when", "transition_speech": "say"}
_EXPORT_PATH: Final = "export"  # the path of a issue of the export as a whole


@dataclass(frozen=True)
class ImportedAgent:
    """An agent that was read from an export.

    `warnings` name what was left out, each with its path in the export; what deserves a look in the agent
    itself is told by `warnings_for`. Every node of the definition knows its `origin`.
    """

    definition: AgentDefinition
    warnings: tuple[str, ...]


def import_dograh(export: object, *, name: str) -> ImportedAgent:
    """The agent in a parsed dograh export: its graph, or the file that the editor downloads.

    Node ids are made from the names of the nodes. An edge becomes a transition that the model is offered under
    the same tool name. The global node's prompt becomes the agent's. The instructions for a node's extraction
    are given with each of its variables. What is fetched before a call becomes a tool that is called before the
    opening: it is asked what that product asks, and its answer joins the context as it is. Fields that only
    concern voice, such as `allow_interrupt`, are ignored.

    Raises InvalidAgent with every issue, of the export's form and of the agent's meaning, at its path in the export.
    """
    copy = JsonCopy(export)
    if not isinstance(copy.value, dict):
        not_an_export = ValidationIssue(path=_EXPORT_PATH, message="must be a mapping with nodes and edges")
        raise InvalidAgent(copy.issues or [not_an_export])
    read = read_export(copy.value)
    draft = _Draft(read, name)
    issues = [*copy.issues, *read.issues, *draft.issues]
    try:
        definition = parse_definition(draft.definition)
    except InvalidAgent as refusal:
        issues += draft.located(refusal.issues, graph_is_broken=bool(read.issues or draft.issues))
        raise InvalidAgent(dict.fromkeys(issues)) from refusal
    if issues:
        raise InvalidAgent(dict.fromkeys(issues))
    return ImportedAgent(definition=definition, warnings=tuple(import_warnings(read)))


class _Draft:
    """A definition as the export words it, not validated yet, and where each part of it stands in the export."""

    def __init__(self, export: Export, name: str) -> None:
        self.issues: list[ValidationIssue] = []
        self._sources: dict[str, Location] = {"name": ("name",)}
        self._node_paths: set[str] = set()
        self._nodes: dict[str, dict[str, object]] = {}
        self._arrows: dict[str, list[dict[str, object]]] = {}
        self.definition: dict[str, object] = {"name": name, "start": "", "nodes": self._nodes}
        self._ids = _node_ids(node for node in export.nodes if node.converses)
        if self._ids:
            self._stands_at(("nodes",), (*export.root, "nodes"))
        self._take_global_prompt(export)
        for node in export.nodes:
            if node.converses:
                self._take_node(node)
        self._take_start(export)
        for edge in export.edges:
            if edge.converses:
                self._take_edge(edge)

    def located(self, issues: Iterable[ValidationIssue], *, graph_is_broken: bool) -> list[ValidationIssue]:
        """Faults of the definition at their paths in the export.

        Where the graph could not be read as a whole, what follows from that alone is left out: nodes that cannot be
        reached, and issues of what the export has no path for.
        """
        found = []
        for issue in issues:
            path = self._path_in_export(issue.path)
            if graph_is_broken and (path is None or issue.path in self._node_paths):
                continue
            found.append(ValidationIssue(path=path or issue.path, message=issue.message))
        return found

    def _path_in_export(self, path: str) -> str | None:
        """The nearest known part of the definition that holds the path, at its path in the export."""
        ends = [len(path), *(index for index in range(len(path) - 1, 0, -1) if path[index] in ".[")]
        for end in ends:
            source = self._sources.get(path[:end])
            if source is not None:
                return format_path(source) + path[end:]
        return None

    def _take_global_prompt(self, export: Export) -> None:
        found = [node for node in export.nodes if node.type == GLOBAL_TYPE]
        for node in found[1:]:
            self._report(
                node.location, f"is a second {GLOBAL_TYPE}; write its prompt into {format_path(found[0].location)}"
            )
        if found and not is_blank(found[0].data.get("prompt")):
            self.definition["prompt"] = found[0].data["prompt"]
            self._stands_at(("prompt",), found[0].at("prompt"))

    def _take_start(self, export: Export) -> None:
        found = [node for node in export.nodes if node.type == START_TYPE]
        nodes = (*export.root, "nodes")
        if not found:
            if all(issue.path != format_path(nodes) for issue in export.issues):
                self._report(nodes, f"no node is a {START_TYPE}; exactly one is needed")
            return
        for node in found[1:]:
            self._report(
                node.location, f"is a second {START_TYPE}, beside {format_path(found[0].location)}; remove one"
            )
        self.definition["start"] = self._ids[found[0].id]
        self._take_fetch(found[0])

    def _take_fetch(self, start: ExportedNode) -> None:
        """What is asked before a call, in the form that services for that product expect."""
        url = start.data.get("pre_call_fetch_url")
        if not start.fetches or is_blank(url):
            return
        self._stands_at(("tools", FETCH_TOOL, "url"), start.at("pre_call_fetch_url"))
        caller = {"from_number": "{{caller_number | }}", "to_number": "{{called_number | }}"}
        self.definition["pre_call_fetch"] = FETCH_TOOL
        self.definition["tools"] = {
            FETCH_TOOL: {
                "kind": "http",
                "description": "Looks up what is known before the conversation opens.",
                "url": url,
                "body": {"event": "call_inbound", "call_inbound": {"agent_id": self.definition["name"], **caller}},
            }
        }

    def _take_node(self, node: ExportedNode) -> None:
        node_id = self._ids[node.id]
        location = ("nodes", node_id)
        self._node_paths.add(format_path(location))
        self._stands_at(location, node.location)
        self._arrows[node_id] = []
        origin = {"id": node.id, "name": node.name}
        part = self._nodes[node_id] = {
            "end": node.type == END_TYPE,
            "transitions": self._arrows[node_id],
            "origin": origin,
        }
        self._stands_at((*location, "origin"), (*node.location, "id"))
        self._stands_at((*location, "origin", "name"), node.at("name"))
        for field, taken in _NODE_FIELDS.items():
            self._stands_at((*location, taken), node.at(field))
            value = node.data.get(field)
            if value is False or not is_blank(value):
                part[taken] = value
        self._take_extraction(node, part)

    def _take_extraction(self, node: ExportedNode, part: dict[str, object]) -> None:
        enabled = node.data.get("extraction_enabled")
        if not isinstance(enabled, bool | None):
            self._report(node.at("extraction_enabled"), f"must be true or false, is {format_value(enabled)}")
        variables = node.data.get("extraction_variables")
        if enabled is not True or is_blank(variables):
            return
        location = ("nodes", self._ids[node.id], "extract")
        self._stands_at(location, node.at("extraction_variables"))
        part["extract"] = variables
        if isinstance(variables, list):
            part["extract"] = [
                self._variable(node, index, variable, (*location, index)) for index, variable in enumerate(variables)
            ]

    def _variable(self, node: ExportedNode, index: int, variable: object, location: Location) -> object:
        if not isinstance(variable, dict):
            return variable
        own = (variable.get("prompt"), node.at("extraction_variables", index, "prompt"))
        every = (node.data.get("extraction_prompt"), node.at("extraction_prompt"))
        hint, stands_at = _joined(own, every)
        self._stands_at((*location, "hint"), stands_at)
        return {**{field: variable[field] for field in ("name", "type") if field in variable}, "hint": hint}

    def _take_edge(self, edge: ExportedEdge) -> None:
        if edge.source.type == END_TYPE:
            self._report(edge.location, f"leads out of {edge.source.title}, which ends the conversation; remove it")
            return
        source = self._ids[edge.source.id]
        arrows = self._arrows[source]
        location = ("nodes", source, "transitions", len(arrows))
        self._stands_at(location, edge.location)
        arrow: dict[str, object] = {"to": self._ids[edge.target.id]}
        for field, taken in _EDGE_FIELDS.items():
            self._stands_at((*location, taken), edge.at(field))
            if field in edge.data and not (taken == "say" and is_blank(edge.data[field])):
                arrow[taken] = edge.data[field]
        arrows.append(arrow)

    def _stands_at(self, location: Location, source: Location) -> None:
        """Remember where a part of the definition stands in the export."""
        self._sources[format_path(location)] = source

    def _report(self, location: Location, message: str) -> None:
        self.issues.append(ValidationIssue(path=format_path(location), message=message))


def _node_ids(nodes: Iterable[ExportedNode]) -> dict[str, str]:
    """Ids that read like the names of the nodes, each once; by the export's ids, in its order."""
    ids: dict[str, str] = {}
    taken: set[str] = set()
    counts: dict[str, int] = {}
    for node in nodes:
        name = node.data.get("name")
        base = _slug(name if isinstance(name, str) else "") or _slug(f"node {node.id}")
        node_id = base
        while node_id in taken:
            counts[base] = counts.get(base, 1) + 1
            node_id = f"{base}_{counts[base]}"
        taken.add(node_id)
        ids[node.id] = node_id
    return ids


def _slug(name: str) -> str:
    """A name in small letters, digits and underscores, beginning with a letter; empty when there is no letter in it."""
    unaccented = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = re.findall(r"[a-z0-9]+", unaccented.lower())
    return "_".join(words).lstrip("0123456789_")[:_MAX_ID_CHARACTERS].rstrip("_")


def _joined(own: tuple[object, Location], every: tuple[object, Location]) -> tuple[object, Location]:
    """A variable's hint and the instructions for all of them as one text, and which of the two to blame for it."""
    for value, location in (own, every):
        if value is not None and not isinstance(value, str):
            return value, location
    texts = [(value.strip(), location) for value, location in (own, every) if isinstance(value, str)]
    hint = "\n".join(text for text, _ in texts if text)
    return hint, max(texts, key=lambda text: len(text[0]), default=own)[1]
