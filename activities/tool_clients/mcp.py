"""Lists and calls the tools of MCP servers over streamable HTTP, through the egress guard."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import httpx2
from mcp import types
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from pydantic import JsonValue, ValidationError

from activities.network.egress_guard import EgressDenied, EgressGuard
from activities.network.http_responses import is_retryable
from activities.network.secrets import Credentials, Redactor
from activities.tool_clients.interface import ToolCall, ToolFailed
from activities.tool_clients.mcp_transport import McpTransport
from activities.tool_clients.requests import ToolRequest, header_bytes, render_headers, render_url, secrets_of
from activities.tool_clients.responses import compact_json, parse_json, to_content
from contracts.tools import CallToolResult
from domain.agents.names import SECRETS_VARIABLE
from domain.agents.tools import McpTool, OfferedTool, mcp_tool_name

TOOL_LIST_TTL_SECONDS = 60.0
"""Lifetime of a server's tool list in the cache."""
FAILED_TOOL_LIST_TTL_SECONDS = 30.0
MAX_TOOL_LIST_WAIT_SECONDS = 5.0
"""Upper bound on the time that a model call waits for a server's tool list."""
MAX_CACHED_TOOL_LISTS = 500
MAX_TOOLS = 200
MAX_PAGES = 20
MAX_SCHEMA_CHARACTERS = 20_000
MAX_DESCRIPTION_CHARACTERS = 2_000
IDEMPOTENCY_META = "idempotency-key"
"""The key in a call's `_meta` for its idempotency key, which is sent as a header as well."""
NOT_PROCESSED_STATUSES = frozenset({429, 503})
"""Statuses of messages that the server did not process."""

log = logging.getLogger(__name__)


@dataclass
class _ToolList:
    """A server's tools as last listed; the lock allows one refresh at a time."""

    tools: tuple[OfferedTool, ...] = ()
    expires_at: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class McpTools:
    """Client of MCP servers. Credentials are looked up by name, and are only sent in requests."""

    def __init__(self, *, guard: EgressGuard, credentials: Credentials, clock: Callable[[], float] = monotonic) -> None:
        self._guard = guard
        self._credentials = credentials
        self._redactor = Redactor(credentials.all_values())
        self._clock = clock
        self._tool_lists: OrderedDict[tuple[str, tuple[str, ...], ToolRequest], _ToolList] = OrderedDict()

    async def list_tools(
        self, organization_id: str, name: str, tool: McpTool, context: Mapping[str, JsonValue]
    ) -> tuple[OfferedTool, ...]:
        """The tools of a server, cached for TOOL_LIST_TTL_SECONDS; `name` is the server's name in the agent.

        When the server does not answer, the result is the last known list, or none. Raises ToolFailed when the
        request cannot be made.
        """
        request = self._request(organization_id, tool, context, key=None)
        tool_list = self._cached_list(name, tool, request)
        async with tool_list.lock:
            if self._clock() >= tool_list.expires_at:
                try:
                    seconds = min(tool.timeout_seconds, MAX_TOOL_LIST_WAIT_SECONDS)
                    async with self._connected(name, request, seconds, _CallProgress()) as client:
                        tool_list.tools = tuple(
                            self._offered_tool(name, each) for each in await _list_tools(client, name, tool)
                        )
                    ttl = TOOL_LIST_TTL_SECONDS
                except ToolFailed as failure:
                    log.warning(
                        "the MCP server %s did not list its tools: %s", name, self._redactor.redact_text(str(failure))
                    )
                    ttl = FAILED_TOOL_LIST_TTL_SECONDS
                tool_list.expires_at = self._clock() + ttl
            return tool_list.tools

    async def run(self, call: ToolCall, tool: McpTool) -> CallToolResult:
        """Make one attempt at a call. Raises ToolFailed.

        A call that reached the server and was not answered is retryable only if the server declares the tool
        idempotent or read-only: few servers support the idempotency key.
        """
        request = self._request(call.organization_id, tool, call.context, key=call.idempotency_key)
        progress = _CallProgress()
        async with self._connected(call.name, request, tool.timeout_seconds, progress) as client:
            listed = await _list_tools(client, call.name, tool)
            tool_called = next((each for each in listed if mcp_tool_name(call.name, each.name) == call.called), None)
            if tool_called is None:
                known = ", ".join(mcp_tool_name(call.name, each.name) for each in listed) or "none"
                message = f"The server {call.name} has no tool named {call.called}; it has: {known}."
                raise ToolFailed("unknown_tool", message)
            progress.tool = tool_called
            parameters = {
                "name": tool_called.name,
                "arguments": dict(call.arguments),
                "_meta": {IDEMPOTENCY_META: call.idempotency_key},
            }
            request_message = types.CallToolRequest(params=types.CallToolRequestParams.model_validate(parameters))
            # Not `call_tool`: it validates results against the server's schemas, whose patterns may backtrack for ever.
            result = await client.session.send_request(request_message, types.CallToolResult)
        content = self._content(result)
        if result.is_error:
            raise ToolFailed("tool_error", content or "The tool failed without a message.")
        return CallToolResult(content=content or "Done: the tool answered without content.")

    def _request(
        self, organization_id: str, tool: McpTool, context: Mapping[str, JsonValue], key: str | None
    ) -> ToolRequest:
        values = {**context, SECRETS_VARIABLE: secrets_of(tool, self._credentials.for_organization(organization_id))}
        headers = {"accept-encoding": "identity", "user-agent": "Playhead"}
        headers |= {name.lower(): value for name, value in render_headers(tool, values).items()}
        if key is not None:
            headers["idempotency-key"] = key
        return ToolRequest("POST", render_url(tool, values), header_bytes(headers))

    def _cached_list(self, name: str, tool: McpTool, request: ToolRequest) -> _ToolList:
        key = (name, tool.allow, request)
        tool_list = self._tool_lists.setdefault(key, _ToolList())
        self._tool_lists.move_to_end(key)
        if len(self._tool_lists) > MAX_CACHED_TOOL_LISTS:
            self._tool_lists.popitem(last=False)
        return tool_list

    @asynccontextmanager
    async def _connected(
        self, name: str, request: ToolRequest, seconds: float, progress: "_CallProgress"
    ) -> AsyncIterator[Client]:
        """Open a session with a server for at most `seconds`. Every error is converted to ToolFailed."""
        channel = McpTransport(self._guard.transport, request)
        transport = streamable_http_client(channel.shown_url, http_client=channel.client(seconds))
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline, Client(transport, cache=None) as client:
                yield client
        except Exception as error:
            if deadline.expired():
                raise _no_response(True, progress) from None
            raise self._failure(name, channel, error, progress) from None

    def _failure(self, name: str, channel: McpTransport, error: Exception, progress: "_CallProgress") -> ToolFailed:
        """The ToolFailed for an error of a session, from its root cause."""
        cause = channel.failure or _root_cause(error)
        match cause:
            case ToolFailed():
                return cause
            case EgressDenied():
                log.warning("the MCP server %s was not called: %s", name, cause)
                message = "The call was not made: tools may not reach the address of this server."
                return ToolFailed("refused_address", message)
            case httpx2.TransportError():
                log.warning("the MCP server %s did not answer: %s", name, self._redactor.redact_text(repr(cause)))
                return _no_response(isinstance(cause, httpx2.TimeoutException), progress)
            case MCPError():
                return self._server_failure(cause, channel.error_response, progress)
            case ValidationError():
                return ToolFailed("tool_error", "The server answered in a form that cannot be read.")
        log.error("the MCP server %s could not be used: %s", name, self._redactor.redact_text(repr(cause)))
        return ToolFailed("internal_error", f"The server could not be used: {type(cause).__name__}.")

    def _server_failure(
        self, error: MCPError, error_response: tuple[int, float | None] | None, progress: "_CallProgress"
    ) -> ToolFailed:
        words = to_content(error.message, self._redactor)
        if error_response is not None:
            status, wait = error_response
            retryable = is_retryable(status) and (progress.may_repeat or status in NOT_PROCESSED_STATUSES)
            message = f"The server answered {status}. Its response: {words}"
            return ToolFailed("http_error", message, status=status, retryable=retryable, retry_after=wait)
        if error.code == types.CONNECTION_CLOSED:
            return _no_response(False, progress)
        return ToolFailed("tool_error", words)

    def _offered_tool(self, server: str, tool: types.Tool) -> OfferedTool:
        description = to_content(tool.description or tool.title or tool.name, self._redactor)
        return OfferedTool(
            name=mcp_tool_name(server, tool.name),
            description=description[:MAX_DESCRIPTION_CHARACTERS],
            parameters=_schema(tool),
        )

    def _content(self, result: types.CallToolResult) -> str:
        texts = [_text(block) for block in result.content]
        if not texts and result.structured_content is not None:
            texts = [compact_json(self._redactor.redact_value(result.structured_content))]
        return to_content("\n".join(texts), self._redactor)


@dataclass
class _CallProgress:
    """The progress of a session: the tool being called, if any."""

    tool: types.Tool | None = None

    @property
    def may_repeat(self) -> bool:
        """True if a repeated session has no further effect."""
        hints = self.tool.annotations if self.tool else None
        return self.tool is None or bool(hints and (hints.idempotent_hint or hints.read_only_hint))


def _no_response(late: bool, progress: _CallProgress) -> ToolFailed:
    if late:
        return ToolFailed("timeout", "The server did not answer in time.", retryable=progress.may_repeat)
    return ToolFailed("connection_failed", "The connection to the server failed.", retryable=progress.may_repeat)


def _root_cause(error: BaseException) -> BaseException:
    """The first exception inside nested exception groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _list_tools(client: Client, server: str, tool: McpTool) -> list[types.Tool]:
    """The tools of a server that the agent allows; of tools with the same name, the first."""
    found: dict[str, types.Tool] = {}
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        for each in page.tools:
            if (not tool.allow or each.name in tool.allow) and len(found) < MAX_TOOLS and _is_offerable(each):
                found.setdefault(mcp_tool_name(server, each.name), each)
        cursor = page.next_cursor
        if cursor is None:
            break
    return list(found.values())


def _is_offerable(tool: types.Tool) -> bool:
    try:
        size = len(compact_json(_schema(tool)))
    except ValueError:
        return False
    if size > MAX_SCHEMA_CHARACTERS:
        log.warning("an MCP tool is not offered: its schema has %d characters", size)
    return size <= MAX_SCHEMA_CHARACTERS


def _schema(tool: types.Tool) -> dict[str, JsonValue]:
    """The tool's schema, checked to be storable JSON. Raises ValueError."""
    schema: Any = parse_json(compact_json(tool.input_schema))
    return {**schema, "type": "object"}


def _text(block: types.ContentBlock) -> str:
    match block:
        case types.TextContent():
            return block.text
        case types.EmbeddedResource(resource=types.TextResourceContents(text=text)):
            return text
        case types.ResourceLink():
            return f"[{block.name}: {block.uri}]"
        case _:
            return f"[an answer of the type {block.type}, which is not shown]"
