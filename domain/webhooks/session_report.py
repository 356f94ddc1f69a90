"""Webhook body that reports a completed session."""

from datetime import datetime
from typing import Literal

from pydantic import JsonValue

from domain.durable import FrozenModel
from domain.sessions.transcript import Entry
from domain.usage import Cost, Usage

MAX_REPORT_TURNS = 500
"""Maximum turns in the transcript of a report, newest kept; `GET .../transcript` returns all."""


class CompletedSession(FrozenModel):
    """A completed session. `transcript` contains its newest turns; `turns_before` counts the older ones."""

    id: str
    workflow_run_id: int
    agent_id: str
    agent_version: int
    agent_name: str
    model: str
    name: str
    revision: int
    completion_reason: str
    disposition: str
    tags: tuple[str, ...]
    current_node_id: str
    initial_context: dict[str, JsonValue]
    gathered_context: dict[str, JsonValue]
    annotations: dict[str, JsonValue]
    simulator: dict[str, JsonValue] | None
    usage: Usage
    cost: Cost
    created_at: datetime
    updated_at: datetime
    turns_before: int
    transcript: tuple[Entry, ...]


class SessionCompleted(FrozenModel):
    """The body of a webhook. `timestamp` is the end of the session, not the time of the request."""

    type: Literal["session.completed"] = "session.completed"
    timestamp: datetime
    data: CompletedSession
