"""Built-in tools: offers, results for the model, and the effects of a call on the session."""

from datetime import UTC, datetime
from typing import Any

import pytest

from activities.tool_clients.builtin import run_builtin
from activities.tool_clients.dispatcher import ToolDispatcher
from activities.tool_clients.interface import ToolFailed
from contracts.tools import CallToolResult
from domain.agents.tool_mocks import ToolMock
from domain.agents.tools import BuiltinTool
from tests.support.tool_calls import builtin_tool, call_of, outcome_of

NOW = datetime(2026, 11, 28, 22, 30, tzinfo=UTC)


def run(tool: BuiltinTool, arguments: dict[str, Any], context: dict[str, Any] | None = None) -> CallToolResult:
    return run_builtin(call_of(tool, arguments, context=context), tool, now=lambda: NOW)


def fault(tool: BuiltinTool, arguments: dict[str, Any], context: dict[str, Any] | None = None) -> ToolFailed:
    with pytest.raises(ToolFailed) as failure:
        run(tool, arguments, context)
    return failure.value


def test_the_calculator_calculates() -> None:
    assert run(builtin_tool("calculate"), {"expression": "(2000 + 500) * 1.19"}).content == "2975"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "required"),
        ({"expression": 7}, "string"),
        ({"expression": "1" * 600}, "more than 500 characters"),
        ({"expression": "1 / 0"}, "division by zero"),
        ({"expression": "1", "base": 2}, "no such argument"),
    ],
)
def test_what_cannot_be_calculated_is_explained_to_the_model(arguments: dict[str, Any], message: str) -> None:
    failure = fault(builtin_tool("calculate"), arguments)
    assert (failure.code, failure.retryable) == ("invalid_arguments", False)
    assert message in str(failure)


@pytest.mark.parametrize(
    ("zone", "content"),
    [
        (None, '{"time_zone":"UTC","time":"2026-11-28T22:30:00+00:00","weekday":"Saturday"}'),
        ("Asia/Kolkata", '{"time_zone":"Asia/Kolkata","time":"2026-11-29T04:00:00+05:30","weekday":"Sunday"}'),
    ],
)
def test_the_clock_shows_time_and_weekday_in_a_zone(zone: str | None, content: str) -> None:
    assert run(builtin_tool("current_time"), {"time_zone": zone} if zone else {}).content == content


@pytest.mark.parametrize("zone", ["Mars/Olympus", "..", "Europe", "/etc/passwd", "a" * 60])
def test_a_zone_that_does_not_exist_is_explained_to_the_model(zone: str) -> None:
    assert "no time zone" in str(fault(builtin_tool("current_time"), {"time_zone": zone}))


def test_ending_a_session_assigns_the_reason() -> None:
    tool = builtin_tool("end_session", reason="Why.")
    assert run(tool, {"reason": " wrong number "}).assigned == {"call_disposition": "wrong number"}
    assert "required" in str(fault(tool, {}))
    assert run(builtin_tool("end_session"), {}).assigned == {}


def test_a_hand_over_assigns_its_target() -> None:
    tool = builtin_tool("hand_over", to="{{desk.number | +39055}}", reason="Why.")
    result = run(tool, {"reason": "a complaint"}, {"desk": {"number": "+49"}})
    assert result.assigned == {"handed_over_to": "+49", "call_disposition": "a complaint"}
    assert "+49" in result.content
    assert run(tool, {"reason": "a complaint"}).assigned["handed_over_to"] == "+39055"


def test_a_hand_over_without_a_target_is_refused() -> None:
    assert fault(builtin_tool("hand_over", to="{{nobody}}"), {}).code == "invalid_tool"


async def test_built_in_tools_are_offered_and_called_like_others() -> None:
    dispatcher = ToolDispatcher(credentials={})
    tools = {
        "sum": builtin_tool("calculate"),
        "bye": builtin_tool("end_session", reason="Why it ends."),
        "stop": builtin_tool("end_session", description="When it is over."),
    }
    offered = {tool.name: tool for tool in await dispatcher.list_tools("org", tools, tools, {})}
    assert list(offered) == ["sum", "bye", "stop"]
    assert offered["stop"].description == "When it is over."
    assert offered["stop"].parameters["properties"] == {}
    assert offered["bye"].parameters["required"] == ["reason"]
    outcome = await outcome_of(dispatcher, call_of(tools["sum"], {"expression": "1 + 1"}))
    assert isinstance(outcome, CallToolResult)
    assert outcome.content == "2"
    await dispatcher.close()


async def test_a_mocked_hand_over_still_assigns_its_target() -> None:
    dispatcher = ToolDispatcher(credentials={})
    tool = builtin_tool("hand_over", to="+39055")
    call = call_of(tool, {}, mocks=(ToolMock(tool="hand_over", result="ok"),))
    outcome = await outcome_of(dispatcher, call)
    assert isinstance(outcome, CallToolResult)
    assert (outcome.content, outcome.assigned) == ("ok", {"handed_over_to": "+39055"})
    await dispatcher.close()
