"""Client tools in the older form: `functions`, one `function_call` of a reply, and results of role `function`."""

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion

from tests.api.openai.talking import Messages, assistant, error_of, reply, session_of, user
from tests.support.client_tool_agent import BOTH_CALLS, CALL, SILENT_CALL, switchboard
from tests.support.provider import ScriptedModel, TextReply
from tests.support.running_api import Caller

Scripted = Callable[..., ScriptedModel]

FUNCTIONS: Any = [{"name": name, "parameters": {"type": "object", "properties": {}}} for name in ("transfer", "play")]


async def ask(official: AsyncOpenAI, messages: Messages, **fields: Any) -> ChatCompletion:
    given: Any = {"model": "switchboard", "functions": FUNCTIONS, **fields}
    completion: ChatCompletion = await official.chat.completions.create(**given, messages=messages)
    return completion


def call_of(completion: ChatCompletion) -> Any:
    """The assistant's message with its call, by a client that keeps OpenAI's fields only."""
    choice = completion.choices[0]
    assert (choice.finish_reason, choice.message.tool_calls) == ("function_call", None)
    call = choice.message.function_call
    assert call
    function = {"name": call.name, "arguments": call.arguments}
    return {"role": "assistant", "content": choice.message.content, "function_call": function}


def result(name: str = "transfer", content: str = "Connected.") -> Any:
    return {"role": "function", "name": name, "content": content}


@pytest.mark.parametrize("keeps_all", [True, False], ids=["all fields kept", "known fields kept"])
async def test_a_call_ends_the_request_and_its_result_goes_on_with_the_turn(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted, *, keeps_all: bool
) -> None:
    model = scripted(CALL, TextReply("You are connected."))
    await caller.push(switchboard(model.string))
    messages: Messages = [user("Sales, please.")]
    raw = await official.chat.completions.with_raw_response.create(
        model="switchboard", messages=messages, functions=FUNCTIONS
    )
    assert "x-ignored-parameters" not in raw.headers
    first = raw.parse()
    message = first.choices[0].message
    assert message.content == "One moment."
    assert (call := message.function_call)
    assert (call.name, json.loads(call.arguments)) == ("transfer", {"to": "sales"})

    messages += [message.model_dump(exclude_none=True) if keeps_all else call_of(first), result()]  # type: ignore[list-item]  # plain dictionaries
    second = await ask(official, messages)
    assert (reply(second), second.choices[0].finish_reason) == ("You are connected.", "stop")
    assert session_of(second) == session_of(first)
    assert (first.usage and first.usage.total_tokens, second.usage and second.usage.total_tokens) == (18, 18)
    assert ("tool", "Connected.") in model.journal[-1].conversation

    third = await ask(official, [*messages, assistant(reply(second)), user("Thanks.")])
    assert (reply(third), session_of(third)) == ("You said: Thanks.", session_of(first))
    assert [turn["status"] for turn in (await caller.session(session_of(first)))["turns"]] == ["completed"] * 3


async def test_calls_and_the_rest_of_the_reply_are_streamed(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(CALL, TextReply("You are connected."))
    await caller.push(switchboard(model.string))
    messages: Messages = [user("Sales, please.")]

    async def streamed() -> tuple[str, str, str, str | None]:
        text, name, arguments, finish = "", "", "", None
        stream = await official.chat.completions.create(
            model="switchboard", messages=messages, functions=FUNCTIONS, stream=True
        )
        async for chunk in stream:
            delta = chunk.choices[0].delta
            text += delta.content or ""
            if delta.function_call:
                name += delta.function_call.name or ""
                arguments += delta.function_call.arguments or ""
            assert delta.tool_calls is None
            finish = chunk.choices[0].finish_reason or finish
        return text, name, arguments, finish

    text, name, arguments, finish = await streamed()
    assert (text, name, json.loads(arguments), finish) == ("One moment.", "transfer", {"to": "sales"}, "function_call")
    called: Any = {"role": "assistant", "content": text, "function_call": {"name": name, "arguments": arguments}}
    messages += [called, result()]
    assert await streamed() == ("You are connected.", "", "", "stop")
    assert await streamed() == ("You are connected.", "", "", "stop"), "the same result again gives the same reply"
    assert len(model.journal) == 2


async def test_calls_of_one_reply_are_handed_over_one_after_the_other(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(BOTH_CALLS, TextReply("Done."))
    await caller.push(switchboard(model.string))
    messages: Messages = [user("Both.")]
    first = await ask(official, messages)
    messages += [call_of(first), result()]
    second = await ask(official, messages)
    again = await ask(official, messages)
    assert call_of(second) == call_of(again), "a repeat of the first result is none of the second call"
    assert call_of(second)["function_call"] == {"name": "play", "arguments": "{}"}
    with pytest.raises(openai.BadRequestError) as wrong:
        await ask(official, [*messages, call_of(second), result("transfer")])
    assert error_of(wrong.value) == (400, "invalid_request_error", "client_call_not_pending", "messages")
    messages += [call_of(second), result("play", "Played.")]
    assert reply(await ask(official, messages)) == "Done."
    results = [text for role, text in model.journal[-1].conversation if role == "tool"]
    assert results == ["Connected.", "Played."]


async def test_clients_with_the_same_messages_each_get_their_own_reply_even_after_the_end(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(SILENT_CALL, SILENT_CALL, TextReply("The first."), TextReply("The second."))
    await caller.push(switchboard(model.string))
    calls = [await ask(official, [user("Sales, please.")]) for _ in range(2)]
    histories: list[Messages] = [
        [user("Sales, please."), call_of(each), result(content=f"Line {number}.")] for number, each in enumerate(calls)
    ]
    answers = [await ask(official, history) for history in histories]
    assert [reply(each) for each in answers] == ["The first.", "The second."]
    assert {session_of(each) for each in answers} == {session_of(each) for each in calls}

    sessions = [{"X-Session-Id": session_of(each)} for each in answers]
    for end in (False, True):
        for history, answer, named in zip(histories, answers, sessions, strict=True):
            if end:
                await caller.end(session_of(answer))
            repeats = [await ask(official, history, extra_headers=named)]
            repeats.append(await ask(official, history[-1:], extra_headers=named))
            assert [reply(each) for each in repeats] == [reply(answer)] * 2
            with pytest.raises(openai.BadRequestError) as other:
                await ask(official, [*history[:-1], result(content="Another.")], extra_headers=named)
            assert other.value.code == "client_call_not_pending"
    assert len(model.journal) == 4


async def test_a_message_in_place_of_a_result_goes_on_and_one_with_a_result_keeps_it(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(SILENT_CALL, TextReply("As you wish."), CALL, TextReply("You are welcome."))
    await caller.push(switchboard(model.string))
    messages: Messages = [user("Sales, please.")]
    first = await ask(official, messages)
    messages += [call_of(first), user("Never mind.")]
    second = await ask(official, messages)
    assert (reply(second), session_of(second)) == ("As you wish.", session_of(first))
    assert "went on without it" in str(model.journal[-1].conversation)
    messages += [assistant(reply(second)), user("Sales after all.")]
    third = await ask(official, messages)
    fourth = await ask(official, [*messages, call_of(third), result(), user("Thanks.")])
    assert (reply(fourth), session_of(fourth)) == ("You are welcome.", session_of(first))
    assert "Connected." in str(model.journal[-1].conversation)


async def test_only_functions_that_the_client_offers_are_called_and_the_others_are_named(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted()
    await caller.push(switchboard(model.string))
    tools: Any = [{"type": "function", "function": FUNCTIONS[1]}]
    create = official.chat.completions.with_raw_response.create
    named = []
    for offered in (
        {"functions": [FUNCTIONS[0], {"name": "hang_up"}]},
        {"functions": FUNCTIONS, "function_call": "none"},
        {"functions": FUNCTIONS, "tools": tools},
    ):
        answer = await create(model="switchboard", messages=[user("Hello")], **offered)
        named.append(answer.headers.get("x-ignored-parameters"))
    assert [set(asked.tools) for asked in model.journal] == [{"transfer"}, set(), {"play"}]
    assert named == ["functions", None, "functions"]
