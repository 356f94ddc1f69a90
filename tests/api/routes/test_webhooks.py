"""The webhook that receives a session's report: the agent's, else the installation's, else none."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator

import pytest
from pytest_httpserver import HTTPServer
from temporalio.client import Client

from contracts.webhooks import webhook_workflow_id
from playhead.services.worker import build_worker
from tests.api.conftest import quick_settings
from tests.support.api_agents import library
from tests.support.closed_sessions import closed, is_known
from tests.support.running_api import Caller, Json, RunningApi, serving
from tests.support.waiting import eventually

SECRET = "whsec_" + b64encode(b"some key of a test's webhook").decode()


@pytest.fixture
async def visitor(running_api: RunningApi, client: Client, httpserver: HTTPServer) -> AsyncIterator[Caller]:
    """A caller of an installation that has a webhook of its own."""
    settings = quick_settings(
        running_api.settings.database_url,
        f"{running_api.settings.task_queue}-webhooks",
        credentials={"HOOK_KEY": SECRET},
        webhook_url=httpserver.url_for("/installation"),
        webhook_secret=SECRET,
        egress_allowlist=("127.0.0.1", "localhost"),
    )
    httpserver.expect_request("/installation").respond_with_data(status=204)
    httpserver.expect_request("/agent").respond_with_data(status=204)
    async with (
        build_worker(settings, client, running_api.database),
        serving(settings, client, running_api.database) as running,
        running.caller() as new_caller,
    ):
        yield new_caller


async def reported(httpserver: HTTPServer) -> list[tuple[str, Json]]:
    """The reports that came in, at least one: where, and what they say of the session."""

    async def received() -> list[tuple[str, Json]]:
        return [(request.path, json.loads(request.data)["data"]) for request, _ in httpserver.log]

    return await eventually(received)


async def test_an_agents_own_webhook_goes_before_that_of_the_installation(
    visitor: Caller, httpserver: HTTPServer
) -> None:
    webhook = {"url": httpserver.url_for("/agent"), "secret": "HOOK_KEY"}
    await visitor.push(library(webhook=webhook))
    opened = await visitor.open("library", annotations={"ticket": 7})
    ended = await visitor.end(opened["id"])
    [(path, data)] = await reported(httpserver)
    assert path == "/agent"
    shown = ("id", "workflow_run_id", "completion_reason", "disposition", "tags", "annotations", "usage", "revision")
    assert {name: data[name] for name in shown} == {name: ended[name] for name in shown}
    assert data["cost"] == {name: ended["cost"][name] for name in data["cost"]}


async def test_an_agent_without_a_webhook_is_reported_to_the_installation(
    visitor: Caller, httpserver: HTTPServer
) -> None:
    await visitor.push(library())
    session_id = (await visitor.open("library"))["id"]
    await visitor.end(session_id)
    [(path, data)] = await reported(httpserver)
    assert (path, data["id"]) == ("/installation", session_id)


async def test_a_session_keeps_the_webhook_it_was_opened_with(visitor: Caller, httpserver: HTTPServer) -> None:
    await visitor.push(library(webhook={"url": httpserver.url_for("/agent"), "secret": "HOOK_KEY"}))
    session_id = (await visitor.open("library"))["id"]
    await visitor.push(library())
    await visitor.end(session_id)
    [(path, _)] = await reported(httpserver)
    assert path == "/agent"


async def test_without_any_webhook_nothing_is_reported(running_api: RunningApi, caller: Caller) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    await caller.end(session_id)
    await closed(running_api.client, f"session-{session_id}")
    assert not await is_known(running_api.client, webhook_workflow_id(session_id))


async def test_an_erased_session_leaves_no_delivery_behind(
    running_api: RunningApi, visitor: Caller, httpserver: HTTPServer
) -> None:
    await visitor.push(library(webhook={"url": httpserver.url_for("/away"), "secret": "HOOK_KEY"}))
    session_id = (await visitor.open("library"))["id"]
    await visitor.end(session_id)
    assert (await reported(httpserver))[0][0] == "/away"
    await visitor.http.delete(f"/v1/sessions/{session_id}")

    async def is_gone() -> bool:
        return not await is_known(running_api.client, webhook_workflow_id(session_id))

    await eventually(is_gone)
