"""Tool calls: input, result and heartbeat details of their activity, and their idempotency key."""

import hashlib
import json
from typing import Literal

from pydantic import JsonValue

from contracts.sessions import AgentRef
from domain.agents.tool_mocks import ToolMock
from domain.durable import FrozenModel
from domain.turns.engine import FailedAttempt

ToolError = Literal[
    "unknown_tool",
    "invalid_arguments",
    "invalid_tool",
    "missing_secret",
    "refused_address",
    "connection_failed",
    "timeout",
    "http_error",
    "too_large",
    "not_text",
    "not_json",
    "tool_error",
    "not_mocked",
    "internal_error",
]
"""Stable error codes of tool calls.

`invalid_tool`: the declaration of the tool cannot be used. `missing_secret`: a credential is not set on this
installation. `refused_address`: the egress guard blocked the address. `http_error`: the service answered with an error
status. `tool_error`: an MCP server or a mock reported a failure. `not_mocked`: the tool is mocked, and no mock matches.
`internal_error`: a bug in Playhead.
"""


class CallToolInput(FrozenModel):
    """Input of one tool call. `tool` is the name called by the model, `context` the values of template variables.

    `call_id` must be unique within the turn and the same for every attempt: it is part of the idempotency key. With
    `mocks` (of this tool) no request is sent.
    """

    session_id: str
    organization_id: str
    turn_id: str
    call_id: str
    agent: AgentRef
    tool: str
    arguments: dict[str, JsonValue] = {}
    context: dict[str, JsonValue] = {}
    mocks: tuple[ToolMock, ...] = ()


class CallToolResult(FrozenModel):
    """Result of a tool call. A failed tool is a result too, not a failed turn.

    `content` is the text for the model. `error` is None or a `ToolError` (typed as text, so that older workers can
    read codes of newer ones), `status` the HTTP status if there was one, `assigned` the variables for the context.
    `attempts` counts those that were begun, also those that were lost with their worker; `failed_attempts` are the
    attempts before the last that the tool failed, oldest first.
    """

    content: str
    error: str | None = None
    status: int | None = None
    assigned: dict[str, JsonValue] = {}
    attempts: int = 1
    failed_attempts: tuple[FailedAttempt, ...] = ()


class CallHeartbeat(FrozenModel):
    """Heartbeat details of a tool call, for its next attempt: the number of failures so far, and what they were."""

    failures: int = 0
    failed_attempts: tuple[FailedAttempt, ...] = ()


def idempotency_key(session_id: str, turn_id: str, call_id: str) -> str:
    """Idempotency key of a call, the same for every attempt: 40 hexadecimal digits that disclose nothing."""
    identity = json.dumps([session_id, turn_id, call_id])
    return hashlib.sha256(identity.encode()).hexdigest()[:40]
