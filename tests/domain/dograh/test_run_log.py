"""The run log: the visible turns in dograh's format, growing turn by turn."""

import json
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from domain.agents.definition import AgentDefinition, Origin, parse_definition
from domain.dograh.run_log import FeedbackEvent, events_of_turn, realtime_feedback_events
from domain.turns.engine import ModelReply, ToolCall, TurnProgress, apply_reply, begin_turn, start_checkpoint
from domain.turns.turn import AssistantMessage, EventType, Turn, TurnEvent, UserMessage
from tests.support.conversation import BEGINNING, Conversation

AGENT: AgentDefinition = parse_definition(
    {
        "name": "booking-line",
        "start": "greet",
        "nodes": {
            "greet": {
                "prompt": "Ask.",
                "greeting": "Good evening.",
                "transitions": [{"name": "To booking", "when": "a table is wanted", "to": "booking"}],
            },
            "booking": {
                "prompt": "Book.",
                "transitions": [
                    {"name": "again", "when": "it starts over", "to": "booking"},
                    {"name": "done", "when": "it is booked", "to": "goodbye"},
                ],
            },
            "goodbye": {"prompt": "Say goodbye.", "end": True},
        },
    }
)


def after(seconds: float) -> datetime:
    return BEGINNING + timedelta(seconds=seconds)


def event(kind: EventType, seconds: float, **payload: JsonValue) -> TurnEvent:
    return TurnEvent(type=kind, created_at=after(seconds), payload=payload)


def turn(index: int = 0, *events: TurnEvent, user: str | None = None, assistant: str | None = None) -> Turn:
    """A turn of ten seconds; the answer comes at the end of it."""
    opened = 10 * index
    return Turn(
        id=f"t{index}",
        parent_id=f"t{index - 1}" if index else None,
        index=index,
        created_at=after(opened),
        user_message=UserMessage(text=user, created_at=after(opened)) if user is not None else None,
        assistant_message=AssistantMessage(text=assistant, created_at=after(opened + 9)) if assistant else None,
        events=events,
    )


def shown(entries: list[FeedbackEvent] | tuple[FeedbackEvent, ...]) -> list[Any]:
    return [entry.model_dump(mode="json", exclude_none=True) for entry in entries]


def types(entries: list[FeedbackEvent] | tuple[FeedbackEvent, ...]) -> list[str]:
    return [entry.type.removeprefix("rtf-") for entry in entries]


def test_a_greeting_enters_the_start_node_and_is_logged() -> None:
    greeted = begin_turn(AGENT, start_checkpoint(AGENT), turn_id="t0", user_text=None, at=after(0), initial_context={})
    entries = events_of_turn(turn(0, *greeted.events, assistant=greeted.text))
    assert shown(entries) == [
        {
            "type": "rtf-node-transition",
            "timestamp": "2026-01-01T12:00:00+00:00",
            "turn": 0,
            "node_id": "greet",
            "node_name": "greet",
            "payload": {
                "node_id": "greet",
                "node_name": "greet",
                "previous_node_id": None,
                "previous_node_name": None,
                "allow_interrupt": False,
            },
        },
        {
            "type": "rtf-bot-text",
            "timestamp": "2026-01-01T12:00:09+00:00",
            "turn": 0,
            "payload": {"text": "Good evening.", "timestamp": "2026-01-01T12:00:09+00:00"},
        },
    ]


def answer_of(*replies: ModelReply) -> TurnProgress:
    """Answer a message at the start node, with a second between the model's replies."""
    checkpoint = start_checkpoint(AGENT).model_copy(update={"entered": True})
    progress = begin_turn(AGENT, checkpoint, turn_id="t1", user_text="A table", at=after(10), initial_context={})
    for number, reply in enumerate(replies, start=1):
        progress = apply_reply(AGENT, progress, reply, at=after(10 + number), initial_context={})
    return progress


def called(name: str) -> ModelReply:
    return ModelReply(tool_calls=(ToolCall(id=f"call_{name}", name=name),))


def test_a_turn_with_transitions_and_calls_is_logged_in_time_order() -> None:
    progress = answer_of(called("nowhere"), called("to_booking"), called("done"), ModelReply(text="Goodbye."))
    entries = events_of_turn(turn(1, *progress.events, user="A table", assistant=progress.text))
    assert types(entries) == [
        "user-transcription",
        "function-call-start",
        "function-call-end",
        *["function-call-start", "node-transition", "function-call-end"] * 2,
        "bot-text",
    ]
    assert shown(entries)[0]["payload"] == {
        "text": "A table",
        "final": True,
        "timestamp": "2026-01-01T12:00:10+00:00",
    }
    assert shown(entries)[1]["payload"] == {
        "function_name": "nowhere",
        "tool_call_id": "call_nowhere",
        "arguments": {},
    }
    ended = shown(entries)[2]["payload"]
    assert ended.keys() == {"function_name", "tool_call_id", "result"}
    assert ended["result"].startswith("There is no tool named nowhere here.")
    moves = [entry for entry in entries if entry.node_id]
    assert [(entry.payload["previous_node_id"], entry.node_id) for entry in moves] == [
        ("greet", "booking"),
        ("booking", "goodbye"),
    ]
    assert {entry.turn for entry in entries} == {1}


def test_a_transition_back_to_the_same_node_enters_nothing() -> None:
    progress = answer_of(called("to_booking"), called("again"), ModelReply(text="Once more."))
    entries = events_of_turn(turn(1, *progress.events, user="A table", assistant=progress.text))
    assert [kind for kind in types(entries) if not kind.startswith("function-call")] == [
        "user-transcription",
        "node-transition",
        "bot-text",
    ]


def test_nodes_of_an_import_are_logged_under_their_names_in_the_export() -> None:
    moved = event("node_transition", 1, from_node="greet", to_node="booking")
    origins = {"greet": Origin(id="1", name="Greet"), "booking": Origin(id="2", name="Book a table")}
    (entry,) = events_of_turn(turn(0, moved), origins.__getitem__)
    assert (entry.node_id, entry.node_name) == ("2", "Book a table")
    assert entry.payload == {
        "node_id": "2",
        "node_name": "Book a table",
        "previous_node_id": "1",
        "previous_node_name": "Greet",
        "allow_interrupt": False,
    }


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("two tables", "two tables"),
        ({"tables": ["früh", 2]}, '{"tables": ["früh", 2]}'),
        ([], "[]"),
        (3.5, "3.5"),
        (True, "true"),
        (None, None),
    ],
    ids=str,
)
def test_a_tool_result_is_logged_as_text(result: JsonValue, text: str | None) -> None:
    (entry,) = events_of_turn(turn(0, event("tool_call_result", 1, call_id="c", name="find", result=result)))
    assert entry.payload == {"function_name": "find", "tool_call_id": "c", "result": text}


def test_a_failed_turn_is_logged_with_its_error() -> None:
    talk = Conversation().greeted()
    talk.say("Hello?")
    talk.fail("The model is away.")
    entries = events_of_turn(talk.head)
    assert types(entries) == ["user-transcription", "pipeline-error"]
    assert entries[1].payload == {"error": "The model is away.", "fatal": True}


def test_events_without_a_log_entry_are_left_out() -> None:
    kinds: list[EventType] = ["variables_extracted", "command_refused", "session_end"]
    assert events_of_turn(turn(0, *[event(kind, 1) for kind in kinds])) == ()


def test_a_node_transition_without_a_target_is_left_out() -> None:
    assert events_of_turn(turn(0, event("node_transition", 1))) == ()


def test_entries_with_the_same_time_begin_with_the_user_and_end_with_the_agent() -> None:
    said = turn(0, event("node_transition", 0, from_node=None, to_node="greet"), user="Hello?")
    answer = AssistantMessage(text="Hello.", created_at=said.created_at)
    entries = events_of_turn(said.model_copy(update={"assistant_message": answer}))
    assert types(entries) == ["user-transcription", "node-transition", "bot-text"]


def test_only_the_visible_branch_is_logged() -> None:
    talk = Conversation().greeted()
    first = talk.exchange("A table for two.", "For when?")
    talk.exchange("Tonight.", "Tonight is full.")
    talk.rewind(first)
    talk.exchange("Tomorrow.", "Booked.")
    entries = realtime_feedback_events(reversed(list(talk.timeline.visible_turns())))
    assert [entry.payload["text"] for entry in entries] == [
        "Good evening.",
        "A table for two.",
        "For when?",
        "Tomorrow.",
        "Booked.",
    ]
    assert [entry.turn for entry in entries] == [0, 1, 1, 2, 2]


def test_a_queued_message_is_logged_when_its_turn_opens() -> None:
    talk = Conversation().greeted()
    talk.say("A table for two.")
    talk.say("By the window.", on_busy="enqueue")
    talk.answer("For when?")
    talk.answer("A window table it is.")
    entries = realtime_feedback_events(reversed(list(talk.timeline.visible_turns())))
    assert [entry.payload["text"] for entry in entries[1:]] == [
        "A table for two.",
        "For when?",
        "By the window.",
        "A window table it is.",
    ]
    assert all(before.timestamp <= later.timestamp for before, later in pairwise(entries))
    assert all(entry.payload["timestamp"] == entry.timestamp.isoformat() for entry in entries)


SECONDS = st.integers(0, 9)
HAPPENED = st.builds(
    event,
    st.sampled_from(["node_transition", "tool_call_started", "tool_call_result", "execution_error", "session_end"]),
    SECONDS,
    to_node=st.sampled_from(["greet", "booking"]) | st.none() | st.integers(),
    from_node=st.sampled_from(["greet", "booking"]) | st.none(),
    result=st.none() | st.text() | st.lists(st.booleans()),
)


@given(st.lists(st.lists(HAPPENED, max_size=4), max_size=4))
def test_a_log_is_the_logs_of_its_turns_in_time_order(happened: list[list[TurnEvent]]) -> None:
    turns = [
        turn(
            index,
            *[
                each.model_copy(update={"created_at": each.created_at + timedelta(seconds=10 * index)})
                for each in events
            ],
            user="Hello?",
            assistant="Hello.",
        )
        for index, events in enumerate(happened)
    ]
    log = realtime_feedback_events(turns)
    assert log == [entry for each in turns for entry in events_of_turn(each)]
    assert all(before.timestamp <= later.timestamp for before, later in pairwise(log))
    assert [FeedbackEvent.model_validate(json.loads(json.dumps(each))) for each in shown(log)] == log


def test_an_interrupted_reply_is_logged_up_to_its_end() -> None:
    talk = Conversation().greeted()
    talk.say("Tell me everything.")
    talk.interrupt("It began")
    assert types(events_of_turn(talk.head)) == ["user-transcription", "bot-text"]


def test_a_pending_turn_is_logged_with_what_it_has_so_far() -> None:
    talk = Conversation().greeted()
    talk.say("Hello?")
    pending = events_of_turn(talk.head)
    assert types(pending) == ["user-transcription"]
    talk.answer("Hello.")
    assert events_of_turn(talk.head)[: len(pending)] == pending
