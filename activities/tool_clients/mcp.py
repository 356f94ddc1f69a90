"""Tools of MCP servers: listed for the model, called over streamable HTTP, under the same guard as all others."""

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
from activities.tool_clients.requests import ToolRequest, header_bytes, rendered_headers, rendered_url, secrets_of
from activities.tool_clients.responses import as_content, as_json, parsed
from contracts.tools import CallToolResult
from domain.agents.names import SECRETS_VARIABLE
from domain.agents.tools import McpTool, OfferedTool, mcp_tool_name

LISTING_SECONDS = 60.0
"""How long a server's list of tools is used before it is asked again."""
LISTING_SECONDS_AFTER_FAILURE = 30.0
MAX_LISTING = 5.0
"""Seconds that a model call waits for a server's list of tools."""
MAX_SERVERS_REMEMBERED = 500
MAX_TOOLS = 200
MAX_PAGES = 20
MAX_CHARACTERS_OF_SCHEMA = 20_000
MAX_CHARACTERS_OF_DESCRIPTION = 2_000
IDEMPOTENCY_META = "idempotency-key"
"""Where a server finds the key of a call, in its `_meta`; the requests of the call carry it as a header as well."""
NOT_PROCESSED = frozenset({429, 503})
"""Statuses that say the message was not acted upon."""

log = logging.getLogger(__name__)


@dataclass
class _Listing:
    """A server's tools as last seen, and when to look again; asked for by one step at a time."""

    tools: tuple[OfferedTool, ...] = ()
    expires_at: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class McpTools:
    """Speaks to MCP servers. `credentials` are found by name; none of their values leaves but in a request."""

    def __init__(self, *, guard: EgressGuard, credentials: Credentials, clock: Callable[[], float] = monotonic) -> None:
        self._guard = guard
        self._credentials = credentials
        self._redactor = Redactor(credentials.secrets())
        self._clock = clock
        self._listings: OrderedDict[tuple[str, tuple[str, ...], ToolRequest], _Listing] = OrderedDict()

    async def offered(
        self, organization_id: str, name: str, tool: McpTool, context: Mapping[str, JsonValue]
    ) -> tuple[OfferedTool, ...]:
        """The tools a server offers under its name in the agent, from memory when it was asked a short while ago.

        A server that does not answer takes nothing from the conversation but its tools: the list as last seen, or
        none, is given instead. Raises ToolFailed when the server cannot be asked at all.
        """
        request = self._request(organization_id, tool, context, key=None)
        listing = self._remembered(name, tool, request)
        async with listing.lock:
            if self._clock() >= listing.expires_at:
                try:
                    seconds = min(tool.timeout_seconds, MAX_LISTING)
                    async with self._connected(name, request, seconds, _Progress()) as client:
                        listing.tools = tuple(self._offer(name, each) for each in await _listed(client, name, tool))
                    lasts = LISTING_SECONDS
                except ToolFailed as failure:
                    log.warning("the MCP server %s did not list its tools: %s", name, self._redactor.text(str(failure)))
                    lasts = LISTING_SECONDS_AFTER_FAILURE
                listing.expires_at = self._clock() + lasts
            return listing.tools

    async def run(self, call: ToolCall, tool: McpTool) -> CallToolResult:
        """Make one attempt at a call. Raises ToolFailed.

        A call that reached the server and was not answered is made again only when the server calls the tool
        idempotent or says that it changes nothing: few servers know the idempotency key.
        """
        request = self._request(call.organization_id, tool, call.context, key=call.idempotency_key)
        progress = _Progress()
        async with self._connected(call.name, request, tool.timeout_seconds, progress) as client:
            listed = await _listed(client, call.name, tool)
            wanted = next((each for each in listed if mcp_tool_name(call.name, each.name) == call.called), None)
            if wanted is None:
                known = ", ".join(mcp_tool_name(call.name, each.name) for each in listed) or "none"
                message = f"The server {call.name} has no tool named {call.called}; it has: {known}."
                raise ToolFailed("unknown_tool", message)
            progress.calling = wanted
            parameters = {
                "name": wanted.name,
                "arguments": dict(call.arguments),
                "_meta": {IDEMPOTENCY_META: call.idempotency_key},
            }
            asked = types.CallToolRequest(params=types.CallToolRequestParams.model_validate(parameters))
            # Not `call_tool`: it checks results against the server's own schemas, whose patterns may take for ever.
            answer = await client.session.send_request(asked, types.CallToolResult)
        content = self._content(answer)
        if answer.is_error:
            raise ToolFailed("tool_error", content or "The tool failed without a word.")
        return CallToolResult(content=content or "Done: the tool answered without any words.")

    def _request(
        self, organization_id: str, tool: McpTool, context: Mapping[str, JsonValue], key: str | None
    ) -> ToolRequest:
        values = {**context, SECRETS_VARIABLE: secrets_of(tool, self._credentials.of(organization_id))}
        headers = {"accept-encoding": "identity", "user-agent": "Playhead"}
        headers |= {name.lower(): value for name, value in rendered_headers(tool, values).items()}
        if key is not None:
            headers["idempotency-key"] = key
        return ToolRequest("POST", rendered_url(tool, values), header_bytes(headers))

    def _remembered(self, name: str, tool: McpTool, request: ToolRequest) -> _Listing:
        key = (name, tool.allow, request)
        listing = self._listings.setdefault(key, _Listing())
        self._listings.move_to_end(key)
        if len(self._listings) > MAX_SERVERS_REMEMBERED:
            self._listings.popitem(last=False)
        return listing

    @asynccontextmanager
    async def _connected(
        self, name: str, request: ToolRequest, seconds: float, progress: "_Progress"
    ) -> AsyncIterator[Client]:
        """A session with a server, for so many seconds. Whatever ends it early becomes ToolFailed."""
        channel = McpTransport(self._guard.transport, request)
        transport = streamable_http_client(channel.shown_url, http_client=channel.client(seconds))
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline, Client(transport, cache=None) as client:
                yield client
        except Exception as error:
            if deadline.expired():
                raise _unanswered(True, progress) from None
            raise self._failure(name, channel, error, progress) from None

    def _failure(self, name: str, channel: McpTransport, error: Exception, progress: "_Progress") -> ToolFailed:
        """What went wrong, from the innermost that knows: the tool, the connection, the server, the library."""
        own = channel.failure or _innermost(error)
        match own:
            case ToolFailed():
                return own
            case EgressDenied():
                log.warning("the MCP server %s was not called: %s", name, own)
                told = "The call was not made: tools may not reach the address of this server."
                return ToolFailed("refused_address", told)
            case httpx2.TransportError():
                log.warning("the MCP server %s did not answer: %s", name, self._redactor.text(repr(own)))
                return _unanswered(isinstance(own, httpx2.TimeoutException), progress)
            case MCPError():
                return self._server_failure(own, channel.refusal, progress)
            case ValidationError():
                return ToolFailed("tool_error", "The server answered in a form that cannot be read.")
        log.error("the MCP server %s could not be used: %s", name, self._redactor.text(repr(own)))
        return ToolFailed("internal_error", f"The server could not be used: {type(own).__name__}.")

    def _server_failure(
        self, error: MCPError, refusal: tuple[int, float | None] | None, progress: "_Progress"
    ) -> ToolFailed:
        words = as_content(error.message, self._redactor)
        if refusal is not None:
            status, wait = refusal
            retryable = is_retryable(status) and (progress.may_repeat or status in NOT_PROCESSED)
            told = f"The server answered {status}. Its words: {words}"
            return ToolFailed("http_error", told, status=status, retryable=retryable, retry_after=wait)
        if error.code == types.CONNECTION_CLOSED:
            return _unanswered(False, progress)
        return ToolFailed("tool_error", words)

    def _offer(self, server: str, tool: types.Tool) -> OfferedTool:
        description = as_content(tool.description or tool.title or tool.name, self._redactor)
        return OfferedTool(
            name=mcp_tool_name(server, tool.name),
            description=description[:MAX_CHARACTERS_OF_DESCRIPTION],
            parameters=_schema(tool),
        )

    def _content(self, answer: types.CallToolResult) -> str:
        texts = [_text(block) for block in answer.content]
        if not texts and answer.structured_content is not None:
            texts = [as_json(self._redactor.value(answer.structured_content))]
        return as_content("\n".join(texts), self._redactor)


@dataclass
class _Progress:
    """How far a session came: the tool whose call is under way."""

    calling: types.Tool | None = None

    @property
    def may_repeat(self) -> bool:
        """Whether doing it all again changes no more than doing it once."""
        hints = self.calling.annotations if self.calling else None
        return self.calling is None or bool(hints and (hints.idempotent_hint or hints.read_only_hint))


def _unanswered(late: bool, progress: _Progress) -> ToolFailed:
    if late:
        return ToolFailed("timeout", "The server did not answer in time.", retryable=progress.may_repeat)
    return ToolFailed("connection_failed", "The connection to the server failed.", retryable=progress.may_repeat)


def _innermost(error: BaseException) -> BaseException:
    """What the library's tasks raised, without the groups they put around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _listed(client: Client, server: str, tool: McpTool) -> list[types.Tool]:
    """The tools of a server that its entry in the agent allows; names that clash after the first are left out."""
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
        size = len(as_json(_schema(tool)))
    except ValueError:
        return False
    if size > MAX_CHARACTERS_OF_SCHEMA:
        log.warning("an MCP tool is not offered: its schema has %d characters", size)
    return size <= MAX_CHARACTERS_OF_SCHEMA


def _schema(tool: types.Tool) -> dict[str, JsonValue]:
    """The tool's schema as it can be stored and sent. Raises ValueError."""
    schema: Any = parsed(as_json(tool.input_schema))
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
