"""Concurrent callers of one session through two APIs: every command is applied once or rejected with its reason."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest_asyncio

from tests.support.api_agents import library
from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.running_api import Caller, Json, RunningApi, done, problem, texts
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

MANY = 50
QUEUED = 20
"""The number of messages that may wait behind a reply."""


@pytest_asyncio.fixture
async def callers(other_api: RunningApi, caller: Caller) -> AsyncIterator[list[Caller]]:
    """Callers of one organization, alternately at two APIs."""
    async with other_api.caller(caller.organization) as visitor:
        yield [caller, visitor] * (MANY // 2)


def saying(
    callers: list[Caller], session_id: str, *, wait: bool = True, **fields: object
) -> list[asyncio.Task[httpx2.Response]]:
    """A message of every caller, all sent at the same moment."""
    path = f"/v1/sessions/{session_id}/messages"
    bodies = [{"text": f"I am {place}", "message_id": f"m-{place}", **fields} for place in range(len(callers))]
    return [asyncio.create_task(each.post(path, body, wait=wait)) for each, body in zip(callers, bodies, strict=True)]


async def all_say(
    callers: list[Caller], session_id: str, *, wait: bool = True, **fields: object
) -> list[httpx2.Response]:
    """The responses to messages that all callers send at the same moment."""
    return list(await asyncio.gather(*saying(callers, session_id, wait=wait, **fields)))


def statuses(responses: list[httpx2.Response]) -> Counter[int]:
    return Counter(response.status_code for response in responses)


def user_messages(session: Json) -> list[str]:
    """The users' messages, in order."""
    return [said for said, _ in texts(session) if said]


async def test_one_of_fifty_wins_each_revision_and_the_others_get_both_numbers(callers: list[Caller]) -> None:
    await callers[0].push(library())
    session = await callers[0].open("library")
    for turn in range(1, 6):
        revision = session["revision"]
        responses = await all_say(callers, session["id"], expected_revision=revision, message_id=None)
        assert statuses(responses) == {200: 1, 409: MANY - 1}
        for response in responses:
            if response.status_code == 409:
                refused = problem(response, 409, "revision_conflict")
                assert refused["expected_revision"] == revision
                assert refused["actual_revision"] in (revision + 1, revision + 2)
        session = await callers[0].session(session["id"])
        assert (session["revision"], len(session["turns"])) == (revision + 2, turn + 1)


async def test_fifty_messages_fill_the_queue_and_none_is_lost_or_sent_twice(
    callers: list[Caller], scripted: Scripted
) -> None:
    gate = Gate()
    model = scripted(TextReply("Wait.", gate=gate))
    await callers[0].push(library(model.string))
    session_id = (await callers[0].open("library"))["id"]
    sending = asyncio.create_task(all_say(callers, session_id, on_busy="enqueue"))
    await gate.reached()
    gate.open()
    responses = await sending
    refused = [response for response in responses if response.status_code != 200]
    for response in refused:
        assert problem(response, 429, "queue_full")["limit"] == QUEUED
        assert int(response.headers["retry-after"]) > 0
    accepted = [place for place, response in enumerate(responses) if response.status_code == 200]
    assert len(accepted) >= QUEUED + 1
    session = await callers[0].session(session_id)
    assert sorted(user_messages(session)) == sorted(f"I am {place}" for place in accepted)
    assert len(model.journal) == len(accepted)
    assert len(await callers[0].recorded(session_id, turns=len(accepted) + 1)) == len(accepted) + 1


async def test_messages_without_a_wait_each_get_a_place_in_the_queue(callers: list[Caller], scripted: Scripted) -> None:
    gate = Gate()
    await callers[0].push(library(scripted(TextReply("Wait.", gate=gate)).string))
    session_id = (await callers[0].open("library"))["id"]
    responses = await all_say(callers, session_id, wait=False, on_busy="enqueue")
    assert statuses(responses) == {202: QUEUED + 1, 429: MANY - QUEUED - 1}
    gate.open()

    async def all_are_answered() -> bool:
        session = await callers[0].session(session_id)
        return len(session["turns"]) == QUEUED + 2 and session["status"] == "idle"

    await eventually(all_are_answered)


async def test_a_session_is_rewound_while_fifty_messages_wait(callers: list[Caller], scripted: Scripted) -> None:
    gate = Gate()
    await callers[0].push(library(scripted(TextReply("Too late.", gate=gate)).string))
    opened = await callers[0].open("library")
    sending = saying(callers, opened["id"], on_busy="enqueue")
    await gate.reached()
    await queue_is_full(callers[0], opened, sending)
    async with asyncio.timeout(5):
        rewound = await callers[1].rewind(opened["id"], opened["turns"][0]["id"])
    assert user_messages(rewound) == []
    gate.open()
    answered = statuses(await asyncio.gather(*sending))
    assert answered == {200: 1, 409: QUEUED, 429: MANY - QUEUED - 1}, "one reply came late, the queue was superseded"


async def test_a_session_is_ended_while_fifty_messages_wait(callers: list[Caller], scripted: Scripted) -> None:
    gate = Gate()
    await callers[0].push(library(scripted(TextReply("Too late.", gate=gate)).string))
    opened = await callers[0].open("library")
    sending = saying(callers, opened["id"], on_busy="enqueue")
    await gate.reached()
    await queue_is_full(callers[0], opened, sending)
    async with asyncio.timeout(5):
        assert (await callers[1].end(opened["id"]))["is_completed"]
    gate.open()
    answered = statuses(await asyncio.gather(*sending))
    assert answered[429] == MANY - QUEUED - 1
    assert answered[410] >= QUEUED
    assert set(answered) <= {200, 410, 429}
    assert len(await callers[0].recorded(opened["id"], turns=2)) == 2


async def queue_is_full(caller: Caller, opened: Json, sending: list[asyncio.Task[httpx2.Response]]) -> None:
    """Wait until a session's queue is full, and all other messages are rejected."""

    async def is_full() -> bool:
        is_taken = (await caller.session(opened["id"]))["revision"] == opened["revision"] + QUEUED + 1
        return is_taken and sum(each.done() for each in sending) == MANY - QUEUED - 1

    await eventually(is_full)


async def test_one_key_at_two_apis_at_once_opens_one_turn(callers: list[Caller], scripted: Scripted) -> None:
    model = scripted(TextReply("Sent."), TextReply("Edited."), TextReply("Regenerated."))
    await callers[0].push(library(model.string))
    session_id = (await callers[0].open("library"))["id"]
    path, turn_id = f"/v1/sessions/{session_id}", ""
    commands: list[tuple[str, Json]] = [
        ("/messages", {"text": "Hello"}),
        ("/edit", {"text": "Hi"}),
        ("/regenerate", {}),
    ]
    for number, (command, body) in enumerate(commands, 1):
        route = f"{path}{command}" if command == "/messages" else f"{path}/turns/{turn_id}{command}"
        key = {"Idempotency-Key": f"at-once-{number}"}
        asking = [each.http.post(route, json=body, headers=key) for each in callers[:8]]
        sessions = [done(response, 200) for response in await asyncio.gather(*asking)]
        assert {session["turns"][-1]["id"] for session in sessions} == {sessions[0]["turns"][-1]["id"]}
        assert len(model.journal) == number
        turn_id = sessions[0]["turns"][-1]["id"]
