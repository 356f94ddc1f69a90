"""Replies that their client stops: a closed stream, a barge-in, and what the next message may carry of the reply."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx2
import pytest

from api.openai.conversations import Conversations, Place
from api.openai.stopping import ReplyStopper
from domain.sessions.commands import SendMessage
from store.database.connection import Database
from store.sessions.sessions import StoredSession
from tests.api.openai.talking import assistant, user
from tests.support.api_agents import library
from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.running_api import Caller, Json, RunningApi, done, serving, texts
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

REPLY = "We open at nine, and we close at six in the evening."
RECEIVED = REPLY[: len(REPLY) // 2]
"""The part of the reply that is streamed before the gate."""


def body(*messages: object, **fields: object) -> Json:
    return {"model": "library", "messages": messages, **fields}


async def ask(caller: Caller, *messages: object, **fields: object) -> Json:
    return done(await caller.http.post("/v1/chat/completions", json=body(*messages, **fields)), 200)


def said(completion: Json) -> str:
    return str(completion["choices"][0]["message"]["content"])


async def first_words(caller: Caller, *messages: object, key: str | None = None) -> tuple[str, str]:
    """Stream a reply and close the connection after its first words; returns these words and the session's id."""
    headers = {} if key is None else {"Idempotency-Key": key}
    request = body(*messages, stream=True)
    async with caller.http.stream("POST", "/v1/chat/completions", json=request, headers=headers) as response:
        text = ""
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                text += json.loads(line.removeprefix("data: "))["choices"][0]["delta"].get("content") or ""
            if text:
                break
        return text, response.headers["x-session-id"]


async def turns_of(caller: Caller, session_id: str) -> list[tuple[str | None, str]]:
    """The status of each turn with its message."""
    session = await caller.session(session_id)
    return [(turn["user_message"] and turn["user_message"]["text"], turn["status"]) for turn in session["turns"]]


async def is_stopped(caller: Caller, session_id: str) -> bool:
    return (await turns_of(caller, session_id))[-1][1] == "interrupted"


async def test_a_stopped_reply_is_cut_and_the_conversation_goes_on_with_any_part_of_it(
    caller: Caller, visitor: Caller, scripted: Scripted
) -> None:
    """The client keeps what it received, one character, a cut word, other white space, or nothing."""
    parts = (RECEIVED, REPLY[:1], REPLY[:9], "We  open at", None)
    model = scripted()
    await caller.push(library(model.string))
    history: list[object] = []
    exchanges: list[tuple[str, str]] = []
    session_id = ""
    for number, kept in enumerate(parts, start=1):
        model.script(TextReply(REPLY, gate=Gate()), TextReply(f"On day {number} at ten."))
        history.append(user(f"When? {number}"))
        received, stopped_in = await first_words(caller, *history)
        session_id = session_id or stopped_in
        assert stopped_in == session_id, kept
        assert REPLY.startswith(received)
        await eventually(partial(is_stopped, caller, session_id))
        await model.journal[-1].hung_up()
        cut = str(texts(await caller.session(session_id))[-1][1])
        assert REPLY.startswith(cut)
        assert len(cut) < len(REPLY)

        history += [*([] if kept is None else [assistant(kept)]), user(f"And on Sundays? {number}")]
        answer = await ask(visitor, *history)
        assert (answer["session_id"], said(answer)) == (session_id, f"On day {number} at ten."), kept
        history.append(assistant(said(answer)))
        exchanges += [(f"When? {number}", cut), (f"And on Sundays? {number}", said(answer))]
    last = await ask(caller, *history, user("Really?"))
    assert last["session_id"] == session_id
    assert texts(await caller.session(session_id))[1:] == [*exchanges, ("Really?", "You said: Really?")]
    rows = await caller.recorded(session_id, turns=2 * len(parts) + 2)
    assert len(rows) == 2 * len(parts) + 2
    turns = (await caller.session(session_id))["turns"]
    used = {row["turn_id"]: row["usage"]["llm"] for row in rows}
    assert all(used[turn["id"]] for turn in turns if turn["status"] == "interrupted"), "the ledger has the cut replies"


async def test_a_barge_in_does_not_wait_for_the_reply_to_stop(
    caller: Caller, visitor: Caller, scripted: Scripted
) -> None:
    """The client keeps what it received, or nothing."""
    model = scripted(TextReply("Hello."))
    await caller.push(library(model.string))
    history: list[object] = [user("Hi"), assistant("Hello.")]
    first = await ask(caller, user("Hi"))
    statuses: list[tuple[str | None, str]] = [(None, "completed"), ("Hi", "completed")]
    for kept in (RECEIVED, None):
        model.script(TextReply(REPLY, gate=(gate := Gate())), TextReply("On Sundays at ten."))
        history.append(user("When?"))
        request = body(*history, stream=True)
        streaming = asyncio.create_task(caller.http.post("/v1/chat/completions", json=request))
        await gate.reached()
        history += [*([] if kept is None else [assistant(kept)]), user("And on Sundays?")]
        answer = await ask(visitor, *history)
        assert (answer["session_id"], said(answer)) == (first["session_id"], "On Sundays at ten."), kept
        assert '"finish_reason":"length"' in (await streaming).text
        history.append(assistant("On Sundays at ten."))
        statuses += [("When?", "interrupted"), ("And on Sundays?", "completed")]
        assert await turns_of(caller, answer["session_id"]) == statuses


async def test_a_barge_in_is_not_taken_for_one_in_an_ended_session_with_the_same_messages(
    caller: Caller, scripted: Scripted
) -> None:
    """A test that is run again says what it said before."""
    model = scripted(TextReply("Hello."), TextReply(REPLY))
    await caller.push(library(model.string))
    history: list[object] = [user("Hi"), assistant("Hello."), user("When?")]
    await ask(caller, user("Hi"))
    before = await ask(caller, *history)
    await caller.end(before["session_id"])
    model.script(TextReply("Hello."), TextReply(REPLY, gate=(gate := Gate())), TextReply("On Sundays at ten."))
    now = await ask(caller, user("Hi"))
    streaming = asyncio.create_task(caller.http.post("/v1/chat/completions", json=body(*history, stream=True)))
    await gate.reached()
    answer = await ask(caller, *history, assistant(RECEIVED), user("And on Sundays?"))
    assert (answer["session_id"], said(answer)) == (now["session_id"], "On Sundays at ten.")
    assert now["session_id"] != before["session_id"]
    assert '"finish_reason":"length"' in (await streaming).text


async def test_a_reply_that_only_the_client_cut_can_be_continued(caller: Caller, scripted: Scripted) -> None:
    """A voice platform stops speaking long after the model has finished."""
    await caller.push(library(scripted(TextReply(REPLY), TextReply("On Sundays at ten.")).string))
    first = await ask(caller, user("When?"))
    answer = await ask(caller, user("When?"), assistant("We open at ni"), user("And on Sundays?"))
    assert answer["session_id"] == first["session_id"]
    assert (await caller.session(first["session_id"]))["discarded_branches"] == []


async def test_a_stopped_reply_is_regenerated(caller: Caller, visitor: Caller, scripted: Scripted) -> None:
    model = scripted(TextReply("Hello."), TextReply(REPLY, gate=Gate()), TextReply("At nine."))
    await caller.push(library(model.string))
    history = [user("Hi"), assistant("Hello."), user("When?")]
    await ask(caller, user("Hi"))
    _, session_id = await first_words(caller, *history)
    await eventually(lambda: is_stopped(caller, session_id))
    again = await ask(visitor, *history)
    assert (again["session_id"], said(again)) == (session_id, "At nine.")
    assert texts(await caller.session(session_id))[1:] == [("Hi", "Hello."), ("When?", "At nine.")]


async def test_the_stop_of_one_reply_leaves_the_next_alone(caller: Caller, scripted: Scripted) -> None:
    model = scripted(TextReply(REPLY, gate=Gate()), TextReply("On Sundays at ten.", gate=(gate := Gate())))
    await caller.push(library(model.string))
    _, session_id = await first_words(caller, user("When?"))
    await eventually(lambda: is_stopped(caller, session_id))
    asking = asyncio.create_task(ask(caller, user("When?"), user("And on Sundays?")))
    await gate.reached()
    await eventually(lambda: _is_second_pending(caller, session_id))
    gate.open()
    assert said(await asking) == "On Sundays at ten."


async def _is_second_pending(caller: Caller, session_id: str) -> bool:
    return [status for _, status in await turns_of(caller, session_id)][1:] == ["interrupted", "pending"]


async def test_a_reply_with_a_key_goes_on_and_waits_for_its_client(
    caller: Caller, visitor: Caller, scripted: Scripted
) -> None:
    model = scripted(TextReply(REPLY, gate=(gate := Gate())))
    await caller.push(library(model.string))
    _, session_id = await first_words(caller, user("When?"), key="k-1")
    gate.open()
    again = await visitor.http.post(
        "/v1/chat/completions", json=body(user("When?")), headers={"Idempotency-Key": "k-1"}
    )
    assert said(done(again, 200)) == REPLY
    assert len(model.journal) == 1
    assert again.headers["x-session-id"] == session_id


async def test_a_reply_with_a_key_goes_on_after_a_second_lookup_of_its_session(
    running_api: RunningApi, caller: Caller, visitor: Caller, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another request has changed the session between the look-up and the message."""
    model = scripted(TextReply("Hello."), TextReply(REPLY, gate=(gate := Gate())))
    await caller.push(library(model.string))
    await ask(caller, user("Hi"))
    command, lookups = Conversations.command, []

    async def outdated(self: Conversations, place: Place, message_id: str, **given: Any) -> SendMessage:
        found = await command(self, place, message_id, **given)
        lookups.append(found)
        return found.model_copy(update={"expected_revision": 0}) if len(lookups) == 1 else found

    stop, stops = ReplyStopper.stop, []

    def noted(self: ReplyStopper, session: StoredSession, message_id: str | None) -> None:
        stops.append(message_id)
        stop(self, session, message_id)

    async def has_left() -> bool:
        return not running_api.hub.is_watched(session_id)

    monkeypatch.setattr(Conversations, "command", outdated)
    monkeypatch.setattr(ReplyStopper, "stop", noted)
    history = [user("Hi"), assistant("Hello."), user("When?")]
    _, session_id = await first_words(caller, *history, key="k-1")
    await eventually(has_left)
    gate.open()
    again = await visitor.http.post("/v1/chat/completions", json=body(*history), headers={"Idempotency-Key": "k-1"})
    assert said(done(again, 200)) == REPLY
    assert (len(lookups) > 1, stops) == (True, [])
    assert [status for _, status in await turns_of(caller, session_id)] == ["completed"] * 3


async def test_a_reply_goes_on_without_its_client_if_so_configured(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(TextReply(REPLY, gate=(gate := Gate())))
    await caller.push(library(model.string))
    settings = running_api.settings.model_copy(update={"chat_stop_on_disconnect": False})
    database = Database.open(settings.database_url)
    async with (
        serving(settings, running_api.client, database, running_api.hub) as configured,
        configured.caller(caller.organization) as there,
    ):
        received, session_id = await first_words(there, user("When?"))
        assert received
        assert RECEIVED.startswith(received)
        gate.open()

        async def is_answered() -> bool:
            return (await turns_of(caller, session_id))[-1] == ("When?", "completed")

        await eventually(is_answered)
    await database.aclose()
    assert texts(await caller.session(session_id))[-1] == ("When?", REPLY)


async def test_on_busy_decides_over_a_pending_reply(caller: Caller, scripted: Scripted) -> None:
    model = scripted(TextReply(REPLY, gate=(gate := Gate())), TextReply("On Sundays at ten."))
    await caller.push(library(model.string))
    session = await caller.open("library")
    named = {"metadata": {"session_id": session["id"]}}
    asking = asyncio.create_task(ask(caller, user("When?"), **named))
    await gate.reached()
    rejected: httpx2.Response = await caller.http.post("/v1/chat/completions", json=body(user("Hello?"), **named))
    assert (rejected.status_code, rejected.json()["error"]["code"]) == (409, "turn_in_progress")
    answer = await ask(caller, user("And on Sundays?"), on_busy="interrupt", **named)
    assert said(answer) == "On Sundays at ten."
    assert (await asking)["choices"][0]["finish_reason"] == "length"


async def test_another_client_with_the_same_first_message_stops_no_reply(
    caller: Caller, visitor: Caller, scripted: Scripted
) -> None:
    model = scripted(TextReply(REPLY, gate=(gate := Gate())), TextReply("On Sundays at ten."))
    await caller.push(library(model.string))
    asking = asyncio.create_task(ask(caller, user("When?")))
    await gate.reached()
    stranger = await visitor.http.post("/v1/chat/completions", json=body(user("When?"), user("And on Sundays?")))
    assert (stranger.status_code, stranger.json()["error"]["code"]) == (409, "turn_in_progress")
    assert stranger.headers["x-should-retry"] == "true"
    gate.open()
    answer = await asking
    assert said(answer) == REPLY
    retried = await ask(visitor, user("When?"), user("And on Sundays?"))
    assert retried["session_id"] != answer["session_id"]
    assert texts(await caller.session(retried["session_id"]))[-1][0] == "When?\n\nAnd on Sundays?"
