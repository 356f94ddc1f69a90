"""Streamed chat completions, with the official client."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk

from tests.api.openai.talking import Messages, assistant, error_of, user
from tests.support.api_agents import library
from tests.support.provider import ErrorReply, Gate, InterruptedReply, ScriptedModel, TextReply, ToolCallReply
from tests.support.running_api import Caller, texts

pytestmark = pytest.mark.parametrize("running_api", ["sqlite"], indirect=True, scope="session")

Scripted = Callable[..., ScriptedModel]


async def chunks_of(
    official: AsyncOpenAI, messages: Messages, *, headers: dict[str, str] | None = None, usage: bool = False
) -> AsyncIterator[ChatCompletionChunk]:
    """The chunks of a streamed reply."""
    stream = await official.chat.completions.create(
        model="library",
        messages=messages,
        stream=True,
        extra_headers=headers,
        stream_options={"include_usage": True} if usage else openai.omit,
    )
    async for chunk in stream:
        yield chunk


def session_of(chunk: ChatCompletionChunk) -> str:
    return str((chunk.model_extra or {})["session_id"])


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def test_a_streamed_conversation_of_three_turns_moves_through_two_nodes(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(
        TextReply("We have it on the second floor."),
        TextReply("Until Friday."),
        ToolCallReply("farewell", text="You are welcome."),
        TextReply("Goodbye!"),
    )
    await caller.push(library(model.string))
    said: Messages = []
    headers: dict[str, str] = {}
    totals: list[int] = []
    for text in ("Where is the atlas?", "May I borrow it?", "Thank you, that is all."):
        said.append(user(text))
        chunks = [chunk async for chunk in chunks_of(official, said, headers=headers, usage=True)]
        first, *_, finished, counted = chunks
        assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
        assert finished.choices[0].finish_reason == "stop"
        assert {(chunk.id, chunk.created, chunk.model) for chunk in chunks} == {(first.id, first.created, first.model)}
        assert counted.choices == []
        assert counted.usage is not None
        totals.append(counted.usage.total_tokens)
        assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
        said.append(assistant(text_of(chunks)))
        headers = {"X-Session-Id": session_of(first)}
    assert totals == [18, 18, 36]
    session = await caller.session(headers["X-Session-Id"])
    assert [turn["node_id"] for turn in session["turns"]] == ["desk", "desk", "desk", "goodbye"]
    assert session["is_completed"]
    assert texts(session)[1:] == [
        ("Where is the atlas?", "We have it on the second floor."),
        ("May I borrow it?", "Until Friday."),
        ("Thank you, that is all.", "You are welcome.\n\nGoodbye!"),
    ]
    assert [message["content"] for message in said[1::2]] == [agent for _, agent in texts(session)[1:]]
    assert len(model.journal) == 4
    with pytest.raises(openai.APIStatusError) as ended:
        await anext(chunks_of(official, [user("Still there?")], headers=headers))
    assert error_of(ended.value) == (410, "invalid_request_error", "session_ended", None)


async def test_text_is_streamed_before_the_reply_is_complete(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(TextReply("One moment, please.", gate=(gate := Gate())))
    await caller.push(library(model.string))
    chunks = chunks_of(official, [user("Hello")])
    received = [await anext(chunks), await anext(chunks)]
    assert text_of(received) == "One momen"
    gate.open()
    assert text_of([*received, *[chunk async for chunk in chunks]]) == "One moment, please."


async def test_a_raw_stream_follows_the_protocol(caller: Caller) -> None:
    await caller.push(library())
    body = {"model": "library", "messages": [user("Hello")], "stream": True}
    answer = await caller.http.post("/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    *chunks, last, done, end = answer.text.split("\n\n")
    assert chunks
    assert (done, end) == ("data: [DONE]", "")
    finished = json.loads(last.removeprefix("data: "))
    assert (finished["choices"][0]["delta"], finished["choices"][0]["finish_reason"]) == ({}, "stop")
    assert finished["session_id"] == answer.headers["x-session-id"]
    assert "usage" not in finished


async def test_the_greeting_can_be_streamed_too(official: AsyncOpenAI, caller: Caller) -> None:
    await caller.push(library())
    greeting = [chunk async for chunk in chunks_of(official, [])]
    assert text_of(greeting) == "Good morning, this is the town library."
    assert greeting[-1].choices[0].finish_reason == "stop"


async def test_a_retried_reply_that_begins_with_the_same_text_continues(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    broken = InterruptedReply("We open at nine, always.", gate=(gate := Gate()))
    model = scripted(broken, TextReply("We open at nine in the morning."))
    await caller.push(library(model.string))
    chunks = chunks_of(official, [user("When?")])
    received = [await anext(chunks), await anext(chunks)]
    assert text_of(received) == "We open at n"
    gate.open()
    assert text_of([*received, *[chunk async for chunk in chunks]]) == "We open at nine in the morning."


async def test_a_retried_reply_that_begins_with_other_text_ends_with_an_error(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(InterruptedReply("Nobody will ever know.", gate=(gate := Gate())), TextReply("At nine."))
    await caller.push(library(model.string))
    key = {"Idempotency-Key": "when"}
    chunks = chunks_of(official, [user("When?")], headers=key)
    received = [await anext(chunks), await anext(chunks)]
    gate.open()
    with pytest.raises(openai.APIError, match="restarted its reply") as restarted:
        [chunk async for chunk in chunks]
    assert restarted.value.code == "reply_restarted"
    assert text_of(received) == "Nobody will"
    assert text_of([chunk async for chunk in chunks_of(official, [user("When?")], headers=key)]) == "At nine."


async def test_a_turn_that_fails_after_streaming_text_ends_with_an_error(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(InterruptedReply("We open", gate=(gate := Gate())), ErrorReply(400))
    await caller.push(library(model.string))
    chunks = chunks_of(official, [user("When?")])
    for _ in range(2):
        await anext(chunks)
    gate.open()
    with pytest.raises(openai.APIError) as failed:
        [chunk async for chunk in chunks]
    assert failed.value.code == "model_failed"


async def test_requests_are_refused_before_the_stream(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(TextReply("At nine.", gate=(gate := Gate())))
    await caller.push(library(model.string))
    headers = {"X-Session-Id": (await caller.open("library"))["id"]}
    sending = asyncio.create_task(caller.say(headers["X-Session-Id"], "When?"))
    await gate.reached()
    with pytest.raises(openai.ConflictError) as busy:
        await anext(chunks_of(official, [user("Hello?")], headers=headers))
    assert error_of(busy.value) == (409, "conflict_error", "turn_in_progress", None)
    assert busy.value.response.headers["x-session-id"] == headers["X-Session-Id"]
    assert busy.value.response.headers["x-should-retry"] == "true"
    gate.open()
    await sending


async def test_a_model_error_fails_the_stream(official: AsyncOpenAI, caller: Caller, scripted: Scripted) -> None:
    await caller.push(library(scripted(ErrorReply(400)).string))
    with pytest.raises(openai.APIError) as failed:
        [chunk async for chunk in chunks_of(official, [user("When?")])]
    assert (failed.value.type, failed.value.code) == ("server_error", "model_failed")
