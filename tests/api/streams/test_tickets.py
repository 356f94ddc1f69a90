"""Tickets for event streams: one session, a minute, at every API process, and no longer than their key."""

import json
from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from api.http import tickets
from store.api_keys import KeyStore
from tests.support.api_agents import library
from tests.support.event_stream import watching
from tests.support.running_api import Caller, RunningApi, done, problem, serving


async def opened(caller: Caller) -> str:
    await caller.push(library())
    return str((await caller.open("library"))["id"])


async def ticket_for(caller: Caller, session_id: str) -> str:
    answer = done(await caller.post(f"/v1/sessions/{session_id}/events/ticket"), 201)
    expires = datetime.fromisoformat(answer["expires_at"])
    assert timedelta(seconds=50) < expires - datetime.now(expires.tzinfo) <= timedelta(seconds=60)
    return str(answer["ticket"])


async def test_ticket_opens_the_stream_at_any_api_without_a_key(
    running_api: RunningApi, other_api: RunningApi, caller: Caller
) -> None:
    session_id = await opened(caller)
    ticket = await ticket_for(caller, session_id)
    assert caller.http.headers["authorization"].split()[-1] not in ticket
    path = f"/v1/sessions/{session_id}/events"
    with capture_logs() as lines:
        for api in (running_api, other_api):
            async with api.stranger() as browser, browser.http.stream("GET", path, params={"ticket": ticket}) as stream:
                assert stream.status_code == 200
                assert await anext(stream.aiter_lines()) == "event: snapshot"
    assert not [line for line in lines if ticket in str(line)]
    assert ticket.rpartition(".")[2] not in json.dumps([str(line) for line in lines])


async def test_ticket_is_for_one_session_and_for_its_stream_only(running_api: RunningApi, caller: Caller) -> None:
    session_id = await opened(caller)
    other_id = (await caller.open("library"))["id"]
    ticket = await ticket_for(caller, session_id)
    async with running_api.stranger() as browser:
        problem(await browser.get(f"/v1/sessions/{other_id}/events", ticket=ticket), 401, "unauthenticated")
        for path in ("", "/turns", "/transcript"):
            answer = await browser.get(f"/v1/sessions/{session_id}{path}", ticket=ticket)
            problem(answer, 401, "unauthenticated")
        problem(await browser.http.post(f"/v1/sessions/{session_id}/end?ticket={ticket}"), 401, "unauthenticated")


async def test_ticket_that_is_changed_or_expired_is_refused(
    running_api: RunningApi, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = await opened(caller)
    ticket = await ticket_for(caller, session_id)
    key, expires, signature = ticket.split(".")
    forged = (
        *(f"{key}.{int(expires) + 60}.{signature}", f"{key}.{expires}.{signature[:-1]}", f"{key}.{expires}."),
        *(
            f"key_x.{expires}.{signature}",
            f"dev.{expires}.{signature}",
            "",
            "x",
            "..",
            f"{key}.9e9.{signature}",
            "é.1.é",
        ),
    )
    path = f"/v1/sessions/{session_id}/events"
    async with running_api.stranger() as browser:
        for each in forged:
            problem(await browser.get(path, ticket=each), 401, "unauthenticated")
    monkeypatch.setattr(tickets, "TICKET_SECONDS", -1)
    expired = done(await caller.post(f"{path}/ticket"), 201)["ticket"]
    async with running_api.stranger() as browser:
        problem(await browser.get(path, ticket=expired), 401, "unauthenticated")


async def test_ticket_dies_with_its_key(running_api: RunningApi, caller: Caller) -> None:
    session_id = await opened(caller)
    keys = KeyStore(running_api.database)
    key, secret = await keys.create(caller.organization, "to be revoked")
    async with running_api.stranger(Authorization=f"Bearer {secret}") as holder:
        ticket = await ticket_for(holder, session_id)
    await keys.revoke(key.id)
    async with running_api.stranger() as browser:
        problem(await browser.get(f"/v1/sessions/{session_id}/events", ticket=ticket), 401, "unauthenticated")


async def test_a_session_of_another_organization_gets_no_ticket(running_api: RunningApi, caller: Caller) -> None:
    session_id = await opened(caller)
    async with running_api.caller() as other:
        problem(await other.post(f"/v1/sessions/{session_id}/events/ticket"), 404, "not_found")
    async with running_api.stranger() as stranger:
        problem(await stranger.post(f"/v1/sessions/{session_id}/events/ticket"), 401, "unauthenticated")


@pytest.mark.parametrize("running_api", ["sqlite"], indirect=True, scope="session")
async def test_calls_without_a_key_get_tickets_too(running_api: RunningApi) -> None:
    await KeyStore(running_api.database).ensure_organization("dev", "dev")
    settings = running_api.settings.model_copy(update={"keyless": True})
    async with (
        serving(settings, running_api.client, running_api.database) as api,
        api.stranger() as local,
    ):
        session_id = await opened(local)
        ticket = await ticket_for(local, session_id)
        path = f"/v1/sessions/{session_id}/events"
        async with local.http.stream("GET", path, params={"ticket": ticket}) as stream:
            assert stream.status_code == 200


async def test_client_with_all_events_of_an_ended_session_gets_no_content(caller: Caller) -> None:
    session_id = await opened(caller)
    await caller.end(session_id)
    async with watching(caller, session_id, after=0) as stream:
        *_, last = await stream.rest()
    assert last.type == "session_completed"
    assert last.id is not None
    path = f"/v1/sessions/{session_id}/events"
    stopped = await caller.http.get(path, headers={"Last-Event-ID": str(last.id)})
    assert (stopped.status_code, stopped.content) == (204, b"")
    async with watching(caller, session_id, after=last.id - 1) as stream:
        assert [event.type for event in await stream.rest()] == ["session_completed"]
