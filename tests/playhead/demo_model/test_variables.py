"""Variables that the demo model extracts from conversations with the example agents."""

import pytest
from pydantic import JsonValue
from pydantic_ai.messages import ModelMessagesTypeAdapter

from activities.llm.interface import RecordCall
from domain.agents.definition import Extraction
from domain.turns.extraction import (
    EXTRACTION_CUE,
    EXTRACTION_INSTRUCTIONS,
    RECORD_TOOL,
    extracted_values,
    extraction_schema,
)
from playhead.services.model_providers import build_providers
from tests.playhead.demo_model.test_conversations import Call, example, hold

BOOKING = example("booking-line")


async def recorded(call: Call, *wanted: Extraction) -> dict[str, JsonValue]:
    """The variables that the demo model extracts, by default those of a booking."""
    variables = wanted or BOOKING.nodes["booking"].extract
    history = ModelMessagesTypeAdapter.dump_json(call.history).decode()
    answer = await build_providers(prices={}).record(
        RecordCall(
            model="demo",
            instructions=EXTRACTION_INSTRUCTIONS,
            history=(history,),
            asked=EXTRACTION_CUE,
            tool=RECORD_TOOL,
            description="Record what was found.",
            schema=extraction_schema(variables),
            timeout=5.0,
        )
    )
    [recorded] = answer.reply.tool_calls
    assert recorded.name == RECORD_TOOL
    assert answer.reply.usage.llm.keys() == {"demo:scripted"}
    assert answer.reply.usage.total_tokens > 0
    assert answer.reply.cost.total == 0
    return extracted_values(variables, recorded.arguments)


@pytest.mark.parametrize(
    ("messages", "known"),
    [
        (
            ("Hi, I'd like to book a table please", "Friday", "at 8pm", "four", "Rossi"),
            {"date": "Friday", "time": "8pm", "party_size": 4, "name": "Rossi"},
        ),
        (
            ("Table for 4 tomorrow at 7:30 pm, my name is Anna Bell",),
            {"date": "tomorrow", "time": "7:30 pm", "party_size": 4, "name": "Anna Bell"},
        ),
        (
            ("Could I reserve a table for two on 12 June at 19:30?", "It's Dana", "actually make it 6 people"),
            {"date": "12 June", "time": "19:30", "party_size": 6, "name": "Dana"},
        ),
        (("I'd like to book a table", "On Friday"), {"date": "Friday"}),
        (("Hello", "Are you open on Mondays?"), {}),
    ],
    ids=["step by step", "in one sentence", "changed", "begun", "only asked"],
)
async def test_variables_of_a_booking_are_extracted_from_the_messages(
    messages: tuple[str, ...], known: dict[str, JsonValue]
) -> None:
    assert await recorded(await hold(BOOKING, *messages)) == known


async def test_nothing_is_recorded_before_the_first_message() -> None:
    assert await recorded(await Call(BOOKING).begin()) == {}


async def test_a_variable_that_the_demo_model_does_not_understand_is_left_out() -> None:
    call = await hold(BOOKING, "Table for 4 tomorrow at 7:30 pm, my name is Anna Bell")
    wanted = (Extraction(name="mood"), Extraction(name="vip", type="boolean"), Extraction(name="date", type="number"))
    assert await recorded(call, *wanted) == {}
