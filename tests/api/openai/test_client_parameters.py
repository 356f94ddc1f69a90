"""Parameters that clients and voice platforms send: honoured, ignored or rejected by name."""

from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from playhead_client import AsyncPlayhead
from tests.api.openai.talking import error_of, key_of, reply, session_of, user
from tests.support.api_agents import library
from tests.support.provider import ScriptedModel, TextReply
from tests.support.running_api import Caller, Json, RunningApi

pytestmark = pytest.mark.parametrize("running_api", ["sqlite"], indirect=True, scope="session")

Scripted = Callable[..., ScriptedModel]
TRANSFER: Any = {"type": "function", "function": {"name": "transfer_call", "parameters": {"type": "object"}}}
SCHEMA: Any = {"type": "object", "properties": {"guests": {"type": "integer"}}, "required": ["guests"]}
BOOKING: Any = {"type": "json_schema", "json_schema": {"name": "booking", "schema": SCHEMA}}


def plain_agent(model: str) -> Json:
    """An agent with one node, without tools and transitions."""
    return library(model, start="desk", nodes={"desk": {"prompt": "Answer.", "greeting": "Good morning."}})


async def test_fields_of_a_voice_platform_are_accepted_and_listed_once(official: AsyncOpenAI, caller: Caller) -> None:
    await caller.push(library())
    answer = await official.chat.completions.with_raw_response.create(
        model="library",
        messages=[user("Hello")],
        temperature=0.4,
        tools=[TRANSFER],
        tool_choice="auto",
        extra_body={"call": {"id": "c-1"}, "phoneNumber": {"number": "+390"}, "numAssistantTurns": 0},
    )
    assert answer.headers["x-ignored-parameters"] == "tools, phoneNumber, numAssistantTurns"
    completion = answer.parse()
    assert (reply(completion), completion.choices[0].message.tool_calls) == ("You said: Hello", None)
    plain = await official.chat.completions.with_raw_response.create(
        model="library", messages=[user("More")], extra_headers={"X-Session-Id": session_of(completion)}
    )
    assert "x-ignored-parameters" not in plain.headers


async def test_metadata_takes_any_json(caller: Caller) -> None:
    await caller.push(library())
    for metadata in ({"plan": {"seats": [1, 2]}, "vip": True, "note": None}, ["a", 1], "call-7", 3.5):
        kept = metadata if isinstance(metadata, dict) else {"metadata": metadata}
        for path, said in (
            ("/v1/chat/completions", {"messages": [user("Hello")]}),
            ("/v1/responses", {"input": "Hello"}),
        ):
            answer = await caller.http.post(path, json={"model": "library", **said, "metadata": metadata})
            assert answer.status_code == 200, answer.text
            assert (await caller.session(answer.headers["x-session-id"]))["annotations"] == kept, path


async def test_unsupported_parameters_are_refused_before_a_session_opens(official: AsyncOpenAI, caller: Caller) -> None:
    await caller.push(library())
    for name, value in {"n": 2, "logprobs": True, "tool_choice": "required", "stop": ["\n"]}.items():
        with pytest.raises(openai.BadRequestError) as refused:
            await official.chat.completions.create(
                model="library", messages=[user("Hello")], extra_body={name: value, "unknown": 1}
            )
        assert error_of(refused.value) == (400, "invalid_request_error", "unsupported_parameter", name)
    assert await caller.items("/v1/sessions") == []


async def test_response_format_reaches_the_model(official: AsyncOpenAI, caller: Caller, scripted: Scripted) -> None:
    model = scripted(TextReply('{"guests": 4}'), TextReply('{"guests": 5}'), TextReply("Five guests."))
    await caller.push(plain_agent(model.string))
    first = await official.chat.completions.create(
        model="library", messages=[user("Four of us.")], response_format=BOOKING
    )
    assert reply(first) == '{"guests": 4}'
    form = model.journal[0].body["response_format"]
    assert (form["type"], form["json_schema"]["name"]) == ("json_schema", "booking")
    assert form["json_schema"]["schema"] == SCHEMA
    headers = {"X-Session-Id": session_of(first)}
    await official.chat.completions.create(
        model="library", messages=[user("Five.")], response_format={"type": "json_object"}, extra_headers=headers
    )
    assert model.journal[1].body["response_format"] == {"type": "json_object"}
    assert "JSON" in model.journal[1].instructions
    await official.chat.completions.create(model="library", messages=[user("In words?")], extra_headers=headers)
    assert "response_format" not in model.journal[2].body


async def test_a_regenerated_reply_keeps_its_form(
    running_api: RunningApi, official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(TextReply('{"guests": 4}'), TextReply('{"guests": 5}'))
    await caller.push(plain_agent(model.string))
    first = await official.chat.completions.create(
        model="library", messages=[user("Four of us.")], response_format=BOOKING
    )
    async with AsyncPlayhead(running_api.url, key_of(caller)) as playhead:
        session = await playhead.sessions.get(session_of(first))
        await playhead.sessions.regenerate(session.id, session.turns[-1].id)
    assert model.journal[1].body["response_format"] == model.journal[0].body["response_format"]


async def test_response_format_is_refused_where_the_agent_cannot_keep_it(official: AsyncOpenAI, caller: Caller) -> None:
    await caller.push(library())
    with pytest.raises(openai.BadRequestError) as refused:
        await official.chat.completions.create(model="library", messages=[user("Four.")], response_format=BOOKING)
    assert error_of(refused.value) == (400, "invalid_request_error", "unsupported_parameter", "response_format")
    assert "desk" in refused.value.message
    assert await caller.items("/v1/sessions") == []
    first = await official.chat.completions.create(model="library", messages=[user("Hello")])
    with pytest.raises(openai.BadRequestError) as later:
        await official.chat.completions.create(
            model="library",
            messages=[user("Four.")],
            response_format={"type": "json_object"},
            extra_headers={"X-Session-Id": session_of(first)},
        )
    assert later.value.param == "response_format"
    assert len((await caller.session(session_of(first)))["turns"]) == 2
