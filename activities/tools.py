"""Tool calls as activities: one effect each, retried under one idempotency key, and never the end of a turn."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from pydantic import JsonValue
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.heartbeats import heartbeats
from domain.agent import AgentDefinition
from domain.agent_names import UNPARSED
from domain.agent_tools import HttpTool, McpTool, tool_behind
from domain.tool_mocks import ToolMock
from domain.tools import CallHeartbeat, CallToolInput, CallToolResult, ToolError, idempotency_key

LONGEST_PAUSE = 60.0
"""Seconds between two attempts at most: a person waits for the answer."""


@dataclass(frozen=True)
class ToolCall:
    """One call as its runner gets it: `name` is the tool's in the agent, `called` what the model called.

    With `mocks` it is answered from them.
    """

    organization_id: str
    name: str
    called: str
    tool: HttpTool | McpTool
    arguments: Mapping[str, JsonValue]
    context: Mapping[str, JsonValue]
    idempotency_key: str
    mocks: tuple[ToolMock, ...] = ()


class Agents(Protocol):
    """Where agents are found; the store is one."""

    async def definition(self, agent_id: str, version: int) -> AgentDefinition:
        """One version's definition. Raises LookupError."""
        ...


class ToolRunner(Protocol):
    """The edge to the services: one attempt at a call."""

    async def run(self, call: ToolCall) -> CallToolResult:
        """Make the call. Raises `ToolFailed`."""
        ...


class ToolFailed(Exception):
    """One attempt brought nothing. The message is for the model and holds no credential.

    `retryable` says that the same call may succeed later, `retry_after` (seconds) when the service wants it.
    """

    def __init__(
        self,
        code: ToolError,
        message: str,
        *,
        status: int | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after

    @property
    def result(self) -> CallToolResult:
        """The failure as the model is told it."""
        return CallToolResult(content=f"Error ({self.code}): {self}", error=self.code, status=self.status)


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
        name = tool_behind(definition.tools, input.tool)
        if name is None:
            return ToolFailed("unknown_tool", f"There is no tool named {input.tool}.").result
        if input.arguments.keys() == {UNPARSED}:
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
    if failure.retry_after is not None and failure.retry_after > LONGEST_PAUSE:
        return None
    doubled = tool.retry_pause_seconds * 2**failures_before
    return timedelta(seconds=max(min(doubled, LONGEST_PAUSE), failure.retry_after or 0))
