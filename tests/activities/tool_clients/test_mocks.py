"""Tool mocks: results from the scenario, parsed like real ones, without any request."""

from typing import Any

import pytest
from pydantic import JsonValue
from pytest_httpserver import HTTPServer

from activities.tool_clients.dispatcher import ToolDispatcher
from activities.tools import ToolActivities
from contracts.tools import CallToolResult
from domain.agents.tool_mocks import ToolMock
from tests.activities.test_tools import CALL, Agents, attempt
from tests.support.tool_calls import LOOPBACK, http_tool, mcp_tool

FREE = ToolMock(tool="find_table", arguments={"guests": 4}, result={"table": {"number": 12}})
FULL = ToolMock(tool="find_table", arguments={"guests": 5}, error="every table is taken")


async def call(*mocks: ToolMock, guests: JsonValue = 4, **declared: Any) -> CallToolResult:
    tool = http_tool("https://tables.example/search", retries=2, **declared)
    activities = ToolActivities(agents=Agents(find_table=tool), runner=ToolDispatcher(credentials={}))
    asked = CALL.model_copy(update={"mocks": mocks, "arguments": {"guests": guests}})
    return await attempt(activities, asked)


async def test_a_mock_answers_and_the_tool_assigns_from_its_answer() -> None:
    result = await call(FREE, FULL, assign={"table": "table.number"})
    assert (result.content, result.error, result.assigned) == ('{"table":{"number":12}}', None, {"table": 12})


async def test_a_mocked_failure_is_reported_and_not_retried() -> None:
    result = await call(FREE, FULL, guests=5)
    assert (result.error, result.content) == ("tool_error", "Error (tool_error): every table is taken")


async def test_a_call_that_no_mock_matches_has_its_own_error_code() -> None:
    result = await call(FREE, FULL, guests=6)
    assert result.error == "not_mocked"
    assert "No mock of find_table matches" in result.content


async def test_arguments_are_checked_before_a_mock_answers() -> None:
    result = await call(ToolMock(tool="find_table"), guests="many")
    assert result.error == "invalid_arguments"


@pytest.mark.parametrize(
    ("result", "content"), [(None, "Done: the service answered without content."), ("Free.", "Free."), (3, "3")]
)
async def test_a_mock_can_return_any_json_value(result: JsonValue, content: str) -> None:
    assert (await call(ToolMock(tool="find_table", result=result))).content == content


async def test_a_mocked_call_does_not_reach_the_service(service: HTTPServer) -> None:
    service.expect_request("/search").respond_with_json({})
    tool = http_tool(service.url_for("/search"))
    activities = ToolActivities(
        agents=Agents(find_table=tool), runner=ToolDispatcher(credentials={}, allowlist=LOOPBACK)
    )
    await attempt(activities, CALL.model_copy(update={"mocks": (FREE,)}))
    assert service.log == []
    await attempt(activities, CALL.model_copy(update={"mocks": ()}))
    assert len(service.log) == 1, "without mocks the same call goes out"


async def test_a_tool_of_a_server_is_mocked_under_the_name_that_the_model_calls() -> None:
    activities = ToolActivities(
        agents=Agents(crm=mcp_tool("https://crm.example/mcp")), runner=ToolDispatcher(credentials={})
    )
    mock = ToolMock(tool="crm__find", result="Anna Bell")
    asked = CALL.model_copy(update={"tool": "crm__find", "mocks": (mock,)})
    assert (await attempt(activities, asked)).content == "Anna Bell"
