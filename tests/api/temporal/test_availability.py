"""Outages of the store or Temporal: commands are rejected at once, and the API recovers by itself."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext

import pytest
from sqlalchemy import Connection, event
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from playhead.services.worker import build_worker
from playhead.temporal.client import PlayheadPlugin
from store.api_keys import KeyStore
from store.database.connection import Database
from store.migrate import upgrade
from tests.api.conftest import quick_settings
from tests.support.api_agents import library
from tests.support.postgres import running_postgres
from tests.support.proxy import proxy_to
from tests.support.running_api import Caller, RunningApi, done, problem, serving, texts
from tests.support.waiting import eventually


async def ready(running_api: RunningApi, status: int) -> None:
    """Wait until /readyz returns this status."""
    async with running_api.stranger() as watcher:

        async def says_so() -> bool:
            return (await watcher.get("/readyz")).status_code == status

        await eventually(says_so)


async def test_temporal_goes_down_during_a_session(
    running_api: RunningApi, caller: Caller, temporal_server: WorkflowEnvironment
) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    path = f"/v1/sessions/{session_id}"
    async with proxy_to(temporal_server) as proxy:
        remote = await Client.connect(proxy.address, plugins=[PlayheadPlugin()])
        async with (
            serving(running_api.settings, remote, running_api.database) as distant,
            distant.caller(caller.organization) as visitor,
        ):
            await visitor.say(session_id, "One")
            await proxy.cut()
            await ready(distant, 503)
            for response in (
                await visitor.post(f"{path}/messages", {"text": "Two"}),
                await visitor.post("/v1/sessions", {"agent": "library"}),
                await visitor.post(f"{path}/rewind", {"turn_id": None}),
                await visitor.post(f"{path}/end"),
                await visitor.get("/readyz"),
            ):
                assert problem(response, 503, "unavailable")["service"] == "temporal"
                assert response.headers["retry-after"] == "1"
            assert (await visitor.session(session_id))["id"] == session_id
            await proxy.restore()
            await ready(distant, 200)
            session = await visitor.say(session_id, "Two")
    assert [said for said, _ in texts(session)] == [None, "One", "Two"]
    assert len(await caller.recorded(session_id, turns=3)) == 3


async def test_temporal_is_down_before_the_api_notices(
    running_api: RunningApi, caller: Caller, temporal_server: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message meets a dead connection; a repeat with its id delivers it once, whatever became of the first try."""
    monkeypatch.setattr("api.temporal.availability.CHECK_EVERY_SECONDS", 3600.0)
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    async with proxy_to(temporal_server) as proxy:
        remote = await Client.connect(proxy.address, plugins=[PlayheadPlugin()])
        short_timeout = running_api.settings.model_copy(update={"request_timeout_seconds": 3.0})
        async with (
            serving(short_timeout, remote, running_api.database) as distant,
            distant.caller(caller.organization) as visitor,
        ):
            await visitor.session(session_id)
            await proxy.cut()
            body = {"text": "Hello", "message_id": "m-1"}
            response = await visitor.post(f"/v1/sessions/{session_id}/messages", body)
            assert response.status_code in (503, 504)
            assert problem(response, response.status_code, response.json()["code"])["message_id"] == "m-1"
            await proxy.restore()
    assert [said for said, _ in texts(await caller.say(session_id, "Hello", message_id="m-1"))] == [None, "Hello"]


async def test_the_store_goes_down_during_a_session(
    client: Client, provider: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A running session is read without the store, also when key and session are no longer fresh in the caches."""
    monkeypatch.setattr("api.http.auth.KEY_CACHE_SECONDS", 0.0)
    monkeypatch.setattr("api.sessions.reader.CACHED_SECONDS", 0.0)
    with running_postgres() as server:
        url = server.new_database()
        database = Database.open(url)
        await upgrade(database)
        settings = quick_settings(url, "store-down")
        async with (
            build_worker(settings, client, database),
            serving(settings, client, database) as running_api,
            running_api.caller() as caller,
        ):
            await caller.push(library())
            session_id = (await caller.open("library"))["id"]
            await asyncio.to_thread(server.stop)
            await ready(running_api, 503)
            path = f"/v1/sessions/{session_id}"
            for command, body in (("messages", {"text": "Hi"}), ("rewind", {"turn_id": None}), ("end", None)):
                response = await caller.post(f"{path}/{command}", body)
                assert problem(response, 503, "unavailable")["service"] == "store"
            for address in ("/v1/sessions", "/v1/usage", "/v1/usage/ledger", "/v1/agents"):
                problem(await caller.get(address), 503, "unavailable")
            assert texts(await caller.session(session_id))[0][1] is not None
            await asyncio.to_thread(server.start)
            await ready(running_api, 200)
            session = await caller.say(session_id, "Hello again")
            assert [said for said, _ in texts(session)] == [None, "Hello again"]
            assert len(await caller.recorded(session_id, turns=2)) == 2
        await database.aclose()


async def test_the_api_starts_while_both_are_down_and_recovers(
    temporal_server: WorkflowEnvironment, provider: object
) -> None:
    with running_postgres() as server:
        url = server.new_database()
        database = Database.open(url)
        await upgrade(database)
        _, secret = await KeyStore(database).create("org_early", "tests")
        await database.aclose()
        await asyncio.to_thread(server.stop)
        async with proxy_to(temporal_server) as proxy:
            await proxy.cut()
            database = Database.open(url)
            lazy = await Client.connect(proxy.address, lazy=True, plugins=[PlayheadPlugin()])
            settings = quick_settings(url, "early")
            async with (
                serving(settings, lazy, database) as running_api,
                running_api.stranger(Authorization=f"Bearer {secret}") as caller,
            ):
                done(await caller.get("/healthz"), 200)
                problem(await caller.get("/readyz"), 503, "unavailable")
                problem(await caller.post("/v1/agents", library()), 503, "unavailable")
                await asyncio.to_thread(server.start)
                await proxy.restore()
                await ready(running_api, 200)
                async with build_worker(settings, temporal_server.client, database):
                    await caller.push(library())
                    await caller.open("library")
            await database.aclose()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_an_unmigrated_store_is_not_ready(new_database: Callable[[str], str], client: Client, kind: str) -> None:
    url = new_database(kind)
    database = Database.open(url)
    async with (
        serving(quick_settings(url, "unmigrated"), client, database) as running_api,
        running_api.stranger() as watcher,
    ):
        refused = problem(await watcher.get("/readyz"), 503, "unavailable")
        assert "playhead db upgrade" in refused["detail"]
        await upgrade(database)
        await ready(running_api, 200)
    await database.aclose()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_store_that_can_only_be_read_is_not_ready(
    new_database: Callable[[str], str], client: Client, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.temporal.availability.PROBE_EVERY_SECONDS", 0.1)
    with running_postgres() if kind == "postgresql" else nullcontext() as server:
        url = server.new_database() if server else new_database(kind)
        database = Database.open(url)
        await upgrade(database)
        is_read_only = False

        def limit(connection: Connection) -> None:
            if not server:
                connection.exec_driver_sql(f"PRAGMA query_only = {int(is_read_only)}")

        event.listen(database.engine, "begin", limit)
        async with (
            serving(quick_settings(url, "read-only"), client, database) as running_api,
            running_api.caller() as caller,
        ):
            done(await caller.get("/readyz"), 200)
            if server:
                await asyncio.to_thread(server.make_read_only, url)
            is_read_only = True
            await ready(running_api, 503)
            refused = problem(await caller.get("/readyz"), 503, "unavailable")
            assert refused["service"] == "store"
            assert "cannot be written" in refused["detail"]
            assert problem(await caller.post("/v1/agents", library()), 503, "unavailable")["service"] == "store"
            assert done(await caller.get("/v1/agents"), 200)["items"] == []
            is_read_only = False
            if server:
                await asyncio.to_thread(server.make_writable, url)
            await ready(running_api, 200)
            await caller.push(library())
        await database.aclose()
