"""Export of agent definitions in the form of dograh's editor, so that an agent can move back."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import JsonValue

from domain.agents.definition import AgentDefinition, Node
from domain.agents.tools import HttpTool
from domain.dograh.export_format import (
    AGENT_TYPE,
    END_TYPE,
    FETCH_MODE,
    GLOBAL_TYPE,
    START_TYPE,
    WEBHOOK_TYPE,
    spoken_fields,
)
from domain.dograh.settings import CONFIGURATIONS, INACTIVITY, VARIABLES
from domain.dograh.tools import TOOLS, exported_tools, tool_uuids

OWN_COPY: Final = "playhead"
"""Field of an export with the definition that it was made from, and the digest of the rest: dograh ignores it."""
_COLUMN_WIDTH: Final = 400


def export_dograh(agent: AgentDefinition) -> dict[str, JsonValue]:
    """The agent as a file that dograh's editor reads.

    The graph contains what dograh knows. The definition itself is kept beside it, so that an import of the unchanged
    file gives the same agent, with its tools, model and limits.
    """
    edges: list[JsonValue] = list(_edges(agent))
    graph: dict[str, JsonValue] = {
        "nodes": list(_nodes(agent)),
        "edges": edges,
        "viewport": {"x": 0, "y": 0, "zoom": 1},
    }
    file: dict[str, JsonValue] = {
        "name": agent.name,
        "workflow_definition": graph,
        VARIABLES: dict(agent.context),
        CONFIGURATIONS: {INACTIVITY: agent.limits.inactivity_seconds},
    }
    if tools := exported_tools(agent):
        file[TOOLS] = tools
    definition = agent.model_dump(mode="json")
    return {**file, OWN_COPY: {"definition": definition, "digest": _digest(file)}}


def own_copy(file: Mapping[str, object]) -> object | None:
    """The definition in an export of Playhead; None in other files, and after the file was changed."""
    copy = file.get(OWN_COPY)
    if not isinstance(copy, dict):
        return None
    rest = {field: value for field, value in file.items() if field != OWN_COPY}
    definition: object = copy.get("definition")
    return definition if copy.get("digest") == _digest(rest) else None


def _digest(file: Mapping[str, object]) -> str:
    written = json.dumps(file, sort_keys=True, default=str)
    return hashlib.sha256(written.encode(errors="replace")).hexdigest()


def _nodes(agent: AgentDefinition) -> Iterator[JsonValue]:
    for number, (name, node) in enumerate(agent.nodes.items()):
        kind = START_TYPE if name == agent.start else END_TYPE if node.end else AGENT_TYPE
        yield _node(agent.origin_of(name).id, kind, number, _data(agent, name, node))
    taken = {agent.origin_of(name).id for name in agent.nodes}
    if agent.prompt.strip():
        yield _node(_free("global", taken), GLOBAL_TYPE, -1, {"name": "Global", "prompt": agent.prompt})
    if agent.webhook is not None:
        hook: dict[str, JsonValue] = {"name": "Webhook", "http_method": "POST", "endpoint_url": agent.webhook.url}
        yield _node(_free("webhook", taken), WEBHOOK_TYPE, len(agent.nodes), {**hook, "enabled": True})


def _node(node_id: str, kind: str, column: int, data: dict[str, JsonValue]) -> JsonValue:
    return {"id": node_id, "type": kind, "position": {"x": column * _COLUMN_WIDTH, "y": 0}, "data": data}


def _free(node_id: str, taken: set[str]) -> str:
    while node_id in taken:
        node_id += "_"
    return node_id


def _data(agent: AgentDefinition, name: str, node: Node) -> dict[str, JsonValue]:
    origin = agent.origin_of(name)
    data: dict[str, JsonValue] = {
        "name": origin.name,
        "prompt": node.prompt,
        "add_global_prompt": node.use_global_prompt,
        "allow_interrupt": origin.allow_interrupt,
    }
    if node.greeting is not None:
        data |= spoken_fields(node.greeting, "greeting")
    if node.extract:
        data |= {
            "extraction_enabled": True,
            "extraction_prompt": node.extract_prompt,
            "extraction_variables": [
                {"name": each.name, "type": each.type, "prompt": each.hint} for each in node.extract
            ],
        }
    if tools := tool_uuids(agent, tuple(each for each in node.tools if each != agent.pre_call_fetch)):
        data["tool_uuids"] = tools
    fetch = agent.tools.get(agent.pre_call_fetch or "")
    if name == agent.start and isinstance(fetch, HttpTool):
        data |= {"pre_call_fetch_mode": FETCH_MODE, "pre_call_fetch_url": fetch.url}
    return data


def _edges(agent: AgentDefinition) -> Iterator[JsonValue]:
    for name, node in agent.nodes.items():
        source = agent.origin_of(name).id
        for number, transition in enumerate(node.transitions):
            target = agent.origin_of(transition.to).id
            data: dict[str, JsonValue] = {"label": transition.name, "condition": transition.when}
            if transition.say is not None:
                data |= spoken_fields(transition.say, "transition_speech")
            yield {"id": f"{source}-{target}-{number}", "source": source, "target": target, "data": data}
