"""Every call about agents: stored, listed and looked at."""

from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue
from pydantic_core import to_json

from playhead.client.models import Agent
from playhead.client.requests import Call, Listing, get, given, quoted

AGENTS = "/v1/agents"


def push_agent(
    definition: Mapping[str, JsonValue] | str | bytes,
    *,
    written: Literal["json", "yaml"] = "yaml",
    format: Literal["playhead", "dograh"] = "playhead",
    name: str | None = None,
) -> Call[Agent]:
    """Store a definition as the newest version of its agent: an object, or text that is `written` as YAML or JSON.

    A definition equal to the newest version adds none. With `format="dograh"` it is a workflow export, and `name` is
    the name of the agent it becomes.
    """
    if isinstance(definition, Mapping):
        content, written = to_json(definition), "json"
    else:
        content = definition.encode() if isinstance(definition, str) else definition
    return Call(
        "POST",
        AGENTS,
        Agent.model_validate_json,
        query=given(format=format if format != "playhead" else None, name=name),
        content=content,
        headers={"Content-Type": f"application/{written}"},
        repeatable=True,
    )


def list_agents(*, limit: int | None = None) -> Listing[Agent]:
    """The newest version of every agent."""
    return Listing(AGENTS, Agent, limit=limit)


def get_agent(agent: str, version: int | None = None) -> Call[Agent]:
    """An agent by id or name: its newest version, or the one named."""
    path = f"{AGENTS}/{quoted(agent)}"
    return get(path if version is None else f"{path}/versions/{version}", Agent.model_validate_json)
