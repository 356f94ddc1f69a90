"""Tool calls as activities: retried under one idempotency key; a tool that keeps failing does not fail the turn."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

from pydantic import JsonValue
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.heartbeats import heartbeats
from activities.tool_clients.interface import ToolCall, ToolFailed, ToolRunner
from contracts.tools import CallHeartbeat, CallToolInput, CallToolResult, idempotency_key
from domain.agents.definition import AgentDefinition
from domain.agents.names import UNPARSED_ARGUMENTS
from domain.agents.tools import AnyTool, DocumentsTool, HttpTool, McpTool, find_tool
from domain.turns.engine import FailedAttempt

AGENT_NUMBER = "agent_number"
"""Name of the template variable with the agent's integer alias, in tools."""
MAX_RETRY_PAUSE_SECONDS = 60.0
"""Upper bound on the pause between two attempts: a person waits for the reply."""


class AgentDefinitions(Protocol):
    """Looks up agent definitions; AgentStore is the implementation."""

    async def definition(self, agent_id: str, version: int) -> AgentDefinition:
        """The definition of one version of an agent. Raises LookupError."""
        ...

    async def number(self, agent_id: str) -> int:
        """The integer alias of an agent. Raises LookupError."""
        ...


class ToolActivities:
    """Calls the tools of agents. The workflow passes a tool's name; its declaration is read from the agent."""

    def __init__(self, *, agents: AgentDefinitions, runner: ToolRunner) -> None:
        self._agents = agents
        self._runner = runner

    @activity.defn
    async def call_tool(self, input: CallToolInput) -> CallToolResult:
        """Make one attempt at a tool call; every attempt carries the same idempotency key.

        Raises ApplicationError of type `tool_failed` while the tool has retries left; the last attempt returns a
        result with its `error` set. The engine has checked that the node offers the tool.
        """
        definition = await self._agents.definition(input.agent.id, input.agent.version)
        name = find_tool(definition.tools, input.tool)
        if name is None:
            return ToolFailed("unknown_tool", f"There is no tool named {input.tool}.").result
        if input.arguments.keys() == {UNPARSED_ARGUMENTS}:
            return ToolFailed("invalid_arguments", "The arguments are not a JSON object; the call was not made.").result
        call = ToolCall(
            organization_id=input.organization_id,
            name=name,
            called=input.tool,
            tool=definition.tools[name],
            arguments=input.arguments,
            context=await self._context(input, definition.tools[name]),
            idempotency_key=idempotency_key(input.session_id, input.turn_id, input.call_id),
            mocks=input.mocks,
        )
        before, started_at, clock = _previous_failures(), datetime.now(UTC), time.monotonic()
        attempts = {"attempts": activity.info().attempt, "failed_attempts": before.failed_attempts}
        try:
            async with heartbeats(before):
                return (await self._runner.run(call)).model_copy(update=attempts)
        except ToolFailed as failure:
            pause = _retry_delay(failure, call.tool, before.failures)
            if pause is None:
                return failure.result.model_copy(update=attempts)
            failed = FailedAttempt(
                started_at=started_at,
                seconds=round(time.monotonic() - clock, 3),
                error=failure.code,
                status=failure.status,
            )
            activity.heartbeat(
                CallHeartbeat(failures=before.failures + 1, failed_attempts=(*before.failed_attempts, failed))
            )
            # `from None` keeps the cause out of Temporal's history: it may quote the request.
            raise ApplicationError(f"{failure.code}: {failure}", type="tool_failed", next_retry_delay=pause) from None

    async def _context(self, input: CallToolInput, tool: AnyTool) -> Mapping[str, JsonValue]:
        """The variables of the session, and the agent's integer alias for a tool that mentions it."""
        if AGENT_NUMBER not in tool.model_dump_json():
            return input.context
        return {AGENT_NUMBER: await self._agents.number(input.agent.id), **input.context}


def _previous_failures() -> CallHeartbeat:
    """Failures of the tool in earlier attempts; an attempt that was lost with its worker does not count."""
    details = activity.info().heartbeat_details
    return CallHeartbeat.model_validate(details[0]) if details else CallHeartbeat()


def _retry_delay(failure: ToolFailed, tool: AnyTool, failures_before: int) -> timedelta | None:
    """The pause before the next attempt; None after the last one."""
    if (
        not failure.retryable
        or not isinstance(tool, HttpTool | McpTool | DocumentsTool)
        or failures_before >= tool.retries
    ):
        return None
    if failure.retry_after is not None and failure.retry_after > MAX_RETRY_PAUSE_SECONDS:
        return None
    doubled = tool.retry_pause_seconds * 2**failures_before
    return timedelta(seconds=max(min(doubled, MAX_RETRY_PAUSE_SECONDS), failure.retry_after or 0))
