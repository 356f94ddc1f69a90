"""Reads the workflow exports of dograh, a builder of voice agents, into agent definitions."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from domain.agents.definition import AgentDefinition, InvalidAgent, parse_definition
from domain.agents.validation_errors import (
    JsonCopy,
    Location,
    ValidationIssue,
    format_path,
    format_value,
    list_or_empty,
)
from domain.dograh.documents import ReadDocuments, read_documents
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
    spoken,
)
from domain.dograh.exporter import own_copy
from domain.dograh.irregular import irregular_parts, long_texts
from domain.dograh.settings import Settings, read_settings, read_webhook
from domain.dograh.tools import ReadTools, read_tools
from domain.dograh.warnings import import_warnings

__all__ = ["ImportedAgent", "import_dograh"]

_MAX_ID_CHARACTERS: Final = 40
_NODE_FIELDS: Final = {"prompt": "prompt", "greeting": "greeting", "add_global_prompt": "use_global_prompt"}
_EDGE_FIELDS: Final = {"label": "name", "condition": "when", "transition_speech": "say"}
_EXPORT_PATH: Final = "export"  # the path of an issue of the whole export


@dataclass(frozen=True)
class ImportedAgent:
    """An agent imported from an export.

    `warnings` list what was left out or changed, each with its path in the export; `warnings_for` checks the agent
    itself. Every node has an `origin`, unless the export is an unchanged one of Playhead.
    """

    definition: AgentDefinition
    warnings: tuple[str, ...]


def import_dograh(export: object, *, name: str | None = None) -> ImportedAgent:
    """Convert a parsed dograh export (the graph, or the file that the editor downloads) into an agent.

    Node ids are derived from the names of the nodes. An edge becomes a transition with the same tool name. The global
    node's prompt becomes the agent's prompt. A fetch before the call becomes a tool called before the greeting: it
    sends the same request, and its response extends the context. A webhook node becomes the agent's webhook; the
    time-out of text chats and the template variables become its limits and its context. Tools are imported if the
    response of dograh's API that lists them stands beside the graph, and documents likewise, as files that are sent
    with the agent. Voice-only fields are ignored.
    Without a `name` the agent has the one in the file. An unchanged export of Playhead gives its original agent.

    Raises InvalidAgent with every issue of the export and of the agent, at its path in the export.
    """
    copy = JsonCopy(export)
    if not isinstance(copy.value, dict):
        not_an_export = ValidationIssue(path=_EXPORT_PATH, message="must be a mapping with nodes and edges")
        raise InvalidAgent(copy.issues or [not_an_export])
    if (definition := own_copy(copy.value)) is not None:
        own = parse_definition(definition)
        own = own if name is None else parse_definition({**own.model_dump(mode="json"), "name": name})
        return ImportedAgent(definition=own, warnings=())
    read = read_export(copy.value)
    settings = read_settings(read)
    if name is None and read.name is None:
        raise InvalidAgent([ValidationIssue(path="name", message="is not in this export; pass a name for the agent")])
    tools = read_tools(read)
    documents = read_documents(read, tools.tools)
    draft = _Draft(read, settings, tools, documents, name if name is not None else read.name or "")
    issues = [*copy.issues, *read.issues, *draft.issues]
    try:
        definition = parse_definition(draft.definition)
    except InvalidAgent as error:
        issues += draft.located(error.issues, graph_is_broken=bool(read.issues or draft.issues))
        raise InvalidAgent(dict.fromkeys(issues)) from error
    if issues:
        raise InvalidAgent(dict.fromkeys(issues))
    warnings = (
        *settings.warnings,
        *irregular_parts(read),
        *long_texts(read),
        *import_warnings(read, tools.listed, documents.listed),
        *read_webhook(read).warnings,
        *tools.warnings,
        *documents.warnings,
    )
    return ImportedAgent(definition=definition, warnings=warnings)


class _Draft:
    """An agent definition built from an export, not validated yet, with the source path of each part."""

    def __init__(
        self, export: Export, settings: Settings, tools: ReadTools, documents: ReadDocuments, name: str
    ) -> None:
        self.issues: list[ValidationIssue] = []
        self._tools = tools
        self._documents = documents
        self._sources: dict[str, Location] = {"name": ("name",)}
        self._node_paths: set[str] = set()
        self._nodes: dict[str, dict[str, object]] = {}
        self._transitions: dict[str, list[dict[str, object]]] = {}
        self.definition: dict[str, object] = {"name": name, "start": "", "nodes": self._nodes, **settings.fields}
        if any(True for _ in irregular_parts(export)):
            self.definition["lenient_templates"] = True
        webhook = read_webhook(export)
        if webhook.url is not None:
            self.definition["webhook"] = {"url": webhook.url, "secret": webhook.secret}
            self._set_source(("webhook",), webhook.location)
        self._ids = _node_ids(node for node in export.nodes if node.converses)
        if self._ids:
            self._set_source(("nodes",), (*export.root, "nodes"))
        if tools.tools or documents.tools:
            self.definition["tools"] = {**tools.tools, **documents.tools}
            for tool, source in tools.sources.items():
                self._set_source(("tools", tool), source)
        self._add_global_prompt(export)
        for node in export.nodes:
            if node.converses:
                self._add_node(node)
        self._add_start(export)
        for edge in export.edges:
            if edge.converses:
                self._add_edge(edge)

    def located(self, issues: Iterable[ValidationIssue], *, graph_is_broken: bool) -> list[ValidationIssue]:
        """Convert issues of the definition to paths in the export.

        If the graph is broken, consequences of that are left out: unreachable nodes, and issues without a path in the
        export.
        """
        found = []
        for issue in issues:
            path = self._path_in_export(issue.path)
            if graph_is_broken and (path is None or issue.path in self._node_paths):
                continue
            found.append(ValidationIssue(path=path or issue.path, message=issue.message))
        return found

    def _path_in_export(self, path: str) -> str | None:
        """The path in the export of the nearest part of the definition with a known source."""
        ends = [len(path), *(index for index in range(len(path) - 1, 0, -1) if path[index] in ".[")]
        for end in ends:
            source = self._sources.get(path[:end])
            if source is not None:
                return format_path(source) + path[end:]
        return None

    def _add_global_prompt(self, export: Export) -> None:
        found = [node for node in export.nodes if node.type == GLOBAL_TYPE]
        for node in found[1:]:
            self._report(
                node.location, f"is a second {GLOBAL_TYPE}; write its prompt into {format_path(found[0].location)}"
            )
        if found and not is_blank(found[0].data.get("prompt")):
            self.definition["prompt"] = found[0].data["prompt"]
            self._set_source(("prompt",), found[0].at("prompt"))

    def _add_start(self, export: Export) -> None:
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
        self._add_fetch(found[0])

    def _add_fetch(self, start: ExportedNode) -> None:
        """Add the tool for the fetch before the call, with dograh's request format."""
        url = start.data.get("pre_call_fetch_url")
        if not start.fetches or is_blank(url):
            return
        self._set_source(("tools", FETCH_TOOL, "url"), start.at("pre_call_fetch_url"))
        caller = {"from_number": "{{caller_number | }}", "to_number": "{{called_number | }}"}
        self.definition["pre_call_fetch"] = FETCH_TOOL
        self.definition["tools"] = {
            **self._tools.tools,
            **self._documents.tools,
            FETCH_TOOL: {
                "kind": "http",
                "description": "Looks up what is known before the conversation opens.",
                "url": url,
                "body": {"event": "call_inbound", "call_inbound": {"agent_id": "{{agent_number}}", **caller}},
            },
        }

    def _add_node(self, node: ExportedNode) -> None:
        node_id = self._ids[node.id]
        location = ("nodes", node_id)
        self._node_paths.add(format_path(location))
        self._set_source(location, node.location)
        self._transitions[node_id] = []
        origin: dict[str, object] = {"id": node.id, "name": node.name}
        if node.data.get("allow_interrupt") is True:
            origin["allow_interrupt"] = True
        part = self._nodes[node_id] = {
            "end": node.type == END_TYPE,
            "transitions": self._transitions[node_id],
            "origin": origin,
        }
        self._set_source((*location, "origin"), (*node.location, "id"))
        self._set_source((*location, "origin", "name"), node.at("name"))
        for field, taken in _NODE_FIELDS.items():
            self._set_source((*location, taken), node.at(field))
            value = spoken(node.data, "greeting") if field == "greeting" else node.data.get(field)
            if value is False or not is_blank(value):
                part[taken] = value
        self._add_tools(node, part)
        self._add_extraction(node, part)

    def _add_tools(self, node: ExportedNode, part: dict[str, object]) -> None:
        """Offer the tools that were imported; the others have their warnings."""
        uuids = node.data.get("tool_uuids")
        names = [self._tools.names.get(uuid) for uuid in list_or_empty(uuids) if isinstance(uuid, str)]
        found = list(dict.fromkeys(name for name in names if name is not None))
        if found:
            self._set_source(("nodes", self._ids[node.id], "tools"), node.at("tool_uuids"))
            part["tools"] = found
        search = self._documents.tool_of.get(node.id)
        if search is not None:
            part["tools"] = [*found, search]

    def _add_extraction(self, node: ExportedNode, part: dict[str, object]) -> None:
        enabled = node.data.get("extraction_enabled")
        if not isinstance(enabled, bool | None):
            self._report(node.at("extraction_enabled"), f"must be true or false, is {format_value(enabled)}")
        variables = node.data.get("extraction_variables")
        if enabled is not True or is_blank(variables):
            return
        location = ("nodes", self._ids[node.id], "extract")
        self._set_source(location, node.at("extraction_variables"))
        part["extract"] = variables
        instructions = node.data.get("extraction_prompt")
        if not is_blank(instructions):
            self._set_source(("nodes", self._ids[node.id], "extract_prompt"), node.at("extraction_prompt"))
            part["extract_prompt"] = instructions
        if isinstance(variables, list):
            part["extract"] = [
                self._variable(node, index, variable, (*location, index)) for index, variable in enumerate(variables)
            ]

    def _variable(self, node: ExportedNode, index: int, variable: object, location: Location) -> object:
        if not isinstance(variable, dict):
            return variable
        self._set_source((*location, "hint"), node.at("extraction_variables", index, "prompt"))
        hint = variable.get("prompt")
        return {
            **{field: variable[field] for field in ("name", "type") if field in variable},
            "hint": "" if is_blank(hint) else hint,
        }

    def _add_edge(self, edge: ExportedEdge) -> None:
        if edge.source.type == END_TYPE:
            self._report(edge.location, f"leads out of {edge.source.title}, which ends the conversation; remove it")
            return
        source = self._ids[edge.source.id]
        transitions = self._transitions[source]
        location = ("nodes", source, "transitions", len(transitions))
        self._set_source(location, edge.location)
        transition: dict[str, object] = {"to": self._ids[edge.target.id]}
        for field, taken in _EDGE_FIELDS.items():
            self._set_source((*location, taken), edge.at(field))
            value = spoken(edge.data, field) if taken == "say" else edge.data.get(field)
            if (taken != "say" and field in edge.data) or not is_blank(value):
                transition[taken] = value
        transitions.append(transition)

    def _set_source(self, location: Location, source: Location) -> None:
        """Record the source path of a part of the definition."""
        self._sources[format_path(location)] = source

    def _report(self, location: Location, message: str) -> None:
        self.issues.append(ValidationIssue(path=format_path(location), message=message))


def _node_ids(nodes: Iterable[ExportedNode]) -> dict[str, str]:
    """Unique ids derived from the names of the nodes, by the ids of the export, in its order."""
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
    """A name in lower-case letters, digits and underscores, starting with a letter; empty without letters."""
    unaccented = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = re.findall(r"[a-z0-9]+", unaccented.lower())
    return "_".join(words).lstrip("0123456789_")[:_MAX_ID_CHARACTERS].rstrip("_")
