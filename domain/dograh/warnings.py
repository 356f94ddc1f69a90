"""Warnings about parts of a dograh workflow that an import leaves out, with their path and advice."""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from domain.agents.validation_errors import Location, format_path, format_value, list_or_empty
from domain.dograh.export_format import (
    CONVERSATION_TYPES,
    END_TYPE,
    FETCH_MODE,
    FETCH_TOOL,
    GLOBAL_TYPE,
    START_TYPE,
    WEBHOOK_TYPE,
    Export,
    ExportedEdge,
    ExportedNode,
    is_blank,
    recording_of,
)

_REASONS: Final = {
    "trigger": "it starts calls from outside, and here sessions are opened through the API",
    "qa": "it reviews a conversation that is over and has no part in one",
}
_NEVER: Final = (None, "", "disabled", "none")
"""Fetch modes that turn the fetch off."""

# Voice only: these have no meaning in a text chat.
_VOICE_FIELDS: Final = frozenset({"allow_interrupt", "detect_voicemail", "delayed_start_duration"})
# Internal state of the editor.
_EDITOR_FIELDS: Final = frozenset(
    {
        "dragging",
        "hovered_through_edge",
        "invalid",
        "runtime_active",
        "selected",
        "selected_through_edge",
        "validationMessage",
    }
)
_NODE_FIELDS: Final = frozenset({"name", "prompt", "add_global_prompt"})
_CONVERSATION_NODE_FIELDS: Final = frozenset(
    {"greeting", "greeting_recording_id", "extraction_enabled", "extraction_prompt", "extraction_variables"}
)
_EDGE_FIELDS: Final = frozenset({"label", "condition", "transition_speech", "transition_speech_recording_id"})
_VARIABLE_FIELDS: Final = frozenset({"name", "type", "prompt"})


def import_warnings(
    export: Export, listed_tools: Collection[str] = (), listed_documents: Collection[str] = ()
) -> Iterator[str]:
    """A warning for every field or node with content that has no counterpart in the agent.

    `listed_tools` and `listed_documents` are the ids of those in the export, which have warnings of their own.
    """
    for node in export.nodes:
        if node.converses or node.type == GLOBAL_TYPE:
            yield from _node(node, listed_tools, listed_documents)
        elif node.type != WEBHOOK_TYPE:
            reason = _REASONS.get(node.type, f"nodes of the type {format_value(node.type)} are unknown here")
            what = f"the {node.type} node" if node.type in _REASONS else "the node"
            path, node_id = format_path(node.location), format_value(node.id)
            yield f"{path}: {what} {node.title} (id {node_id}) is left out: {reason}"
    for edge in export.edges:
        yield from _edge(edge)


def _node(node: ExportedNode, listed_tools: Collection[str], listed_documents: Collection[str]) -> Iterator[str]:
    data = dict(node.data)
    if node.converses:
        yield from _recording(node.at("greeting_type"), node.data, "greeting")
        data.pop("greeting_type", None)
        yield from _references(node, data, listed_tools, listed_documents)
        yield from _fetch(node, data)
        if data.pop("delayed_start", None) is True:
            yield f"{format_path(node.at('delayed_start'))}: left out; in a text chat the agent does not wait to speak"
    known = (
        _NODE_FIELDS | _VOICE_FIELDS | _EDITOR_FIELDS | (_CONVERSATION_NODE_FIELDS if node.converses else frozenset())
    )
    flags = {START_TYPE: {"is_start"}, END_TYPE: {"is_end"}}
    yield from _unknown(node.at(), data, known | flags.get(node.type, set()))
    if node.type in CONVERSATION_TYPES and data.get("extraction_enabled") is True:
        variables = data.get("extraction_variables")
        for index, variable in enumerate(variables if isinstance(variables, list) else []):
            if isinstance(variable, dict):
                yield from _unknown(node.at("extraction_variables", index), variable, _VARIABLE_FIELDS)


def _edge(edge: ExportedEdge) -> Iterator[str]:
    if not edge.converses:
        joined = f"the edge from {edge.source.title} to {edge.target.title}"
        yield f"{format_path(edge.location)}: {joined} is left out, because no conversation is ever at one of them"
        return
    data = dict(edge.data)
    data.pop("transition_speech_type", None)
    yield from _recording(edge.at("transition_speech_type"), edge.data, "transition_speech")
    yield from _unknown(edge.at(), data, _EDGE_FIELDS | _EDITOR_FIELDS)


def _recording(location: Location, data: Mapping[str, object], field: str) -> Iterator[str]:
    """A warning about recorded speech, that is, speech of any type except text."""
    kind, text, recording = data.get(f"{field}_type"), data.get(field), recording_of(data, field)
    if is_blank(kind) or kind == "text":
        return
    if recording is not None:
        beside = "" if is_blank(text) else "; the text beside it is said too"
        yield (
            f"{format_path(location)}: a text chat cannot play the recording {format_value(recording)}; it is kept as "
            f"an event of the turn{beside}"
        )
        return
    instead = "the model speaks for itself" if is_blank(text) else "the text beside it is said"
    yield f"{format_path(location)}: a text chat cannot play speech of the type {format_value(kind)}; {instead} instead"


def _references(
    node: ExportedNode, data: dict[str, object], listed_tools: Collection[str], listed_documents: Collection[str]
) -> Iterator[str]:
    """Remove references that the export contains only as ids, with warnings."""
    tools, documents = data.pop("tool_uuids", None), data.pop("document_uuids", None)
    filters = data.pop("mcp_tool_filters", None)
    missing = [uuid for uuid in list_or_empty(tools) if not isinstance(uuid, str) or uuid not in listed_tools]
    if missing or not (is_blank(tools) or isinstance(tools, list)):
        some = f"{len(missing)} of {len(list_or_empty(tools))} " if listed_tools else ""
        yield (
            f"{format_path(node.at('tool_uuids'))}: {some}left out, because the export has the ids of tools but not "
            f"the tools; put dograh's list of tools beside the graph as tools, or declare them in the agent"
        )
    if not is_blank(filters) and not missing:
        yield (
            f"{format_path(node.at('mcp_tool_filters'))}: left out; every node that offers an MCP server offers all "
            f"tools in its allow"
        )
    unknown = [uuid for uuid in list_or_empty(documents) if not isinstance(uuid, str) or uuid not in listed_documents]
    if unknown or not (is_blank(documents) or isinstance(documents, list)):
        some = f"{len(unknown)} of {len(list_or_empty(documents))} " if listed_documents else ""
        yield (
            f"{format_path(node.at('document_uuids'))}: {some}left out, because the export has the ids of documents "
            f"but not the documents; put dograh's list of documents beside the graph as documents and the files beside "
            f"the export, or declare a tool of kind documents in the agent and name it at this node"
        )


def _fetch(node: ExportedNode, data: dict[str, object]) -> Iterator[str]:
    """Remove the fields of the fetch before the call, with warnings about parts that are not imported."""
    fields = {field: data.pop(field) for field in list(data) if field.startswith("pre_call_fetch_")}
    set_field = next((field for field, value in fields.items() if not is_blank(value)), None)
    url = fields.get("pre_call_fetch_url")
    mode = fields.get("pre_call_fetch_mode")
    if not node.fetches and node.type == START_TYPE and not is_blank(url) and mode not in _NEVER:
        path = format_path(node.at("pre_call_fetch_mode"))
        yield (
            f"{path}: nothing is fetched in the mode {format_value(mode)}, because a text chat has no direction; use "
            f"the mode {FETCH_MODE} to fetch before every session"
        )
    if not node.fetches or set_field is None:
        return
    if node.type != START_TYPE:
        path = format_path(node.at(set_field))
        yield f"{path}: left out; only what the {START_TYPE} node names is fetched before a session opens"
    elif is_blank(fields.get("pre_call_fetch_url")):
        yield f"{format_path(node.at(set_field))}: left out, because there is no pre_call_fetch_url to fetch from"
    elif not is_blank(fields.get("pre_call_fetch_credential_uuid")):
        yield (
            f"{format_path(node.at('pre_call_fetch_credential_uuid'))}: left out, because the export has the id of a "
            f"credential but not the credential; name it under tools.{FETCH_TOOL}.secrets and use it in the headers "
            f"there"
        )


def _unknown(location: Location, data: Mapping[str, object], known: frozenset[str]) -> Iterator[str]:
    for field, value in data.items():
        if field not in known and not is_blank(value):
            yield f"{format_path((*location, field))}: left out, because this field is unknown here"
