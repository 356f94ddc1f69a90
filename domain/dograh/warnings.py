"""What an import of a dograh workflow leaves out, in sentences: what it is, where it stands, and what to do."""

from collections.abc import Iterator, Mapping
from typing import Final

from domain.agents.validation_errors import Location, place_of, shown
from domain.dograh.export_format import (
    CONVERSING,
    END,
    FETCH,
    GLOBAL,
    START,
    Export,
    ExportedEdge,
    ExportedNode,
    is_blank,
)

_REASONS: Final = {
    "trigger": "it starts calls from outside, and here sessions are opened through the API",
    "webhook": "it is called after a conversation and has no part in one",
    "qa": "it reviews a conversation that is over and has no part in one",
}
_OUTSIDE: Final = {
    "template_context_variables": "name these variables and their defaults under context",
    "workflow_configurations": "they configure calls; limits and model of an agent are set in its definition",
}

# Voice only: whether and when the other side may cut in has no meaning where people write.
_SILENT: Final = frozenset({"allow_interrupt", "detect_voicemail", "delayed_start_duration"})
# What the editor notes for itself while a person draws.
_EDITOR: Final = frozenset(
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
_TAKEN: Final = frozenset({"name", "prompt", "add_global_prompt"})
_TAKEN_CONVERSING: Final = frozenset(
    {"greeting", "greeting_recording_id", "extraction_enabled", "extraction_prompt", "extraction_variables"}
)
_TAKEN_OF_EDGE: Final = frozenset({"label", "condition", "transition_speech", "transition_speech_recording_id"})
_TAKEN_OF_VARIABLE: Final = frozenset({"name", "type", "prompt"})


def import_warnings(export: Export) -> Iterator[str]:
    """A sentence for everything in the export that says something and has no place in the agent."""
    for field, advice in _OUTSIDE.items():
        if not is_blank(export.outside.get(field)):
            yield f"{place_of((field,))}: left out; {advice}"
    for node in export.nodes:
        if node.converses or node.type == GLOBAL:
            yield from _node(node)
        else:
            reason = _REASONS.get(node.type, f"nodes of the type {shown(node.type)} are unknown here")
            what = f"the {node.type} node" if node.type in _REASONS else "the node"
            yield f"{place_of(node.location)}: {what} {node.title} (id {shown(node.id)}) is left out: {reason}"
    for edge in export.edges:
        yield from _edge(edge)


def _node(node: ExportedNode) -> Iterator[str]:
    data = dict(node.data)
    if node.converses:
        yield from _recording(node.at("greeting_type"), data.pop("greeting_type", None), data.get("greeting"))
        yield from _references(node, data)
        yield from _fetch(node, data)
        if data.pop("delayed_start", None) is True:
            yield f"{place_of(node.at('delayed_start'))}: left out; in a text chat the agent does not wait to speak"
    known = _TAKEN | _SILENT | _EDITOR | (_TAKEN_CONVERSING if node.converses else frozenset())
    flags = {START: {"is_start"}, END: {"is_end"}}
    yield from _unknown(node.at(), data, known | flags.get(node.type, set()))
    if node.type in CONVERSING and data.get("extraction_enabled") is True:
        variables = data.get("extraction_variables")
        for index, variable in enumerate(variables if isinstance(variables, list) else []):
            if isinstance(variable, dict):
                yield from _unknown(node.at("extraction_variables", index), variable, _TAKEN_OF_VARIABLE)


def _edge(edge: ExportedEdge) -> Iterator[str]:
    if not edge.converses:
        joined = f"the edge from {edge.source.title} to {edge.target.title}"
        yield f"{place_of(edge.location)}: {joined} is left out, because no conversation is ever at one of them"
        return
    data = dict(edge.data)
    kind = data.pop("transition_speech_type", None)
    yield from _recording(edge.at("transition_speech_type"), kind, data.get("transition_speech"))
    yield from _unknown(edge.at(), data, _TAKEN_OF_EDGE | _EDITOR)


def _recording(location: Location, kind: object, text: object) -> Iterator[str]:
    """Speech of any type but text is a recording."""
    if is_blank(kind) or kind == "text":
        return
    instead = "the model speaks for itself" if is_blank(text) else "the text beside it is said"
    yield f"{place_of(location)}: a text chat cannot play speech of the type {shown(kind)}; {instead} instead"


def _references(node: ExportedNode, data: dict[str, object]) -> Iterator[str]:
    """Takes out what the export names by id alone."""
    tools, documents = data.pop("tool_uuids", None), data.pop("document_uuids", None)
    if not is_blank(tools):
        data.pop("mcp_tool_filters", None)
        yield (
            f"{place_of(node.at('tool_uuids'))}: left out, because the export has the ids of tools but not the tools; "
            f"declare them under tools and name them in the node"
        )
    if not is_blank(documents):
        yield (
            f"{place_of(node.at('document_uuids'))}: left out, because the export has the ids of documents but not "
            f"the documents; write what the agent has to know into the prompt"
        )


def _fetch(node: ExportedNode, data: dict[str, object]) -> Iterator[str]:
    """Takes out what is to be fetched before a call, and tells what of it is not."""
    fields = {field: data.pop(field) for field in list(data) if field.startswith("pre_call_fetch_")}
    told = next((field for field, value in fields.items() if not is_blank(value)), None)
    if not node.fetches or told is None:
        return
    if node.type != START:
        yield f"{place_of(node.at(told))}: left out; only what the {START} node names is fetched before a session opens"
    elif is_blank(fields.get("pre_call_fetch_url")):
        yield f"{place_of(node.at(told))}: left out, because there is no pre_call_fetch_url to fetch from"
    elif not is_blank(fields.get("pre_call_fetch_credential_uuid")):
        yield (
            f"{place_of(node.at('pre_call_fetch_credential_uuid'))}: left out, because the export has the id of a "
            f"credential but not the credential; name it under tools.{FETCH}.secrets and use it in the headers there"
        )


def _unknown(location: Location, data: Mapping[str, object], known: frozenset[str]) -> Iterator[str]:
    for field, value in data.items():
        if field not in known and not is_blank(value):
            yield f"{place_of((*location, field))}: left out, because this field is unknown here"
