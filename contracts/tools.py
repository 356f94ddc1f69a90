"""Tool calls: what crosses a Temporal boundary for one, and the key under which a service recognises a repeat."""

import hashlib
import json
from typing import Literal

from pydantic import JsonValue

from contracts.sessions import AgentRef
from domain.agents.tool_mocks import ToolMock
from domain.durable import FrozenModel

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
"""Why a call brought nothing useful; stable.

`invalid_tool`: its declaration cannot be used. `missing_secret`: a credential is not set on this installation.
`refused_address`: the network guard let nothing through. `http_error`: the service answered with a status that is no
success. `tool_error`: an MCP server, or a mock, says that its tool failed. `not_mocked`: the tool is mocked, and no
mock matches. `internal_error`: a defect of Playhead.
"""


class CallToolInput(FrozenModel):
    """One call. `tool` is the name the model called, `context` are the values templates see.

    `call_id` must be unique within the turn and the same for every attempt: it is part of the idempotency key. With
    `mocks`, those of this tool, nothing goes out.
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
    """What came of a call: a tool that fails is a result too, never a failed turn.

    `content` is what the model is told. `error` is None or a `ToolError` (a plain text, so that older workers read
    newer ones' codes), `status` the HTTP status if there was one, and `assigned` what joins the context.
    """

    content: str
    error: str | None = None
    status: int | None = None
    assigned: dict[str, JsonValue] = {}


class CallHeartbeat(FrozenModel):
    """What a tool call leaves behind for its next attempt: how often the tool has failed it so far."""

    failures: int = 0


def idempotency_key(session_id: str, turn_id: str, call_id: str) -> str:
    """The key that every attempt at one call carries: 40 hexadecimal digits that tell a service nothing else."""
    called = json.dumps([session_id, turn_id, call_id])
    return hashlib.sha256(called.encode()).hexdigest()[:40]
