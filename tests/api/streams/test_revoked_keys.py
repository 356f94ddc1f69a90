"""Open streams end within five seconds after their key is revoked; those of other keys continue."""

import asyncio
from collections.abc import Callable, Collection
from hashlib import sha256

import pytest

from api.http import auth, revocation
from store.api_keys import KeyStore
from store.database.errors import StoreUnavailable
from tests.api.openai.talking import user
from tests.support.api_agents import library
from tests.support.event_stream import saying, watching
from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.running_api import Caller, RunningApi
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

PROMISED_SECONDS = 5.0


async def test_every_open_stream_of_a_revoked_key_ends_and_those_of_other_keys_go_on(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    gates = [Gate(), Gate()]
    model = scripted(*(TextReply("Never heard in full.", gate=gate) for gate in gates))
    await caller.push(library(model.string))
    watched, busy, chatted = [(await caller.open("library"))["id"] for _ in range(3)]
    key, secret = await KeyStore(running_api.database).create(caller.organization, "to be revoked")
    chat = {"model": "library", "messages": [user("Hello")], "stream": True, "metadata": {"session_id": chatted}}
    async with (
        running_api.stranger(Authorization=f"Bearer {secret}") as holder,
        watching(caller, watched) as kept,
        watching(holder, watched) as stream,
        saying(holder, busy, "Hello") as reply,
        holder.http.stream("POST", "/v1/chat/completions", json=chat) as chunks,
    ):
        assert (await anext(kept)).type == "snapshot"
        assert (await anext(stream)).type == "snapshot"
        assert (await anext(reply)).type == "turn_started"
        chunk_lines = chunks.aiter_lines()
        assert (await anext(chunk_lines)).startswith("data:")

        async def refused() -> bool:
            return (await holder.get("/v1/agents")).status_code == 401

        await KeyStore(running_api.database).revoke(key.id)
        async with asyncio.timeout(PROMISED_SECONDS):
            await stream.rest()
            await reply.rest()
            rest = [line async for line in chunk_lines]
            await eventually(refused)
        assert stream.comments[-1] == reply.comments[-1] == "closed: the API key was revoked"
        assert "data: [DONE]" not in rest
        for gate in gates:
            gate.open()
        await caller.end(watched)
        assert (await kept.until("session_completed"))[-1].type == "session_completed"
    turns = [(await caller.recorded(session_id, turns=2))[0] for session_id in (busy, chatted)]
    assert all(turn["turn_id"] for turn in turns), "the turns went on without their streams"


def test_cache_and_checks_together_stay_below_the_promised_delay() -> None:
    assert auth.KEY_CACHE_SECONDS + revocation.CHECK_SECONDS < PROMISED_SECONDS


async def test_streams_stay_open_while_the_store_is_unavailable(
    running_api: RunningApi, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def unavailable(self: KeyStore, fingerprints: object) -> set[bytes]:
        asked.set()
        raise StoreUnavailable("the store", OSError("down"))

    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    monkeypatch.setattr(revocation, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(KeyStore, "valid", unavailable)
    async with watching(caller, session_id) as stream:
        assert (await anext(stream)).type == "snapshot"
        await asyncio.wait_for(asked.wait(), 10)
        await caller.end(session_id)
        assert (await stream.until("session_completed"))[-1].type == "session_completed"


async def test_a_stream_that_begins_during_a_check_is_not_taken_for_revoked(
    running_api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = KeyStore(running_api.database)
    secrets = [(await keys.create("org_checked", f"key {number}"))[1] for number in range(2)]
    first, second = (sha256(secret.encode()).digest() for secret in secrets)
    asked, answer, asked_again = asyncio.Event(), asyncio.Event(), asyncio.Event()
    valid = KeyStore.valid

    async def slow(self: KeyStore, fingerprints: Collection[bytes]) -> set[bytes]:
        found = await valid(self, fingerprints)
        (asked_again if answer.is_set() else asked).set()
        await answer.wait()
        return found

    monkeypatch.setattr(revocation, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(KeyStore, "valid", slow)
    streams = revocation.StreamRevocation(keys)
    async with streams.guarded(first):
        await asyncio.wait_for(asked.wait(), 10)
        async with streams.guarded(second):
            answer.set()
            await asyncio.wait_for(asked_again.wait(), 10)
