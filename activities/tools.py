"""Tool calls as activities: one effect each, retried under one idempotency key, and never the end of a turn."""

from datetime import timedelta
from typing import Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.heartbeats import heartbeats
from activities.tool_clients.interface import ToolCall, ToolFailed, ToolRunner
from contracts.tools import CallHeartbeat, CallToolInput, CallToolResult, idempotency_key
from domain.agents.definition import AgentDefinition
from domain.agents.names import UNPARSED_ARGUMENTS
from domain.agents.tools import HttpTool, McpTool, find_tool

MAX_PAUSE = 60.0
"""Seconds between two attempts at most: a person waits for the answer."""


class Agents(Protocol):
    """Where agents are found; the store is one."""

    async def definition(self, agent_id: str, version: int) -> AgentDefinition:
        """One version's definition. Raises LookupError."""
        ...


class ToolActivities:
    """Calls the tools of agents. What an agent's author declared is looked up; the workflow names it only."""

    def __init__(self, *, agents: Agents, runner: ToolRunner) -> None:
        self._agents = agents
        self._runner = runner

    @activity.defn
    async def call_tool(self, input: CallToolInput) -> CallToolResult:
        """Call a tool once, or once more: every attempt carries the same idempotency key.

        Fails, with type `tool_failed`, only while the tool has retries left; the last attempt gives a result with
        its `error` set. Whether the node offers the tool is the engine's to decide.
        """
        definition = await self._agents.definition(input.agent.id, input.agent.version)
        name = find_tool(definition.tools, input.tool)
        if name is None:
            return ToolFailed("unknown_tool", f"There is no tool named {input.tool}.").result
        if input.arguments.keys() == {UNPARSED_ARGUMENTS}:
            return ToolFailed("invalid_arguments", "The arguments were no JSON object; the call was not made.").result
        call = ToolCall(
            organization_id=input.organization_id,
            name=name,
            called=input.tool,
            tool=definition.tools[name],
            arguments=input.arguments,
            context=input.context,
            idempotency_key=idempotency_key(input.session_id, input.turn_id, input.call_id),
            mocks=input.mocks,
        )
        failures = _failures_so_far()
        try:
            async with heartbeats(CallHeartbeat(failures=failures)):
                return await self._runner.run(call)
        except ToolFailed as failure:
            pause = _pause_before_retry(failure, call.tool, failures)
            if pause is None:
                return failure.result
            activity.heartbeat(CallHeartbeat(failures=failures + 1))
            # What lies below the failure stays out of Temporal's history: it may quote what was sent.
            raise ApplicationError(f"{failure.code}: {failure}", type="tool_failed", next_retry_delay=pause) from None


def _failures_so_far() -> int:
    """How often the tool has failed: an attempt that was lost with its worker is no failure of the tool."""
    details = activity.info().heartbeat_details
    return CallHeartbeat.model_validate(details[0]).failures if details else 0


def _pause_before_retry(failure: ToolFailed, tool: HttpTool | McpTool, failures_before: int) -> timedelta | None:
    """How long to wait before the next attempt; None when this was the last one."""
    if not failure.retryable or failures_before >= tool.retries:
        return None
    if failure.retry_after is not None and failure.retry_after > MAX_PAUSE:
        return None
    doubled = tool.retry_pause_seconds * 2**failures_before
    return timedelta(seconds=max(min(doubled, MAX_PAUSE), failure.retry_after or 0))
