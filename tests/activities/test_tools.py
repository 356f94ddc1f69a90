"""Tool activities: one idempotency key for all attempts, and a result for the model after the last failure."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.tool_clients.dispatcher import ToolDispatcher
from activities.tool_clients.interface import ToolCall, ToolFailed
from activities.tools import ToolActivities
from contracts.sessions import AgentRef
from contracts.tools import CallHeartbeat, CallToolInput, CallToolResult, idempotency_key
from domain.agents.definition import AgentDefinition, Node
from domain.agents.tools import AnyTool
from tests.support.tool_calls import LOOPBACK, http_tool, mcp_tool

CALL = CallToolInput(
    session_id="ses_1",
    organization_id="org",
    turn_id="turn_1",
    call_id="c1",
    agent=AgentRef(id="agt_1", version=3),
    tool="find_table",
    arguments={"guests": 4},
)


class Agents:
    """A store with one version of one agent."""

    def __init__(self, **tools: AnyTool) -> None:
        nodes = {"hi": Node(prompt="Talk.")}
        self._definition = AgentDefinition(name="a", start="hi", nodes=nodes, tools=tools)

    async def number(self, agent_id: str) -> int:
        return 1

    async def definition(self, agent_id: str, version: int) -> AgentDefinition:
        assert (agent_id, version) == ("agt_1", 3)
        return self._definition


class Scripted:
    """A runner with scripted failures and a journal of its calls."""

    def __init__(self, *outcomes: ToolFailed | CallToolResult) -> None:
        self.outcomes = list(outcomes)
        self.calls: list[ToolCall] = []

    async def run(self, call: ToolCall) -> CallToolResult:
        self.calls.append(call)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, ToolFailed):
            raise outcome
        return outcome


@pytest.fixture
async def dispatcher() -> AsyncIterator[ToolDispatcher]:
    box = ToolDispatcher(credentials={}, allowlist=LOOPBACK)
    yield box
    await box.close()


async def attempt(
    activities: ToolActivities, call: CallToolInput = CALL, *, number: int = 1, left: list[Any] | None = None
) -> CallToolResult:
    """One attempt, as Temporal makes it; `left` has the heartbeat details of the last one, and receives new ones."""
    left = [] if left is None else left
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, attempt=number, heartbeat_details=tuple(left))
    environment.on_heartbeat = lambda *details: left.__setitem__(slice(None), details)
    return await environment.run(activities.call_tool, call)


async def as_temporal_does(activities: ToolActivities) -> tuple[CallToolResult, list[timedelta | None]]:
    """Make attempts until one returns a result; also returns the requested pauses between them."""
    pauses: list[timedelta | None] = []
    left: list[Any] = []
    while True:
        try:
            return await attempt(activities, number=len(pauses) + 1, left=left), pauses
        except ApplicationError as failure:
            if failure.non_retryable or failure.type != "tool_failed":
                raise
            pauses.append(failure.next_retry_delay)


def seconds(*pauses: float) -> list[timedelta]:
    return [timedelta(seconds=each) for each in pauses]


async def test_tool_that_fails_twice_and_then_works_is_called_with_one_key(
    service: HTTPServer, dispatcher: ToolDispatcher
) -> None:
    for status in (503, 500):
        service.expect_ordered_request("/").respond_with_data("later", status=status)
    service.expect_ordered_request("/").respond_with_json({"table": 7})
    tool = http_tool(service.url_for("/"), assign={"table": "table"})
    result, pauses = await as_temporal_does(ToolActivities(agents=Agents(find_table=tool), runner=dispatcher))
    failed = [(each.error, each.status) for each in result.failed_attempts]
    assert (result.attempts, failed) == (3, [("http_error", 503), ("http_error", 500)])
    assert all(0 <= each.seconds < 60 for each in result.failed_attempts)
    assert [each.started_at for each in result.failed_attempts] == sorted(
        each.started_at for each in result.failed_attempts
    )
    alone = result.model_copy(update={"attempts": 1, "failed_attempts": ()})
    assert alone == CallToolResult(content='{"table":7}', status=200, assigned={"table": 7})
    assert pauses == seconds(1, 2)
    keys = [request.headers["Idempotency-Key"] for request, _ in service.log]
    assert keys == [idempotency_key("ses_1", "turn_1", "c1")] * 3
    assert [request.get_json() for request, _ in service.log] == [{"guests": 4}] * 3


async def test_tool_that_keeps_failing_is_a_result_for_the_model(
    service: HTTPServer, dispatcher: ToolDispatcher
) -> None:
    service.expect_request("/").respond_with_data("down for repair", status=503)
    tool = http_tool(service.url_for("/"), retries=3, retry_pause_seconds=30)
    result, pauses = await as_temporal_does(ToolActivities(agents=Agents(find_table=tool), runner=dispatcher))
    assert (result.error, result.status, result.assigned) == ("http_error", 503, {})
    assert result.content.startswith("Error (http_error): The service answered 503")
    assert "down for repair" in result.content
    assert pauses == seconds(30, 60, 60)
    assert len(service.log) == 4


@pytest.mark.parametrize(
    ("failure", "attempts"),
    [
        (ToolFailed("http_error", "No.", status=404), 1),
        (ToolFailed("invalid_arguments", "No."), 1),
        (ToolFailed("timeout", "Late.", retryable=True), 3),
        (ToolFailed("http_error", "Wait.", status=429, retryable=True, retry_after=61), 1),
    ],
)
async def test_only_transient_failures_are_retried(failure: ToolFailed, attempts: int) -> None:
    runner = Scripted(*[failure] * 5)
    activities = ToolActivities(agents=Agents(find_table=http_tool("https://tables.example")), runner=runner)
    result, _ = await as_temporal_does(activities)
    assert result.error == failure.code
    assert len(runner.calls) == attempts
    assert len({call.idempotency_key for call in runner.calls}) == 1


async def test_the_retry_delay_that_a_service_asks_for_is_kept() -> None:
    runner = Scripted(
        ToolFailed("http_error", "Wait.", retryable=True, retry_after=20),
        ToolFailed("http_error", "Wait.", retryable=True, retry_after=0.5),
        CallToolResult(content="ok"),
    )
    activities = ToolActivities(agents=Agents(find_table=http_tool("https://tables.example")), runner=runner)
    assert (await as_temporal_does(activities))[1] == seconds(20, 2)


async def test_attempt_after_a_dead_worker_is_made_even_when_no_retries_are_left() -> None:
    runner = Scripted(CallToolResult(content="ok"))
    tool = http_tool("https://tables.example", retries=0)
    assert (await attempt(ToolActivities(agents=Agents(find_table=tool), runner=runner), number=9)).content == "ok"


async def test_attempts_lost_with_their_worker_do_not_count_as_failures_of_the_tool() -> None:
    runner = Scripted(*[ToolFailed("timeout", "Late.", retryable=True)] * 2)
    activities = ToolActivities(agents=Agents(find_table=http_tool("https://tables.example", retries=1)), runner=runner)
    left: list[Any] = []
    with pytest.raises(ApplicationError, match="Late"):
        await attempt(activities, number=9, left=left)
    [heartbeat] = left
    assert heartbeat == CallHeartbeat(failures=1, failed_attempts=heartbeat.failed_attempts)
    assert [each.error for each in heartbeat.failed_attempts] == ["timeout"]
    last = await attempt(activities, number=12, left=left)
    assert (last.error, last.attempts, last.failed_attempts) == ("timeout", 12, heartbeat.failed_attempts)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"tool": "find_tabel"}, "unknown_tool"),
        ({"tool": "crm"}, "unknown_tool"),
        ({"tool": "find_table__x"}, "unknown_tool"),
        ({"arguments": {"malformed": "{guests: 4"}}, "invalid_arguments"),
    ],
)
async def test_an_invalid_call_is_not_made(change: dict[str, Any], error: str) -> None:
    runner = Scripted()
    agents = Agents(find_table=http_tool("https://tables.example"), crm=mcp_tool("https://crm.example"))
    result = await attempt(ToolActivities(agents=agents, runner=runner), CALL.model_copy(update=change))
    assert result.error == error
    assert not runner.calls


async def test_a_tool_of_a_server_is_called_on_that_server() -> None:
    runner = Scripted(CallToolResult(content="ok"))
    agents = Agents(crm=mcp_tool("https://crm.example"))
    await attempt(ToolActivities(agents=agents, runner=runner), CALL.model_copy(update={"tool": "crm__find"}))
    assert (runner.calls[0].name, runner.calls[0].called) == ("crm", "crm__find")


async def test_worker_reports_while_a_tool_takes_its_time() -> None:
    beat = asyncio.Event()

    class Slow:
        async def run(self, call: ToolCall) -> CallToolResult:
            async with asyncio.timeout(20):
                await beat.wait()
            return CallToolResult(content="at last")

    environment = ActivityEnvironment()
    environment.info = replace(environment.info, heartbeat_timeout=timedelta(seconds=0.04))
    environment.on_heartbeat = lambda *_: beat.set()
    activities = ToolActivities(agents=Agents(find_table=http_tool("https://tables.example")), runner=Slow())
    assert (await environment.run(activities.call_tool, CALL)).content == "at last"


def test_an_idempotency_key_is_unique_to_its_call_and_reveals_nothing() -> None:
    parts = [("s", "t", "c"), ("s", "t", "d"), ("s", "u", "c"), ("r", "t", "c"), ("s,t", "c", ""), ("", "s", "t,c")]
    keys = {idempotency_key(*each) for each in parts}
    assert len(keys) == len(parts)
    assert all(len(key) == 40 and key.isalnum() for key in keys)
    assert idempotency_key("s", "t", "c") == idempotency_key("s", "t", "c")
