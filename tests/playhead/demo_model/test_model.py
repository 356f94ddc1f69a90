"""The demo model as a pydantic-ai model: streams, usage, names, and reproducible replies."""

from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition

from playhead.demo_model.model import demo_model

PROMPT = """You speak for Osteria Fiorella, an Italian restaurant.

Find out what the caller wants: a table, or an answer to a question."""


def one_request(text: str = "I'd like to book a table") -> tuple[list[ModelMessage], ModelRequestParameters]:
    tools = [
        ToolDefinition(name="to_booking", description="the caller wants to book a table"),
        ToolDefinition(name="to_questions", description="the caller asks about the menu"),
    ]
    messages: list[ModelMessage] = [ModelRequest(parts=[UserPromptPart(text)], instructions=PROMPT)]
    return messages, ModelRequestParameters(function_tools=tools)


@given(st.text(max_size=400))
@settings(max_examples=150, deadline=None)
async def test_any_text_gets_the_same_answer_twice_and_never_an_error(text: str) -> None:
    messages, tools = one_request(text)
    first, second = [await model_request(demo_model(), messages, model_request_parameters=tools) for _ in range(2)]
    assert _content(first) == _content(second)
    assert first.usage == second.usage


def _content(response: ModelResponse) -> list[tuple[str, str]]:
    return [
        (part.content, "") if isinstance(part, TextPart) else (part.tool_name, part.tool_call_id)
        for part in response.parts
        if isinstance(part, TextPart | ToolCallPart)
    ]


@pytest.mark.parametrize("text", ["I'd like to book a table", "hello", "something else entirely"])
@pytest.mark.parametrize("delay", [0.0, 0.001])
async def test_a_streamed_reply_equals_the_unstreamed_one(text: str, delay: float) -> None:
    messages, tools = one_request(text)
    whole = await model_request(demo_model(), messages, model_request_parameters=tools)
    async with model_request_stream(
        demo_model(delay_seconds=delay), messages, model_request_parameters=tools
    ) as stream:
        events = [event async for event in stream]
    streamed = stream.get()
    assert _content(streamed) == _content(whole)
    assert streamed.usage == whole.usage
    assert streamed.finish_reason == whole.finish_reason
    assert (streamed.model_name, streamed.provider_name) == (whole.model_name, whole.provider_name)
    assert streamed.state == "complete"
    assert events


async def test_a_slow_reply_comes_in_many_pieces_and_a_fast_one_in_one() -> None:
    pieces = {}
    for delay in (0.0, 0.2):
        messages, tools = one_request("hello")
        async with model_request_stream(
            demo_model(delay_seconds=delay), messages, model_request_parameters=tools
        ) as stream:
            kinds = [event.event_kind async for event in stream]
            pieces[delay] = kinds.count("part_start") + kinds.count("part_delta")
    assert pieces[0.0] == 1
    assert pieces[0.2] == 4, "one in 50 ms"


async def test_a_streamed_reply_takes_its_time_and_no_word_is_lost() -> None:
    messages, tools = one_request("hello")
    whole = await model_request(demo_model(), messages, model_request_parameters=tools)
    began = monotonic()
    async with model_request_stream(demo_model(delay_seconds=0.3), messages, model_request_parameters=tools) as stream:
        async for _ in stream:
            pass
    assert monotonic() - began >= 0.3
    assert _content(stream.get()) == _content(whole)


async def test_usage_of_a_cut_stream_counts_only_the_streamed_text() -> None:
    messages, tools = one_request("hello")
    whole = await model_request(demo_model(), messages, model_request_parameters=tools)
    async with model_request_stream(demo_model(delay_seconds=0.2), messages, model_request_parameters=tools) as stream:
        async for _ in stream:
            break
    assert stream.usage.input_tokens == whole.usage.input_tokens
    assert 0 < stream.usage.output_tokens < whole.usage.output_tokens
    assert stream.finish_reason is None


async def test_usage_counts_all_messages_of_a_request_even_those_that_no_rule_reads() -> None:
    """Requests are cut by the provider's token counts: a provider that counts too few is sent ever longer requests."""
    messages, tools = one_request()
    exchange: list[ModelMessage] = [ModelRequest(parts=[UserPromptPart("x" * 40)]), ModelResponse([TextPart("y" * 40)])]
    counted = []
    for exchanges in (100, 200, 300):
        response = await model_request(demo_model(), [*exchange * exchanges, *messages], model_request_parameters=tools)
        counted.append(response.usage.input_tokens)
    assert counted[1] - counted[0] == counted[2] - counted[1] == 100 * 80 // 4


async def test_a_reply_reports_its_provider_model_usage_and_finish_reason() -> None:
    responses = []
    for text in ("hello", "I'd like to book a table"):
        messages, tools = one_request(text)
        responses.append(await model_request(demo_model(), messages, model_request_parameters=tools))
    text_reply, transition = responses
    assert (text_reply.provider_name, text_reply.model_name) == ("demo", "scripted")
    assert (demo_model().system, demo_model().model_name) == ("demo", "scripted")
    assert (text_reply.finish_reason, transition.finish_reason) == ("stop", "tool_call")
    for response in responses:
        assert response.usage.input_tokens > len(PROMPT) // 10
        assert response.usage.output_tokens > 0
    assert not [part for part in transition.parts if isinstance(part, TextPart)]


async def test_a_tool_with_parameters_is_left_alone() -> None:
    messages, _ = one_request("I'd like to find a table")
    schema = {"type": "object", "properties": {"day": {"type": "string"}}}
    tools = ModelRequestParameters(
        function_tools=[ToolDefinition(name="find_table", description="finds a table", parameters_json_schema=schema)]
    )
    response = await model_request(demo_model(), messages, model_request_parameters=tools)
    assert isinstance(response.parts[0], TextPart)


def test_a_delay_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="must be 0 or more"):
        demo_model(delay_seconds=-1)
