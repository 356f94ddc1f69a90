"""Conversations of clients that send their whole history and no id: over the wire, through two APIs."""

import asyncio
from collections.abc import Callable
from itertools import cycle
from typing import Any

import httpx2
import pytest

from contracts.sessions import SettleTurnsInput, SettleTurnsResult
from store.database.errors import StoreUnavailable
from store.sessions.chat_addresses import ChatAddressStore
from store.sessions.settlement import SettlementStore
from tests.api.openai.talking import assistant, user
from tests.api.sessions.test_erasure import erase
from tests.support.api_agents import library
from tests.support.provider import ErrorReply, Gate, ScriptedModel, TextReply
from tests.support.running_api import Caller, Json, RunningApi, done, texts

Scripted = Callable[..., ScriptedModel]


async def ask(caller: Caller, *messages: object, key: str | None = None, **fields: object) -> Json:
    """The completion of a conversation."""
    return done(await send(caller, *messages, key=key, **fields), 200)


async def send(caller: Caller, *messages: object, key: str | None = None, **fields: object) -> httpx2.Response:
    body = {"model": "library", "messages": messages, **fields}
    headers = None if key is None else {"Idempotency-Key": key}
    return await caller.http.post("/v1/chat/completions", json=body, headers=headers)


def said(completion: Json) -> str:
    """The text of the reply."""
    return str(completion["choices"][0]["message"]["content"])


class Chat:
    """A client that keeps its history and no id, at any of the APIs in turn."""

    def __init__(self, *callers: Caller, **fields: object) -> None:
        self._callers = cycle(callers)
        self._fields: dict[str, Any] = fields  # Any: keyword arguments
        self.messages: list[object] = []
        self.sessions: list[str] = []

    async def say(self, text: str) -> str:
        """Say something; returns the reply."""
        self.messages.append(user(text))
        completion = done(await send(next(self._callers), *self.messages, **self._fields), 200)
        self.messages.append(assistant(said(completion)))
        self.sessions.append(completion["session_id"])
        return said(completion)


async def test_a_client_that_sends_its_history_holds_one_session_at_any_api(caller: Caller, visitor: Caller) -> None:
    await caller.push(library())
    chat = Chat(caller, visitor)
    for text in ("One", "Two", "Three", "Four"):
        assert await chat.say(text) == f"You said: {text}"
    assert len(set(chat.sessions)) == 1
    session = await caller.session(chat.sessions[0])
    assert [text for text, _ in texts(session)[1:]] == ["One", "Two", "Three", "Four"]
    await caller.recorded(session["id"], turns=5)
    assert len(await caller.items("/v1/sessions")) == 1


async def test_an_edited_message_creates_a_branch_and_the_old_one_can_be_continued(
    caller: Caller, visitor: Caller
) -> None:
    await caller.push(library())
    chat = Chat(caller, visitor)
    for text in ("One", "Two", "Three"):
        await chat.say(text)
    edited = await ask(visitor, *chat.messages[:2], user("Two, no, three"))
    assert edited["session_id"] == chat.sessions[0]
    session = await caller.session(chat.sessions[0])
    assert [text for text, _ in texts(session)[1:]] == ["One", "Two, no, three"]
    assert len(session["discarded_branches"]) == 1

    await chat.say("Four")  # the client shows the first version again
    assert set(chat.sessions) == {session["id"]}
    assert [text for text, _ in texts(await caller.session(session["id"]))[1:]] == ["One", "Two", "Three", "Four"]
    again = [*chat.messages[:2], user("Two, no, three"), assistant(said(edited)), user("Five")]
    assert (await ask(caller, *again))["session_id"] == session["id"]
    assert [text for text, _ in texts(await caller.session(session["id"]))[1:]] == ["One", "Two, no, three", "Five"]


async def test_a_regenerated_reply_is_a_branch(caller: Caller, scripted: Scripted) -> None:
    await caller.push(
        library(scripted(TextReply("First."), TextReply("Second."), TextReply("Better."), TextReply("Third.")).string)
    )
    chat = Chat(caller)
    await chat.say("One")
    await chat.say("Two")
    better = await ask(caller, *chat.messages[:3])
    assert (said(better), better["session_id"]) == ("Better.", chat.sessions[0])
    third = await ask(caller, *chat.messages[:3], assistant("Better."), user("Three"))
    assert texts(await caller.session(third["session_id"]))[1:] == [
        ("One", "First."),
        ("Two", "Better."),
        ("Three", "Third."),
    ]


async def test_two_clients_with_the_same_messages_each_keep_a_session(caller: Caller, visitor: Caller) -> None:
    await caller.push(library())
    one, two = Chat(caller, visitor), Chat(visitor, caller)
    for chat in (one, two):
        await chat.say("Hello")
    assert one.sessions != two.sessions
    for text in ("A table, please", "For four"):
        await asyncio.gather(one.say(text), two.say(text))
    for session_id in {*one.sessions, *two.sessions}:
        session = await caller.session(session_id)
        assert [text for text, _ in texts(session)[1:]] == ["Hello", "A table, please", "For four"]
        assert session["discarded_branches"] == []


async def test_sessions_with_the_same_system_message_or_metadata_come_first(caller: Caller) -> None:
    await caller.push(library())
    ada, ben = ([{"role": "system", "content": f"The user is {name}."}, user("Hello")] for name in ("Ada", "Ben"))
    of_ada, of_ben = [await ask(caller, *messages) for messages in (ada, ben)]
    for first, messages in ((of_ada, ada), (of_ben, ben)):
        later = await ask(caller, *messages, assistant(said(first)), user("More"))
        assert later["session_id"] == first["session_id"]

    chats = [Chat(caller, metadata={"ticket": name}) for name in ("T-1", "T-2")]
    for text in ("Hello", "More"):
        for chat in chats:
            await chat.say(text)
    assert [len(set(chat.sessions)) for chat in chats] == [1, 1]
    assert chats[0].sessions != chats[1].sessions


async def test_sessions_with_different_contexts_are_never_mixed_up(caller: Caller) -> None:
    await caller.push(library())
    opened = [await ask(caller, user("Hello"), initial_context={"time_of_day": each}) for each in ("noon", "night")]
    history = (user("Hello"), assistant(said(opened[0])), user("More"))
    refused = done(await send(caller, *history), 400)["error"]
    assert refused["code"] == "conversation_mismatch"
    assert "initial_context" in refused["message"]
    for first, time in zip(opened, ("noon", "night"), strict=True):
        later = await ask(caller, *history, initial_context={"time_of_day": time})
        assert later["session_id"] == first["session_id"]


async def test_concurrent_messages_after_the_same_turn_do_not_stop_each_other(
    caller: Caller, visitor: Caller, scripted: Scripted
) -> None:
    gate = Gate()
    await caller.push(library(scripted(TextReply("First."), TextReply("Second.", gate=gate)).string))
    chat = Chat(caller)
    await chat.say("One")
    slow = asyncio.create_task(send(caller, *chat.messages, user("Two")))
    await gate.reached()
    busy = await send(visitor, *chat.messages, user("Another two"))
    assert (busy.status_code, busy.json()["error"]["code"]) == (409, "turn_in_progress")
    assert busy.headers["x-should-retry"] == "true"
    gate.open()
    assert said(done(await slow, 200)) == "Second."


async def test_an_unknown_history_is_refused_with_the_difference(caller: Caller) -> None:
    await caller.push(library())
    chat = Chat(caller)
    await chat.say("One")
    for messages, words in (
        ((user("One"), assistant("Something else"), user("Two")), 'goes on from "One" with "Something else"'),
        ((user("Zero"), assistant("You said: Zero"), user("Two")), 'begins with "Zero"'),
        ((*chat.messages, user("Two"), assistant("Aha"), user("Three")), 'goes on from "You said: One" with "Two"'),
    ):
        error = done(await send(caller, *messages), 400)["error"]
        assert (error["code"], error["param"]) == ("conversation_mismatch", "messages")
        assert words in error["message"]
        assert "X-Session-Id" in error["message"]
    assert [text for text, _ in texts(await caller.session(chat.sessions[0]))[1:]] == ["One"]


async def test_a_greeting_in_the_history_identifies_its_session(caller: Caller) -> None:
    await caller.push(library())
    greeted = await ask(caller)
    history = [assistant(said(greeted)), user("Hello")]
    first = await ask(caller, *history)
    assert first["session_id"] == greeted["session_id"]
    later = await ask(caller, *history, assistant(said(first)), user("More"))
    assert later["session_id"] == greeted["session_id"]
    of_the_client = await ask(caller, assistant("Welcome to our page!"), user("Hello"))
    assert of_the_client["session_id"] != greeted["session_id"]


async def test_messages_without_a_reply_are_joined_with_the_next(caller: Caller, scripted: Scripted) -> None:
    model = scripted(TextReply("First."), ErrorReply(400), TextReply("Here again."), TextReply("At last."))
    await caller.push(library(model.string))
    chat = Chat(caller)
    await chat.say("One")
    assert (await send(caller, *chat.messages, user("Two"))).status_code == 502
    joined = await ask(caller, *chat.messages, user("Two"), user("Are you there?"))
    assert (said(joined), joined["session_id"]) == ("Here again.", chat.sessions[0])
    history = [*chat.messages, user("Two"), user("Are you there?"), assistant("Here again.")]
    assert (await ask(caller, *history, user("Good.")))["session_id"] == chat.sessions[0]
    session = await caller.session(chat.sessions[0])
    assert texts(session)[-2:] == [("Two\n\nAre you there?", "Here again."), ("Good.", "At last.")]


async def test_a_repeat_with_its_key_finds_the_session_of_the_first_request(
    caller: Caller, visitor: Caller, scripted: Scripted
) -> None:
    model = scripted(*(TextReply("Hello.") for _ in range(2)), TextReply("More."), TextReply("Never."))
    await caller.push(library(model.string))
    for _ in range(2):
        await ask(caller, user("Hello"))
    history, key = (user("Hello"), assistant("Hello."), user("More")), "k-1"
    answers = [await ask(each, *history, key=key) for each in (caller, visitor, caller)]
    assert len({answer["id"] for answer in answers}) == 1
    at_once = await asyncio.gather(*(ask(each, *history, key=key) for each in (caller, visitor)))
    assert {answer["id"] for answer in at_once} == {answers[0]["id"]}
    assert len(model.journal) == 3


async def test_a_history_is_found_while_the_turn_is_not_recorded(
    caller: Caller, visitor: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address of a turn is stored with its reply; it does not wait for the settlement."""
    settlement = asyncio.Event()
    settle = SettlementStore.settle

    async def settled_later(self: SettlementStore, input: SettleTurnsInput) -> SettleTurnsResult:
        await settlement.wait()
        return await settle(self, input)

    monkeypatch.setattr(SettlementStore, "settle", settled_later)
    await caller.push(library())
    chat = Chat(caller, visitor)
    for text in ("One", "Two", "Three"):
        await chat.say(text)
    assert len(set(chat.sessions)) == 1
    assert await caller.items("/v1/sessions") == []
    settlement.set()
    await caller.recorded(chat.sessions[0], turns=4)


async def test_a_reply_whose_digest_was_never_stored_is_found_by_its_text(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the death of an API, or an outage of the store, between the reply and the write."""

    async def lost(self: ChatAddressStore, session_id: str, message_id: str, seen: str, *, asked: str) -> None:
        raise StoreUnavailable("here", OSError("no room left"))

    monkeypatch.setattr(ChatAddressStore, "complete", lost)
    await caller.push(library())
    chat = Chat(caller)
    for text in ("One", "Two", "Three"):
        await chat.say(text)
    assert len(set(chat.sessions)) == 1


async def test_an_erased_conversation_is_not_found(caller: Caller, visitor: Caller) -> None:
    await caller.push(library())
    chat = Chat(caller, visitor)
    await chat.say("One")
    await erase(caller, chat.sessions[0])
    refused = done(await send(visitor, *chat.messages, user("Two")), 400)["error"]
    assert refused["code"] == "conversation_mismatch"
    assert 'begins with "One"' in refused["message"]


async def test_a_conversation_belongs_to_its_organization(running_api: RunningApi, caller: Caller) -> None:
    await caller.push(library())
    chat = Chat(caller)
    await chat.say("One")
    async with running_api.caller() as neighbour:
        await neighbour.push(library())
        assert (await send(neighbour, *chat.messages, user("Two"))).status_code == 400
