"""Erasure over HTTP: the session is gone from Temporal, the store and every response; its bill stays."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, select
from temporalio.client import Client

from api.temporal.session_client import SessionClient
from contracts.sessions import StartSession
from domain.sessions.views import SessionHead
from playhead.temporal.client import PlayheadPlugin
from store.database.connection import Database
from store.database.errors import StoreUnavailable
from store.database.tables import metadata
from store.sessions.erasure import ErasureStore
from tests.api.conftest import PRICED, quick_settings
from tests.support.api_agents import library
from tests.support.closed_sessions import is_known
from tests.support.event_stream import watching
from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.running_api import Caller, Json, RunningApi, done, problem, serving
from tests.support.waiting import eventually

WORDS = "a word that nobody may find again"


async def erase(caller: Caller, session_id: str) -> None:
    answer = await caller.http.delete(f"/v1/sessions/{session_id}")
    assert (answer.status_code, answer.content) == (204, b""), answer.text


async def total_usage(caller: Caller) -> tuple[int, Json, str]:
    """Usage and cost of the organization so far."""
    usage = done(await caller.get("/v1/usage"), 200)
    return usage["turns"], usage["usage"], usage["cost"]["total"]


def erased_during_creation(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Erase every session at the last moment of its creation; returns the ids as they come.

    The store has the session then, Temporal does not have it yet.
    """
    begin = SessionClient.open
    begun: list[str] = []

    async def erase_and_begin(self: SessionClient, start: StartSession) -> SessionHead:
        begun.append(start.session_id)
        await erase(caller, start.session_id)
        return await begin(self, start)

    monkeypatch.setattr(SessionClient, "open", erase_and_begin)
    return begun


async def gone_from_temporal(client: Client, session_id: str) -> None:
    async def is_gone() -> bool:
        return not await is_known(client, f"session-{session_id}")

    await eventually(is_gone)


async def tables_with(database: Database, text: str) -> set[str]:
    """The tables that contain a text anywhere."""

    def work(connection: Connection) -> set[str]:
        return {
            name
            for name, table in metadata.tables.items()
            for row in connection.execute(select(table))
            if any(
                text in (value.decode(errors="replace") if isinstance(value, bytes) else str(value)) for value in row
            )
        }

    return await database.read(work)


@pytest.mark.parametrize("ended", [False, True])
async def test_an_erased_session_is_found_nowhere_and_its_bill_stays(
    running_api: RunningApi, caller: Caller, ended: bool
) -> None:
    await caller.push(library())
    opened = await caller.open("library", initial_context={"time_of_day": WORDS})
    session_id = opened["id"]
    await caller.say(session_id, WORDS)
    await caller.rewind(session_id, opened["turns"][0]["id"])
    await caller.say(session_id, WORDS)
    if ended:
        await caller.end(session_id)
    rows = await caller.recorded(session_id, turns=3)
    total = await total_usage(caller)
    assert await tables_with(running_api.database, WORDS)

    await erase(caller, session_id)

    path = f"/v1/sessions/{session_id}"
    for route in ("", "/turns", "/branches", "/transcript", "/branches/compare?a=active"):
        problem(await caller.http.get(path + route), 404, "not_found")
    for route, body in (("/messages", {"text": "Hello"}), ("/rewind", {"turn_id": None}), ("/end", {})):
        problem(await caller.post(path + route, body), 404, "not_found")
    assert await caller.items("/v1/sessions") == []
    await gone_from_temporal(running_api.client, session_id)
    assert await tables_with(running_api.database, WORDS) == set()
    assert await caller.items("/v1/usage/ledger", session=session_id) == rows
    assert await total_usage(caller) == total


async def test_erasing_again_changes_nothing(caller: Caller) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    for _ in range(2):
        await erase(caller, session_id)


async def test_a_session_of_somebody_else_is_not_found_and_goes_on(running_api: RunningApi, caller: Caller) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    async with running_api.caller() as another:
        problem(await another.http.delete(f"/v1/sessions/{session_id}"), 404, "not_found")
        problem(await another.http.delete("/v1/sessions/ses_unknown"), 404, "not_found")
    assert (await caller.say(session_id, "Hello"))["status"] == "idle"


async def test_a_reply_pending_at_the_erasure_is_billed_and_not_kept(
    running_api: RunningApi, caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    gate = Gate()
    model = scripted(TextReply(WORDS, gate=gate), name=PRICED)
    await caller.push(library(model.string))
    session_id = (await caller.open("library"))["id"]
    await caller.recorded(session_id, turns=1)
    await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "Hello"}, wait=False)
    await gate.reached()
    await erase(caller, session_id)
    assert len(await caller.items("/v1/usage/ledger", session=session_id)) == 1
    gate.open()
    late = (await caller.recorded(session_id, turns=2))[0]
    assert float(late["cost"]["total"]) > 0
    assert late["turn_id"].endswith("/0")
    assert (await total_usage(caller))[-1] == late["cost"]["total"]
    assert await tables_with(running_api.database, WORDS) == set()
    problem(await caller.get(f"/v1/sessions/{session_id}"), 404, "not_found")


async def test_a_watcher_of_an_erased_session_receives_no_more_events(running_api: RunningApi, caller: Caller) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    await caller.recorded(session_id, turns=1)
    quickly = quick_settings(running_api.database.address, running_api.settings.task_queue, sse_keepalive_seconds=0.05)
    async with (
        serving(quickly, running_api.client, running_api.database) as elsewhere,
        elsewhere.caller(caller.organization) as watcher,
        watching(watcher, session_id) as stream,
    ):
        await stream.until("snapshot")
        await erase(caller, session_id)
        assert await stream.rest() == []


async def test_no_route_of_another_api_remembers_an_erased_session(running_api: RunningApi, caller: Caller) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    async with (
        serving(running_api.settings, running_api.client, running_api.database) as second,
        second.caller(caller.organization) as elsewhere,
    ):
        await elsewhere.session(session_id)
        await erase(caller, session_id)
        for path in ("", "/turns", "/turns/x/steps", "/tree", "/branches", "/branches/compare?a=active", "/export"):
            problem(await elsewhere.http.get(f"/v1/sessions/{session_id}{path}"), 404, "not_found")


async def test_a_session_and_the_one_it_was_forked_from_are_erased_without_each_other(
    running_api: RunningApi, caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    model = scripted(TextReply(WORDS), TextReply("Still there."), TextReply("And here."))
    await caller.push(library(model.string))
    source = (await caller.open("library"))["id"]
    await caller.say(source, "Hello")
    forks = [done(await caller.post(f"/v1/sessions/{source}/fork"), 201)["id"] for _ in range(2)]
    paid = await caller.recorded(source, turns=2)

    await erase(caller, forks[0])
    assert await caller.items("/v1/usage/ledger", session=forks[0]) == [], "what it shared was paid for elsewhere"
    await erase(caller, source)
    assert await caller.items("/v1/usage/ledger", session=source) == paid

    going_on = await caller.say(forks[1], "Are you there?")
    assert [turn["assistant_message"]["text"] for turn in going_on["turns"][1:]] == [WORDS, "Still there."]
    assert ("assistant", WORDS) in model.journal[-1].conversation
    await caller.recorded(forks[1], turns=1)
    await erase(caller, forks[1])
    assert await tables_with(running_api.database, WORDS) == set()


async def test_an_erasure_that_was_broken_off_is_completed_by_the_next_one(
    running_api: RunningApi, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    erase_in_store = ErasureStore.erase

    async def unavailable(self: ErasureStore, organization_id: str, erased_id: str) -> bool:
        raise StoreUnavailable("the store", OSError())

    monkeypatch.setattr(ErasureStore, "erase", unavailable)
    problem(await caller.http.delete(f"/v1/sessions/{session_id}"), 503, "unavailable")
    await gone_from_temporal(running_api.client, session_id)
    monkeypatch.setattr(ErasureStore, "erase", erase_in_store)
    await erase(caller, session_id)
    problem(await caller.get(f"/v1/sessions/{session_id}"), 404, "not_found")


async def test_nothing_is_erased_while_temporal_cannot_be_reached(running_api: RunningApi, caller: Caller) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    await caller.recorded(session_id, turns=1)
    unreachable = await Client.connect("127.0.0.1:1", lazy=True, plugins=[PlayheadPlugin()])
    async with (
        serving(
            quick_settings(running_api.settings.database_url, "nowhere"), unreachable, running_api.database
        ) as cut_off,
        cut_off.caller(caller.organization) as stranded,
    ):
        problem(await stranded.http.delete(f"/v1/sessions/{session_id}"), 503, "unavailable")
    assert (await caller.say(session_id, "Hello"))["status"] == "idle"
