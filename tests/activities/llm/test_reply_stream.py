"""The context of a streamed step: the turn as it began, whichever of its steps is the first to be streamed."""

import json
from datetime import UTC, datetime

from activities.llm.reply_stream import stream_context_of
from contracts.sessions import AgentRef, GenerateStepInput, TurnStart
from domain.turns.turn import Message, UserSaid

AT = datetime(2026, 11, 28, tzinfo=UTC)
OPENING = TurnStart(parent_id="turn_0", index=1, created_at=AT, said_at=AT, message_id="m-1")
QUESTION = "A table, please."
EARLIER = json.dumps([{"kind": "request", "parts": [{"part_kind": "user-prompt", "content": "Good evening."}]}])
FIRST = json.dumps(
    [
        {"kind": "request", "parts": [{"part_kind": "user-prompt", "content": QUESTION}]},
        {"kind": "response", "parts": [{"part_kind": "tool-call", "tool_name": "to_booking", "tool_call_id": "1"}]},
    ]
)
SECOND = json.dumps(
    [
        {"kind": "request", "parts": [{"part_kind": "tool-return", "content": "{}", "tool_call_id": "1"}]},
        {"kind": "response", "parts": [{"part_kind": "tool-call", "tool_name": "find_table", "tool_call_id": "2"}]},
    ]
)


def step(number: int, *messages: Message) -> GenerateStepInput:
    return GenerateStepInput(
        session_id="ses_1",
        organization_id="org_1",
        turn_id="turn_1",
        step=number,
        agent=AgentRef(id="agt_1", version=1),
        model="demo",
        node_id="booking",
        after="",
        messages=messages,
    )


def test_the_first_step_has_the_user_message_among_its_own() -> None:
    context = stream_context_of(step(0, UserSaid(text=QUESTION)), OPENING, 1, saved=[EARLIER])
    assert context.turn.user_message
    assert context.turn.user_message.text == QUESTION


def test_a_later_step_that_is_streamed_first_takes_the_user_message_from_the_first_step() -> None:
    for number, saved in ((1, [EARLIER, FIRST]), (2, [EARLIER, FIRST, SECOND])):
        context = stream_context_of(step(number), OPENING, 1, saved=saved)
        assert context.turn.user_message
        assert context.turn.user_message.text == QUESTION
        assert context.turn.user_message.message_id == "m-1"


def test_a_greeting_has_no_user_message_in_any_step() -> None:
    greeting = OPENING.model_copy(update={"said_at": None, "message_id": None})
    cue = json.dumps([{"kind": "request", "parts": [{"part_kind": "user-prompt", "content": "(The call begins.)"}]}])
    assert stream_context_of(step(1), greeting, 1, saved=[cue]).turn.user_message is None
