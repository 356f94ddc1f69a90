"""Small tools and tool calls for tests, with overrides."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from activities.tool_clients.dispatcher import ToolDispatcher
from activities.tool_clients.interface import ToolCall, ToolFailed
from contracts.tools import CallToolResult
from domain.agents.tool_mocks import ToolMock
from domain.agents.tools import AnyTool, BuiltinTool, HttpTool, McpTool

KEY = "0123456789abcdef"
LOOPBACK = ("127.0.0.0/8", "::1")
TABLE = {"type": "object", "properties": {"guests": {"type": "integer"}, "day": {"type": "string"}}}


def http_tool(url: str, **fields: Any) -> HttpTool:
    return HttpTool.model_validate({"kind": "http", "description": "d", "url": url, "parameters": TABLE, **fields})


def mcp_tool(url: str, **fields: Any) -> McpTool:
    return McpTool.model_validate({"kind": "mcp", "url": url, **fields})


def builtin_tool(action: str, **fields: Any) -> BuiltinTool:
    return BuiltinTool.model_validate({"kind": "builtin", "action": action, **fields})


def call_of(
    tool: AnyTool,
    arguments: Mapping[str, Any] | None = None,
    *,
    called: str | None = None,
    context: Mapping[str, Any] | None = None,
    organization_id: str = "org",
    mocks: tuple[ToolMock, ...] = (),
) -> ToolCall:
    name = tool.action if isinstance(tool, BuiltinTool) else "find_table" if isinstance(tool, HttpTool) else "crm"
    return ToolCall(
        organization_id=organization_id,
        name=name,
        called=called or name,
        tool=tool,
        arguments=arguments or {},
        context=context or {},
        idempotency_key=KEY,
        mocks=mocks,
    )


async def outcome_of(dispatcher: ToolDispatcher, call: ToolCall) -> CallToolResult | ToolFailed:
    """The result of a call, or its failure."""
    try:
        return await dispatcher.run(call)
    except ToolFailed as failure:
        return failure


async def failure_of(dispatcher: ToolDispatcher, call: ToolCall) -> ToolFailed:
    """The failure of a call that is meant to fail."""
    outcome = await outcome_of(dispatcher, call)
    assert isinstance(outcome, ToolFailed), f"the call succeeded: {outcome}"
    return outcome


@contextmanager
def silent_port() -> Iterator[int]:
    """A port of this machine that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
