"""Tools that an OpenAI client carries out: calls in the protocol's form, and their results in the next request."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion

from activities.llm import reply_publisher
from activities.settlement import Recorder
from contracts.sessions import SettleTurnsInput, SettleTurnsResult
from store.sessions.event_log import EventLog
from tests.api.openai.talking import Messages, assistant, error_of, reply, session_of, user
from tests.support.client_tool_agent import BOTH_CALLS, CALL, SILENT_CALL, switchboard
from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.running_api import Caller, RunningApi
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("transfer", "play")
]
OTHER: Any = {"type": "function", "function": {"name": "hang_up", "parameters": {"type": "object"}}}


async def ask(official: AsyncOpenAI, messages: Messages, **fields: Any) -> ChatCompletion:
    given: Any = {"model": "switchboard", "tools": TOOLS, **fields}
    completion: ChatCompletion = await official.chat.completions.create(**given, messages=messages)
    return completion


def calls_of(completion: ChatCompletion) -> Any:
    """The assistant's message with its calls, as a client puts it into its history."""
    return completion.choices[0].message.model_dump(exclude_none=True)


def result(completion: ChatCompletion, content: str = "Connected.", at: int = 0) -> Any:
    calls = completion.choices[0].message.tool_calls
    assert calls
    return {"role": "tool", "tool_call_id": calls[at].id, "content": content}


async def test_a_call_ends_the_request_and_its_result_goes_on_with_the_turn(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(CALL, TextReply("You are connected."))
    await caller.push(switchboard(model.string))
    messages: Messages = [user("Sales, please.")]
    first = await ask(official, messages)
    choice = first.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "One moment.")
    assert choice.message.tool_calls
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("transfer", {"to": "sales"})
    session = await caller.session(session_of(first))
    assert session["status"] == "pending_assistant_turn"
    assert [each["call_id"] for each in session["client_calls"]] == [call.id]

    messages += [calls_of(first), result(first)]
    second = await ask(official, messages)
    assert (reply(second), second.choices[0].finish_reason) == ("You are connected.", "stop")
    assert session_of(second) == session_of(first)
    assert first.usage
    assert second.usage
    assert (first.usage.total_tokens, second.usage.total_tokens) == (18, 18)
    session = await caller.session(session_of(first))
    assert [turn["status"] for turn in session["turns"]] == ["completed", "completed"]
    assert session["turns"][1]["assistant_message"]["text"] == "One moment.\n\nYou are connected."
    assert [used["total_tokens"] for used in session["usage"]["llm"].values()] == [36]

    messages += [assistant(reply(second)), user("Thanks.")]
    third = await ask(official, messages)
    assert reply(third) == "You said: Thanks."
    assert session_of(third) == session_of(first), "the whole history is the address, calls and results included"


async def test_calls_and_the_rest_of_the_reply_are_streamed(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(CALL, TextReply("You are connected."))
    await caller.push(switchboard(model.string))
    messages: Messages = [user("Sales, please.")]

    async def streamed() -> tuple[str, list[Any], str | None, int]:
        text, calls, finish, tokens = "", [], None, 0
        stream = await official.chat.completions.create(
            model="switchboard", messages=messages, tools=TOOLS, stream=True, stream_options={"include_usage": True}
        )
        async for chunk in stream:
            tokens = chunk.usage.total_tokens if chunk.usage else tokens
            for choice in chunk.choices:
                text += choice.delta.content or ""
                calls += choice.delta.tool_calls or []
                finish = choice.finish_reason or finish
        return text, calls, finish, tokens

    text, calls, finish, tokens = await streamed()
    assert (text, finish, tokens) == ("One moment.", "tool_calls", 18)
    (call,) = calls
    assert (call.index, call.function.name, json.loads(call.function.arguments)) == (0, "transfer", {"to": "sales"})
    function = {"name": call.function.name, "arguments": call.function.arguments}
    called: Any = {
        "role": "assistant",
        "content": text,
        "tool_calls": [{"id": call.id, "type": "function", "function": function}],
    }
    returned: Any = {"role": "tool", "tool_call_id": call.id, "content": [{"type": "text", "text": "Connected."}]}
    messages += [called, returned]
    assert await streamed() == ("You are connected.", [], "stop", 18)
    assert await streamed() == ("You are connected.", [], "stop", 18), "the same results again give the same reply"
    assert len(model.journal) == 2


async def test_only_tools_that_the_client_offers_are_called_and_the_others_are_named(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted()
    await caller.push(switchboard(model.string))
    raw = official.chat.completions.with_raw_response
    mixed = await raw.create(model="switchboard", messages=[user("Hello")], tools=[TOOLS[0], OTHER])
    assert mixed.headers["x-ignored-parameters"] == "tools"
    taken = await raw.create(model="switchboard", messages=[user("Hello")], tools=TOOLS)
    assert "x-ignored-parameters" not in taken.headers
    await ask(official, [user("Hello")], tool_choice="none")
    await official.chat.completions.create(model="switchboard", messages=[user("Hello")])
    offered = [{tool["function"]["name"] for tool in asked.body.get("tools", [])} for asked in model.journal]
    assert offered == [{"transfer"}, {"transfer", "play"}, set(), set()]


async def test_partial_results_are_kept_and_the_missing_calls_are_handed_over_again(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    await caller.push(switchboard(scripted(BOTH_CALLS, TextReply("Done.")).string))
    messages: Messages = [user("Both.")]
    first = await ask(official, messages)
    assert first.choices[0].message.content is None
    part = await ask(official, [*messages, calls_of(first), result(first, at=1)])
    assert part.choices[0].finish_reason == "tool_calls"
    assert [call.id for call in part.choices[0].message.tool_calls or []] == [
        (first.choices[0].message.tool_calls or [])[0].id
    ]
    assert part.usage
    assert part.usage.total_tokens == 0
    done = await ask(official, [*messages, calls_of(first), result(first, at=1), result(first)])
    assert reply(done) == "Done."


async def test_a_message_in_place_of_a_result_goes_on_in_the_same_session(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(SILENT_CALL, TextReply("As you wish."))
    await caller.push(switchboard(model.string))
    first = await ask(official, [user("Sales, please.")])
    second = await ask(official, [user("Sales, please."), calls_of(first), user("Never mind.")])
    assert (reply(second), session_of(second)) == ("As you wish.", session_of(first))
    session = await caller.session(session_of(first))
    assert [turn["status"] for turn in session["turns"]] == ["completed", "interrupted", "completed"]
    assert "went on without it" in str(model.journal[-1].conversation)
    history: Messages = [user("Sales, please."), calls_of(first), user("Never mind."), assistant("As you wish.")]
    third = await ask(official, [*history, user("Bye.")])
    assert session_of(third) == session_of(first)
    with pytest.raises(openai.BadRequestError) as late:
        await ask(official, [user("Sales, please."), calls_of(first), result(first)])
    assert error_of(late.value) == (400, "invalid_request_error", "client_call_not_pending", None)


async def test_a_message_without_the_call_goes_on_too_and_one_with_a_result_keeps_it(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(CALL, TextReply("As you wish."), CALL, TextReply("You are welcome."))
    await caller.push(switchboard(model.string))
    first = await ask(official, [user("Sales, please.")])
    messages: Messages = [user("Sales, please."), assistant("One moment."), user("Never mind.")]
    second = await ask(official, messages)
    assert (reply(second), session_of(second)) == ("As you wish.", session_of(first))
    messages += [assistant(reply(second)), user("Sales after all.")]
    third = await ask(official, messages)
    fourth = await ask(official, [*messages, calls_of(third), result(third), user("Thanks.")])
    assert (reply(fourth), session_of(fourth)) == ("You are welcome.", session_of(first))
    assert "Connected." in str(model.journal[-1].conversation)


async def test_an_edit_before_a_waiting_call_creates_a_branch(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(TextReply("Good morning."), CALL, TextReply("Until nine."))
    await caller.push(switchboard(model.string))
    messages: Messages = [user("Hello.")]
    messages.append(assistant(reply(first := await ask(official, messages))))
    await ask(official, [*messages, user("Sales.")])
    edited = await ask(official, [*messages, user("How long are you open?")])
    assert (reply(edited), session_of(edited)) == ("Until nine.", session_of(first))
    session = await caller.session(session_of(first))
    assert [turn["user_message"]["text"] for turn in session["turns"][1:]] == ["Hello.", "How long are you open?"]
    assert len(session["discarded_branches"]) == 1


async def test_another_organization_and_another_agent_cannot_answer_a_call(
    official: AsyncOpenAI, caller: Caller, running_api: RunningApi, scripted: Scripted
) -> None:
    model = scripted(CALL, TextReply("Done."))
    await caller.push(switchboard(model.string))
    await caller.push({**switchboard(model.string), "name": "other"})
    first = await ask(official, [user("Sales, please.")])
    messages: Messages = [user("Sales, please."), calls_of(first), result(first)]
    async with running_api.caller() as stranger:
        await stranger.push(switchboard(model.string))
        body = {"model": "switchboard", "messages": messages}
        answer = await stranger.http.post("/v1/chat/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "client_call_not_pending")
        theirs = await stranger.http.post(
            "/v1/chat/completions", json={**body, "messages": [*messages[:2], user("Hello?")]}
        )
        assert theirs.json()["error"]["code"] == "conversation_mismatch"
    for fields in ({"model": "other"}, {"extra_headers": {"X-Session-Id": (await caller.open("switchboard"))["id"]}}):
        with pytest.raises(openai.BadRequestError) as refused:
            await ask(official, messages, **fields)
        assert refused.value.code == "conversation_mismatch"
    assert reply(await ask(official, messages)) == "Done."


@pytest.mark.parametrize(
    "content",
    [[{"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}], "x" * 70_000],
    ids=["a picture", "too long"],
)
async def test_an_invalid_result_is_refused_and_the_call_stays_pending(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted, content: Any
) -> None:
    await caller.push(switchboard(scripted(CALL, TextReply("Done.")).string))
    messages: Messages = [user("Sales, please.")]
    first = await ask(official, messages)
    messages.append(calls_of(first))
    with pytest.raises(openai.APIStatusError) as refused:
        await ask(official, [*messages, result(first, content)])
    assert refused.value.code in ("unsupported_message", "too_large")
    assert reply(await ask(official, [*messages, result(first)])) == "Done."


async def test_a_repeated_request_gets_the_same_calls_without_another_model_call(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(CALL, TextReply("Done."))
    await caller.push(switchboard(model.string))
    key = {"Idempotency-Key": "k-1"}
    first = await ask(official, [user("Sales, please.")], extra_headers=key)
    again = await ask(official, [user("Sales, please.")], extra_headers=key)
    assert calls_of(first) == calls_of(again)
    messages: Messages = [user("Sales, please."), calls_of(first), result(first)]
    replies = [await ask(official, messages, extra_headers={"Idempotency-Key": "k-2"}) for _ in range(2)]
    assert {reply(each) for each in replies} == {"Done."}
    assert len(model.journal) == 2


async def test_a_stream_that_is_closed_after_the_result_stops_the_rest_of_the_reply(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(CALL, TextReply("We open at nine, and close at six.", gate=Gate()), TextReply("Yes?"))
    await caller.push(switchboard(model.string))
    messages: Messages = [user("Sales, please.")]
    first = await ask(official, messages)
    messages += [calls_of(first), result(first)]
    stream = await official.chat.completions.create(model="switchboard", messages=messages, tools=TOOLS, stream=True)
    text = ""
    async for chunk in stream:
        text += chunk.choices[0].delta.content or ""
        if text:
            break
    await stream.close()

    async def is_stopped() -> bool:
        return bool((await caller.session(session_of(first)))["turns"][1]["status"] == "interrupted")

    await eventually(is_stopped)
    after = await ask(official, [*messages, assistant(text), user("Hello?")])
    assert (reply(after), session_of(after)) == ("Yes?", session_of(first))


async def test_rest_of_a_reply_is_streamed_once_when_the_log_gets_its_start_late(
    running_api: RunningApi,
    official: AsyncOpenAI,
    caller: Caller,
    scripted: Scripted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log gets the start of a turn only after the end of the turn before, which waits for its settlement."""
    gate, recording = Gate(), asyncio.Event()
    settle = Recorder.settle

    async def settled_later(recorder: Recorder, input: SettleTurnsInput) -> SettleTurnsResult:
        await recording.wait()
        return await settle(recorder, input)

    async def is_logged() -> bool:
        turn_id = (first.metadata or {})["turn_id"]
        return await EventLog(running_api.database).first_start(session_of(first), [turn_id]) is not None

    await caller.push(
        switchboard(scripted(TextReply("Hi."), SILENT_CALL, TextReply("At nine o'clock.", gate=gate)).string)
    )
    monkeypatch.setattr(Recorder, "settle", settled_later)
    monkeypatch.setattr(reply_publisher, "MAX_ORDER_WAIT_SECONDS", 3_600)
    try:
        messages: Messages = [user("Hello.")]
        messages += [assistant(reply(await ask(official, messages))), user("Sales, please.")]
        first = await ask(official, messages)
        messages += [calls_of(first), result(first)]
        given: Any = {"model": "switchboard", "tools": TOOLS, "stream": True}
        stream = await official.chat.completions.create(**given, messages=messages)
        roles, text = 0, ""
        async for chunk in stream:
            delta = chunk.choices[0].delta
            roles += delta.role is not None
            text += delta.content or ""
            if text and not recording.is_set():
                recording.set()
                await eventually(is_logged)
                gate.open()
    finally:
        recording.set()
    assert (roles, text) == (1, "At nine o'clock.")


async def test_repeated_results_get_their_reply_again_after_the_end(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(CALL, SILENT_CALL, TextReply("You are connected."), SILENT_CALL)
    await caller.push(switchboard(model.string))
    messages: Messages = [user("Sales, please.")]
    first = await ask(official, messages)
    messages += [calls_of(first), result(first)]
    second = await ask(official, messages)
    messages += [calls_of(second), result(second, "Connected again.")]
    answered = await ask(official, messages)
    left = await ask(official, [*messages, assistant(reply(answered)), user("Again.")])
    await caller.end(session_of(first))

    given: Any = {"model": "switchboard", "tools": TOOLS}
    for repeat in (await ask(official, messages), await ask(official, messages)):
        assert (repeat.choices, repeat.usage) == (answered.choices, answered.usage)
    stream = await official.chat.completions.create(**given, messages=messages, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "You are connected."
    call_id = result(second)["tool_call_id"]
    output: Any = {"type": "function_call_output", "call_id": call_id, "output": "Connected again."}
    responding = await official.responses.create(model="switchboard", input=[output], stream=True)
    *_, last = [event async for event in responding]
    assert last.type == "response.completed"
    assert (last.response.output_text, last.response.usage and last.response.usage.total_tokens) == (
        "You are connected.",
        18,
    )
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as other:
            await official.chat.completions.create(
                **given, messages=[*messages[:-1], result(second, "Another.")], stream=stream
            )
        assert other.value.code == "client_call_not_pending"
        with pytest.raises(openai.APIStatusError) as late:
            await official.chat.completions.create(
                **given, messages=[*messages, calls_of(left), result(left)], stream=stream
            )
        assert (late.value.status_code, late.value.code) == (410, "session_ended")
    assert len(model.journal) == 4


async def test_responses_have_calls_as_items_and_take_their_outputs(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(CALL, TextReply("You are connected."), SILENT_CALL, TextReply("As you wish."))
    await caller.push(switchboard(model.string))
    tools: Any = [{"type": "function", "name": "transfer", "parameters": {"type": "object"}, "strict": False}]
    create = official.responses.create
    first = await create(model="switchboard", input="Sales, please.", tools=tools)
    message, call = first.output
    assert (first.status, message.type, first.output_text) == ("completed", "message", "One moment.")
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments)) == ("transfer", {"to": "sales"})
    assert [item.type for item in (await official.responses.retrieve(first.id)).output] == ["message", "function_call"]
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "Connected."}
    second = await create(model="switchboard", input=[output], previous_response_id=first.id, tools=tools)
    assert (second.output_text, second.status) == ("You are connected.", "completed")
    assert first.usage
    assert second.usage
    assert (first.usage.total_tokens, second.usage.total_tokens) == (18, 18)
    third = await create(model="switchboard", input="Again.", previous_response_id=second.id, tools=tools)
    assert [item.type for item in third.output] == ["function_call"]
    fourth = await create(model="switchboard", input="No.", previous_response_id=third.id, tools=tools)
    assert fourth.output_text == "As you wish."
    items: Any = [{"role": "user", "content": "Sales, please."}, *first.model_dump()["output"], output]
    repeated = await create(model="switchboard", input=items, tools=tools)
    assert repeated.output_text == "You are connected."
    wrong: Any = {**output, "call_id": output["call_id"][:-1] + "g"}
    with pytest.raises(openai.BadRequestError) as unknown:
        await create(model="switchboard", input=[wrong], tools=tools)
    assert unknown.value.code == "nothing_to_say"


async def test_responses_stream_their_calls(official: AsyncOpenAI, caller: Caller, scripted: Scripted) -> None:
    await caller.push(switchboard(scripted(CALL, TextReply("You are connected.")).string))
    tools: Any = [{"type": "function", "name": "transfer", "parameters": {"type": "object"}, "strict": False}]
    stream = await official.responses.create(model="switchboard", input="Sales.", tools=tools, stream=True)
    events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    arguments = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert [(event.output_index, json.loads(event.arguments)) for event in arguments] == [(1, {"to": "sales"})]
    last = events[-1]
    assert last.type == "response.completed"
    call = last.response.output[1]
    assert call.type == "function_call"
    output: Any = {
        "type": "function_call_output",
        "call_id": call.call_id,
        "output": [{"type": "input_text", "text": "OK"}],
    }
    rest = await official.responses.create(
        model="switchboard", input=[output], previous_response_id=last.response.id, tools=tools, stream=True
    )
    text = "".join([event.delta async for event in rest if event.type == "response.output_text.delta"])
    assert text == "You are connected."
