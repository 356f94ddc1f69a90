"""Dispatches tool calls to HTTP, MCP, built-in and documents tools or to mocks, and redacts credentials.

For client tools, which the client of a conversation carries out, it only checks the arguments.
"""

import asyncio
import logging
import traceback
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import JsonValue

from activities.network.egress_guard import EgressGuard
from activities.network.secrets import Credentials, Redactor
from activities.tool_clients.argument_validation import check_arguments
from activities.tool_clients.builtin import run_builtin
from activities.tool_clients.documents import PassageSearch, search_documents
from activities.tool_clients.http import HttpTools
from activities.tool_clients.interface import ToolCall, ToolFailed
from activities.tool_clients.mocks import mocked_result
from activities.tool_clients.responses import to_content
from contracts.tools import CallToolResult
from domain.agents.offered_tools import offered_tool
from domain.agents.tools import AnyTool, ClientTool, DocumentsTool, HttpTool, McpTool, OfferedTool

if TYPE_CHECKING:
    from activities.tool_clients.mcp import McpTools

log = logging.getLogger(__name__)


class ToolDispatcher:
    """Calls and lists the tools of web services and MCP servers, and the built-in ones.

    `credentials` are the values behind the names in `secrets`, `organization_credentials` those that only one
    organization's agents may name; `allowlist` are the addresses that tools may reach beside public ones (see
    `EgressPolicy`), `documents` the passages that documents tools search. Raises ValueError for an invalid entry of
    `allowlist`.
    """

    def __init__(
        self,
        *,
        credentials: Mapping[str, str],
        organization_credentials: Mapping[str, Mapping[str, str]] | None = None,
        allowlist: Iterable[str] = (),
        documents: PassageSearch | None = None,
    ) -> None:
        self.guard = EgressGuard(allowlist)
        """The guard of every connection to an address that an agent names."""
        self.credentials = Credentials(credentials, organization_credentials or {})
        self._redactor = Redactor(self.credentials.all_values())
        self._documents = documents
        self._http = HttpTools(guard=self.guard, credentials=self.credentials)

    @cached_property
    def _mcp(self) -> "McpTools":
        from activities.tool_clients.mcp import McpTools  # noqa: PLC0415  # half a second; most workers need none

        return McpTools(guard=self.guard, credentials=self.credentials)

    async def run(self, call: ToolCall) -> CallToolResult:
        """Make one attempt at a call. Every error becomes ToolFailed: a tool never fails a turn."""
        try:
            if call.mocks:
                return mocked_result(call)
            if isinstance(call.tool, HttpTool):
                return await self._http.run(call, call.tool)
            if isinstance(call.tool, McpTool):
                return await self._mcp.run(call, call.tool)
            if isinstance(call.tool, ClientTool):
                check_arguments(call.tool.parameters, call.arguments)
                return CallToolResult(content="The arguments are valid.")
            if isinstance(call.tool, DocumentsTool):
                return await search_documents(call, call.tool, self._documents)
            return run_builtin(call, call.tool, now=lambda: datetime.now(UTC))
        except ToolFailed as failure:
            raise ToolFailed(
                failure.code,
                to_content(str(failure), self._redactor),
                status=failure.status,
                retryable=failure.retryable,
                retry_after=failure.retry_after,
            ) from None
        except Exception as error:
            trace = self._redactor.redact_text("".join(traceback.format_exception(error)))
            log.error("the tool %s could not be called\n%s", call.name, trace)
            message = f"The tool could not be called: {type(error).__name__}."
            raise ToolFailed("internal_error", message, retryable=True) from None

    async def list_tools(
        self,
        organization_id: str,
        tools: Mapping[str, AnyTool],
        names: Iterable[str],
        context: Mapping[str, JsonValue],
    ) -> tuple[OfferedTool, ...]:
        """The named tools of an agent, as offered to the model. An unreachable server contributes none."""
        offers = await asyncio.gather(*(self._tools_of(organization_id, name, tools[name], context) for name in names))
        return tuple(each for of_tool in offers for each in of_tool)

    async def close(self) -> None:
        """Close the connections that are open."""
        await self.guard.close()

    async def _tools_of(
        self, organization_id: str, name: str, tool: AnyTool, context: Mapping[str, JsonValue]
    ) -> tuple[OfferedTool, ...]:
        if not isinstance(tool, McpTool):
            offered = offered_tool(name, tool)
            return (offered,) if offered else ()
        try:
            return await self._mcp.list_tools(organization_id, name, tool, context)
        except Exception as error:
            log.warning(
                "the tools of the MCP server %s cannot be listed: %s", name, self._redactor.redact_text(repr(error))
            )
            return ()
