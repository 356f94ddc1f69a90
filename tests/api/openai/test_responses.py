"""The Responses API with the official client: responses are turns, earlier ones are branches."""

import asyncio
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response

from tests.api.openai.talking import error_of
from tests.support.api_agents import library
from tests.support.provider import ErrorReply, Gate, InterruptedReply, ScriptedModel, TextReply
from tests.support.running_api import Caller, texts

Scripted = Callable[..., ScriptedModel]
SCHEMA: Any = {"type": "object", "properties": {"guests": {"type": "integer"}}, "required": ["guests"]}


def session_of(response: Response) -> str:
    """The id of a response's session."""
    assert response.metadata is not None
    assert response.conversation is not None
    assert (response.model_extra or {})["session_id"] == response.conversation.id == response.metadata["session_id"]
    return response.conversation.id


async def test_a_chain_of_responses_is_a_session(official: AsyncOpenAI, caller: Caller, scripted: Scripted) -> None:
    model = scripted(TextReply("For how many?"), TextReply("At what time?"), TextReply("Done."))
    await caller.push(library(model.string))
    answer = await official.responses.with_raw_response.create(
        model="library", input="A table, please.", metadata={"ticket": "T-1"}, extra_body={"unknown": 1}
    )
    first = answer.parse()
    assert (first.output_text, first.status, first.model) == ("For how many?", "completed", "library@1")
    assert answer.headers["x-session-id"] == session_of(first)
    assert answer.headers["x-ignored-parameters"] == "unknown"
    assert first.usage is not None
    assert (first.usage.input_tokens, first.usage.output_tokens, first.usage.total_tokens) == (11, 7, 18)
    assert first.previous_response_id is None
    second = await official.responses.create(model="library", input="Four.", previous_response_id=first.id)
    third = await official.responses.create(
        model="library", input=[{"role": "user", "content": "At seven."}], conversation=session_of(first)
    )
    assert (second.previous_response_id, third.previous_response_id) == (first.id, second.id)
    assert session_of(first) == session_of(second) == session_of(third)
    session = await caller.session(session_of(first))
    assert texts(session)[1:] == [
        ("A table, please.", "For how many?"),
        ("Four.", "At what time?"),
        ("At seven.", "Done."),
    ]
    assert session["annotations"] == {"ticket": "T-1"}
    assert (await official.responses.retrieve(second.id)).model_dump() == second.model_dump()


async def test_an_earlier_response_begins_a_branch(official: AsyncOpenAI, caller: Caller) -> None:
    await caller.push(library())
    first = await official.responses.create(model="library", input="One")
    second = await official.responses.create(model="library", input="Two", previous_response_id=first.id)
    other = await official.responses.create(model="library", input="Three", previous_response_id=first.id)
    assert session_of(other) == session_of(second)
    session = await caller.session(session_of(first))
    assert texts(session)[1:] == [("One", "You said: One"), ("Three", "You said: Three")]
    assert len(session["discarded_branches"]) == 1
    again = await official.responses.create(model="library", input="Four", previous_response_id=second.id)
    assert texts(await caller.session(session_of(again)))[1:] == [
        ("One", "You said: One"),
        ("Two", "You said: Two"),
        ("Four", "You said: Four"),
    ]
    assert (await official.responses.retrieve(other.id)).output_text == "You said: Three"


async def test_a_client_that_sends_its_items_back_continues_from_the_newest(
    official: AsyncOpenAI, caller: Caller
) -> None:
    await caller.push(library())
    first = await official.responses.create(model="library", input="One")
    items: Any = [{"role": "user", "content": "One"}, *(item.to_dict() for item in first.output)]
    second = await official.responses.create(
        model="library", input=[*items, {"role": "user", "content": [{"type": "input_text", "text": "Two"}]}]
    )
    assert session_of(second) == session_of(first)
    reference: Any = {"type": "item_reference", "id": second.output[0].id}
    said: Any = {"role": "user", "content": "Two"}
    third = await official.responses.create(
        model="library", input=[said, reference, {"role": "user", "content": "Three"}]
    )
    assert (third.previous_response_id, third.output_text) == (second.id, "You said: Three")
    unknown: Any = {"type": "item_reference", "id": "msg_0_0"}
    with pytest.raises(openai.BadRequestError) as refused:
        await official.responses.create(model="library", input=[unknown, {"role": "user", "content": "Four"}])
    assert error_of(refused.value) == (400, "invalid_request_error", "invalid_request", "input")


async def test_a_response_streams_its_events(official: AsyncOpenAI, caller: Caller, scripted: Scripted) -> None:
    await caller.push(library(scripted(TextReply("For how many?"), TextReply("At what time?")).string))
    kinds: list[str] = []
    text = ""
    stream = await official.responses.create(model="library", input="A table, please.", stream=True)
    async for event in stream:
        assert event.sequence_number == len(kinds)
        kinds.append(event.type)
        if event.type == "response.output_text.delta":
            text += event.delta
        if event.type == "response.completed":
            completed = event.response
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert text == completed.output_text == "For how many?"
    async with official.responses.stream(
        model="library", input="Four.", previous_response_id=completed.id
    ) as accumulated:
        final = await accumulated.get_final_response()
    assert (final.output_text, final.previous_response_id) == ("At what time?", completed.id)
    assert (await official.responses.retrieve(final.id)).usage == final.usage


async def test_a_request_without_a_message_is_answered_with_the_greeting(official: AsyncOpenAI, caller: Caller) -> None:
    await caller.push(library())
    greeted = await official.responses.create(model="library", input=[])
    assert greeted.output_text == "Good morning, this is the town library."
    async with official.responses.stream(model="library", input=[]) as stream:
        assert (await stream.get_final_response()).output_text == greeted.output_text
    said = await official.responses.create(model="library", input="Hello", previous_response_id=greeted.id)
    assert (said.output_text, session_of(said)) == ("You said: Hello", session_of(greeted))


async def test_instructions_are_a_system_message_and_a_format_reaches_the_model(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(TextReply('{"guests": 4}'), TextReply("Four."))
    plain = {"desk": {"prompt": "Answer. {{system_message}}", "greeting": "Hello."}}
    await caller.push(library(model.string, nodes=plain))
    first = await official.responses.create(
        model="library",
        input="Four of us.",
        instructions="Speak in rhymes.",
        text={"format": {"type": "json_schema", "name": "booking", "schema": SCHEMA}},
    )
    assert "Speak in rhymes." in model.journal[0].instructions
    assert model.journal[0].body["response_format"]["json_schema"]["schema"] == SCHEMA
    await official.responses.create(
        model="library", input="In words?", instructions="Speak in prose.", previous_response_id=first.id
    )
    assert "Speak in prose." in model.journal[1].instructions
    assert "response_format" not in model.journal[1].body
    await caller.push(library(name="bookshop"))
    with pytest.raises(openai.BadRequestError) as refused:
        await official.responses.create(
            model="bookshop", input="Four.", text={"format": {"type": "json_schema", "name": "x", "schema": {}}}
        )
    assert refused.value.param == "text.format.schema"


async def test_a_failed_turn_is_an_error_and_a_failed_response(
    official: AsyncOpenAI, caller: Caller, scripted: Scripted
) -> None:
    gate = Gate()
    model = scripted(
        ErrorReply(400), TextReply("Here again."), InterruptedReply("I was about to", gate=gate), ErrorReply(400)
    )
    await caller.push(library(model.string))
    with pytest.raises(openai.InternalServerError) as failed:
        await official.responses.create(model="library", input="Hello")
    assert error_of(failed.value) == (502, "server_error", "model_failed", None)
    again = await official.responses.create(
        model="library", input="Hello?", conversation=failed.value.response.headers["x-session-id"]
    )
    assert again.output_text == "Here again."
    stream = await official.responses.create(model="library", input="More?", previous_response_id=again.id, stream=True)
    events = []
    async for event in stream:
        gate.open()
        events.append(event)
    assert events[-1].type == "response.failed"
    assert events[-1].response.error is not None
    kept = await official.responses.retrieve(events[-1].response.id)
    assert (kept.status, kept.error) == ("failed", events[-1].response.error)


async def test_a_response_alone_in_its_session_can_be_deleted(official: AsyncOpenAI, caller: Caller) -> None:
    await caller.push(library())
    only = await official.responses.create(model="library", input="One")
    await official.responses.delete(only.id)
    with pytest.raises(openai.NotFoundError) as gone:
        await official.responses.retrieve(only.id)
    assert gone.value.code == "not_found"
    with pytest.raises(openai.BadRequestError) as erased:
        await official.responses.create(model="library", input="Two", previous_response_id=only.id)
    assert error_of(erased.value)[2:] == ("previous_response_not_found", "previous_response_id")

    first = await official.responses.create(model="library", input="One")
    second = await official.responses.create(model="library", input="Two", previous_response_id=first.id)
    for response in (first, second):
        with pytest.raises(openai.BadRequestError) as refused:
            await official.responses.delete(response.id)
        assert refused.value.code == "response_in_conversation"
        assert f"DELETE /v1/sessions/{session_of(first)}" in refused.value.message
    assert (await official.responses.retrieve(first.id)).output_text == "You said: One"


UNSUPPORTED: list[tuple[dict[str, Any], str]] = [
    ({"store": False}, "store"),
    ({"background": True}, "background"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"text": {"format": {"type": "json_object"}}}, "text.format"),
    ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0]"),
    ({"input": " "}, "input"),
]


async def test_unsupported_parameters_are_refused_before_a_session_opens(official: AsyncOpenAI, caller: Caller) -> None:
    await caller.push(library())
    for parameters, param in UNSUPPORTED:
        with pytest.raises(openai.BadRequestError) as refused:
            await official.responses.create(**{"model": "library", "input": "Hello", **parameters})
        assert refused.value.param == param
    assert await caller.items("/v1/sessions") == []


async def test_a_response_belongs_to_its_organization_and_its_agent(
    official: AsyncOpenAI, caller: Caller, running_api: Any
) -> None:
    await caller.push(library())
    await caller.push(library(name="bookshop"))
    first = await official.responses.create(model="library", input="One")
    async with running_api.caller() as neighbour:
        await neighbour.push(library())
        assert (await neighbour.http.get(f"/v1/responses/{first.id}")).status_code == 404
        assert (await neighbour.http.delete(f"/v1/responses/{first.id}")).status_code == 404
        body = {"model": "library", "input": "Two", "previous_response_id": first.id}
        assert (await neighbour.http.post("/v1/responses", json=body)).status_code == 400
    with pytest.raises(openai.BadRequestError) as other:
        await official.responses.create(model="bookshop", input="Two", previous_response_id=first.id)
    assert error_of(other.value)[2:] == ("conversation_mismatch", "model")
    for unknown in ("resp_1_2", "nonsense", "resp_x"):
        with pytest.raises(openai.NotFoundError):
            await official.responses.retrieve(unknown)
    with pytest.raises(openai.BadRequestError) as both:
        await official.responses.create(
            model="library", input="Two", previous_response_id=first.id, conversation=session_of(first)
        )
    assert both.value.param == "previous_response_id"


async def test_a_repeat_with_its_key_gives_the_same_response(official: AsyncOpenAI, caller: Caller) -> None:
    await caller.push(library())
    first = await official.responses.create(model="library", input="One")
    answers = await asyncio.gather(
        *(
            official.responses.create(
                model="library",
                input="Two",
                previous_response_id=first.id,
                extra_headers={"Idempotency-Key": "attempt-1"},
            )
            for _ in range(3)
        )
    )
    assert len({answer.id for answer in answers}) == 1
    assert len((await caller.session(session_of(first)))["turns"]) == 3
