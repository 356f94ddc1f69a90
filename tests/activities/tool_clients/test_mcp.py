"""MCP tools: names, calls, and failures that do not fail a turn."""

import logging
from collections.abc import AsyncIterator

import pytest
from mcp.types import CallToolRequest

from activities.network.egress_guard import EgressGuard
from activities.network.secrets import Credentials
from activities.tool_clients.dispatcher import ToolDispatcher
from activities.tool_clients.mcp import FAILED_TOOL_LIST_TTL_SECONDS, TOOL_LIST_TTL_SECONDS, McpTools
from domain.agents.tools import HttpTool, McpTool, OfferedTool
from tests.activities.tool_clients.mcp_service import McpService, mcp_service
from tests.support.ports import free_port
from tests.support.tool_calls import KEY, LOOPBACK, call_of, failure_of, http_tool, mcp_tool

TOKEN = "t0p-s3cret/+ token"


@pytest.fixture
async def server() -> AsyncIterator[McpService]:
    async with mcp_service() as service:
        yield service


@pytest.fixture
async def dispatcher() -> AsyncIterator[ToolDispatcher]:
    box = ToolDispatcher(credentials={"TOKEN": TOKEN}, allowlist=LOOPBACK)
    yield box
    await box.close()


class Clock:
    """A clock that tests advance."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def names(dispatcher: ToolDispatcher, tool: McpTool) -> list[str]:
    return [offer.name for offer in await dispatcher.list_tools("org", {"crm": tool}, ["crm"], {})]


# --- offered tools ------------------------------------------------------------------------------


async def test_tools_of_a_server_are_offered_under_its_name(server: McpService, dispatcher: ToolDispatcher) -> None:
    tools: dict[str, HttpTool | McpTool] = {
        "crm": mcp_tool(server.url),
        "table": http_tool("https://tables.example"),
        "unused": mcp_tool("https://unused.example"),
    }
    offers = await dispatcher.list_tools("org", tools, ["table", "crm"], {})
    assert [offer.name for offer in offers][:2] == ["table", "crm__find"]
    assert "crm__tools_rich_v1" in [offer.name for offer in offers]
    find = offers[1]
    assert find.description == "Finds a customer by name."
    assert find.parameters["type"] == "object"
    assert find.parameters["required"] == ["name"]


async def test_only_allowed_tools_are_offered_and_called(server: McpService, dispatcher: ToolDispatcher) -> None:
    tool = mcp_tool(server.url, allow=["find", "tools/rich.v1"])
    assert await names(dispatcher, tool) == ["crm__find", "crm__tools_rich_v1"]
    failure = await failure_of(dispatcher, call_of(tool, called="crm__structured"))
    assert failure.code == "unknown_tool"
    assert "crm__find, crm__tools_rich_v1" in str(failure)
    assert not server.requests("tools/call")


async def test_the_tool_list_is_cached_for_a_while(server: McpService) -> None:
    clock = Clock()
    guard = EgressGuard(LOOPBACK)
    tools = McpTools(guard=guard, credentials=Credentials({}, {}), clock=clock)
    tool = mcp_tool(server.url)
    first = await tools.list_tools("org", "crm", tool, {})
    clock.now += TOOL_LIST_TTL_SECONDS - 1
    assert await tools.list_tools("org", "crm", tool, {}) == first
    assert len(server.requests("tools/list")) == 1
    await tools.list_tools("org", "crm", mcp_tool(server.url, headers={"X-Customer": "{{id}}"}), {"id": 1})
    assert len(server.requests("tools/list")) == 2
    clock.now += 2
    await tools.list_tools("org", "crm", tool, {})
    assert len(server.requests("tools/list")) == 3
    await guard.close()


async def test_a_server_that_fails_loses_only_its_own_tools(
    server: McpService, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    guard = EgressGuard(LOOPBACK)
    tools = McpTools(guard=guard, credentials=Credentials({}, {}), clock=clock)
    down = mcp_tool(f"http://127.0.0.1:{free_port()}/mcp")
    assert await tools.list_tools("org", "down", down, {}) == ()
    assert "down" in caplog.text

    tool = mcp_tool(server.url)
    seen: tuple[OfferedTool, ...] = await tools.list_tools("org", "crm", tool, {})
    server.faults["tools/list"] = [500]
    clock.now += TOOL_LIST_TTL_SECONDS
    assert await tools.list_tools("org", "crm", tool, {}) == seen
    clock.now += FAILED_TOOL_LIST_TTL_SECONDS
    assert await tools.list_tools("org", "crm", tool, {}) == seen
    assert len(server.requests("tools/list")) == 3
    await guard.close()


async def test_server_whose_credential_is_not_set_offers_nothing(
    server: McpService, dispatcher: ToolDispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    assert await names(dispatcher, mcp_tool(server.url, secrets=["UNSET"])) == []
    assert "UNSET" in caplog.text
    assert not server.journal


async def test_each_organization_lists_tools_with_its_own_credentials(server: McpService) -> None:
    own = {"org_a": {"TOKEN": "token-of-a"}, "org_b": {"TOKEN": "token-of-b"}}
    dispatcher = ToolDispatcher(credentials={}, organization_credentials=own, allowlist=LOOPBACK)
    tool = mcp_tool(server.url, secrets=["TOKEN"], headers={"Authorization": "{{secrets.TOKEN}}"})
    for organization in ("org_a", "org_b", "org_c"):
        await dispatcher.list_tools(organization, {"crm": tool}, ["crm"], {})
    assert [request.headers["authorization"] for request in server.requests("tools/list")] == [
        "token-of-a",
        "token-of-b",
    ]
    await dispatcher.close()


# --- calls --------------------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
async def test_tool_is_called_with_arguments_and_key(
    server: McpService, dispatcher: ToolDispatcher, legacy: bool
) -> None:
    server.legacy = legacy
    result = await dispatcher.run(call_of(mcp_tool(server.url), {"name": "Ann"}, called="crm__find"))
    assert (result.content, result.error) == ("Ann is customer 7.", None)
    (request,) = server.requests("tools/call")
    assert CallToolRequest.model_validate(request.message).params.arguments == {"name": "Ann"}
    assert request.message["params"]["_meta"]["idempotency-key"] == KEY
    assert request.headers["idempotency-key"] == KEY
    assert bool(server.requests("initialize")) == legacy


@pytest.mark.parametrize(
    ("called", "content"),
    [
        ("crm__tools_rich_v1", "Two \ufffd parts.\n[an answer of the type image, which is not shown]"),
        ("crm__structured", '{\n  "customers": 7\n}'),
    ],
)
async def test_an_answer_is_returned_as_text(
    server: McpService, dispatcher: ToolDispatcher, called: str, content: str
) -> None:
    result = await dispatcher.run(call_of(mcp_tool(server.url), called=called))
    assert result.content == content


async def test_long_answer_is_cut_with_a_note(server: McpService, dispatcher: ToolDispatcher) -> None:
    result = await dispatcher.run(call_of(mcp_tool(server.url), called="crm__long"))
    assert result.content.endswith("[The answer goes on; 4,000 more characters are left out here.]")


async def test_answer_that_is_too_large_is_not_read(server: McpService, dispatcher: ToolDispatcher) -> None:
    failure = await failure_of(dispatcher, call_of(mcp_tool(server.url), called="crm__large"))
    assert (failure.code, failure.retryable) == ("too_large", False)


async def test_credentials_and_variables_reach_the_server_and_no_log(
    server: McpService, dispatcher: ToolDispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    tool = mcp_tool(
        f"{server.url}?key={{{{secrets.TOKEN}}}}",
        headers={"Authorization": "Bearer {{secrets.TOKEN}}", "X-Customer": "{{customer.id}}"},
        secrets=["TOKEN"],
    )
    with caplog.at_level(logging.DEBUG):
        call = call_of(tool, {"name": "Ann"}, called="crm__find", context={"customer": {"id": 7}})
        await dispatcher.run(call)
        server.faults["tools/call"] = [401]
        failure = await failure_of(dispatcher, call)
    assert all(request.query == "key=t0p-s3cret%2F%2B%20token" for request in server.journal)
    assert all(request.headers["authorization"] == f"Bearer {TOKEN}" for request in server.journal)
    assert all(request.headers["x-customer"] == "7" for request in server.journal)
    assert all(request.headers["accept-encoding"] == "identity" for request in server.journal)
    # The server is part of this process, and its log lines quote the requests.
    logged = [f"{each.getMessage()} {each.exc_info}" for each in caplog.records if each.name != "uvicorn.access"]
    assert any("Sending client message" in line for line in logged)
    written = "\n".join([*logged, str(failure), repr(call)])
    assert "t0p-s3cret" not in written


# --- errors -------------------------------------------------------------------------------------


async def test_a_failed_tool_is_reported_to_the_model(server: McpService, dispatcher: ToolDispatcher) -> None:
    failure = await failure_of(dispatcher, call_of(mcp_tool(server.url), called="crm__broken"))
    assert (failure.code, failure.retryable) == ("tool_error", False)
    assert "the customer is locked" in str(failure)


async def test_arguments_that_the_server_rejects_are_reported_to_the_model(
    server: McpService, dispatcher: ToolDispatcher
) -> None:
    failure = await failure_of(dispatcher, call_of(mcp_tool(server.url), {"nome": "Ann"}, called="crm__find"))
    assert (failure.code, failure.retryable) == ("tool_error", False)
    assert "name" in str(failure)


@pytest.mark.parametrize(
    ("called", "status", "retryable"),
    [
        ("crm__find", 401, False),
        ("crm__find", 404, False),
        ("crm__find", 429, True),
        ("crm__find", 503, True),
        ("crm__find", 500, False),
        ("crm__patient", 500, True),
        ("crm__patient", 501, False),
    ],
)
async def test_an_error_status_is_retried_only_where_a_repeat_is_safe(
    server: McpService, dispatcher: ToolDispatcher, called: str, status: int, retryable: bool
) -> None:
    server.faults["tools/call"] = [status]
    server.headers = {"Retry-After": "3"}
    failure = await failure_of(dispatcher, call_of(mcp_tool(server.url), {"name": "Ann"}, called=called))
    assert (failure.code, failure.status, failure.retryable) == ("http_error", status, retryable)
    assert failure.retry_after == 3.0
    assert len(server.requests("tools/call")) == 1


async def test_a_call_that_was_not_made_is_retried(server: McpService, dispatcher: ToolDispatcher) -> None:
    server.faults["tools/list"] = [500]
    failure = await failure_of(dispatcher, call_of(mcp_tool(server.url), {"name": "Ann"}, called="crm__find"))
    assert (failure.code, failure.retryable) == ("http_error", True)
    tool = mcp_tool(f"http://127.0.0.1:{free_port()}/mcp")
    failure = await failure_of(dispatcher, call_of(tool, called="crm__find"))
    assert (failure.code, failure.retryable) == ("connection_failed", True)


@pytest.mark.parametrize(("called", "retryable"), [("crm__slow", False), ("crm__patient", True)])
async def test_a_slow_server_is_a_timeout(
    server: McpService, dispatcher: ToolDispatcher, called: str, retryable: bool
) -> None:
    tool = mcp_tool(server.url, timeout_seconds=2.0)
    failure = await failure_of(dispatcher, call_of(tool, {"name": "Ann"}, called=called))
    assert (failure.code, failure.retryable) == ("timeout", retryable)


async def test_server_at_a_refused_address_is_not_reached(server: McpService) -> None:
    dispatcher = ToolDispatcher(credentials={})
    tool = mcp_tool(server.url)
    failure = await failure_of(dispatcher, call_of(tool, {"name": "Ann"}, called="crm__find"))
    assert (failure.code, failure.retryable) == ("refused_address", False)
    assert await names(dispatcher, tool) == []
    assert not server.journal


async def test_redirect_is_not_followed(server: McpService, dispatcher: ToolDispatcher) -> None:
    for method in ("server/discover", "initialize"):
        server.faults[method] = [307]
    server.headers = {"Location": "/mcp"}
    failure = await failure_of(dispatcher, call_of(mcp_tool(server.url), {"name": "Ann"}, called="crm__find"))
    assert (failure.code, failure.status) == ("http_error", 307)
    assert not server.requests("tools/call")
