"""Sessions in the JSON of dograh's text chat."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import JsonValue

from api.dograh.runs import run_of
from api.dograh.schemas import TextSession
from api.dograh.text_sessions import text_session
from domain.agents.definition import AgentDefinition, parse_definition
from domain.rejections import CommandRejected
from domain.sessions.timeline import record_rejection
from domain.sessions.turn_completion import complete
from domain.sessions.views import view_of
from domain.turns.turn import TurnEvent
from store.sessions.sessions import StoredSession
from tests.support.conversation import BEGINNING, Conversation, answered

AGENT: AgentDefinition = parse_definition(
    {
        "name": "booking-line",
        "start": "greet",
        "nodes": {
            "greet": {
                "prompt": "Ask.",
                "origin": {"id": "1", "name": "Greet"},
                "transitions": [{"name": "book", "when": "a table is wanted", "to": "booking"}],
            },
            "booking": {"prompt": "Book.", "end": True},
        },
    }
)


def session(**changes: Any) -> StoredSession:
    given: dict[str, Any] = {
        "id": "ses_1",
        "number": 17,
        "organization_id": "org",
        "agent_id": "agt_1",
        "agent_version": 3,
        "agent_name": "booking-line",
        "agent_number": 5,
        "name": "WR-TEXT-ABCDEF",
        "model": "demo",
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "initial_context": {"first_name": "Ada"},
        "annotations": {},
    }
    return StoredSession(**{**given, **changes})


def rendered(talk: Conversation, **changes: Any) -> TextSession:
    return text_session(session(**changes), view_of(talk.timeline, AGENT, "run-1"), AGENT)


def test_numbers_and_names_are_those_of_agent_and_session() -> None:
    shown = rendered(Conversation().greeted())
    assert (shown.workflow_run_id, shown.workflow_id, shown.mode) == (17, 5, "textchat")
    run = run_of(session(), view_of(Conversation().greeted().timeline, AGENT, "run-1"), AGENT)
    assert (run.id, run.workflow_id, run.definition_id) == (17, 5, 3)


def test_before_the_greeting_the_checkpoint_is_empty() -> None:
    checkpoint = rendered(Conversation()).checkpoint.model_dump(mode="json")
    assert checkpoint == {
        "version": 1,
        "anchor_turn_id": None,
        "current_node_id": None,
        "messages": [],
        "gathered_context": {},
        "tool_state": {},
    }


def test_a_node_of_an_import_has_the_id_of_its_export_and_any_other_its_own() -> None:
    talk = Conversation().greeted()
    assert rendered(talk).checkpoint.current_node_id == "1"
    turn_id = talk.say("A table.")
    talk.timeline = complete(talk.timeline, answered(turn_id, "Sure.", node_id="booking"), talk.limits, at=talk.tick())
    assert rendered(talk).checkpoint.current_node_id == "booking"


def test_a_turn_that_was_stopped_has_failed_and_left_no_checkpoint() -> None:
    talk = Conversation().greeted()
    talk.say("Tell me everything.")
    talk.interrupt("It began")
    (_, stopped) = rendered(talk).model_dump(mode="json")["session_data"]["turns"]
    assert (stopped["status"], stopped["assistant_message"]["text"]) == ("failed", "It began")
    assert "checkpoint_after_turn" not in stopped
    assert [message.content for message in rendered(talk).checkpoint.messages] == ["Good evening."]


def test_events_unknown_to_dograh_are_left_out() -> None:
    talk = Conversation().greeted()
    turn_id = talk.say("Four of us.")
    learned = TurnEvent(type="variables_extracted", created_at=talk.now, payload={"variables": {"guests": 4}})
    talk.timeline = complete(talk.timeline, answered(turn_id, "Noted.", events=(learned,)), talk.limits, at=talk.tick())
    rejection = CommandRejected("turn_in_progress", "Wait.").rejection
    talk.timeline = record_rejection(talk.timeline, "send_message", rejection, None, at=talk.tick())
    assert rendered(talk).session_data.turns[-1].events == ()


@pytest.mark.parametrize(
    ("reason", "disposition"),
    [
        ("user_hangup", "user_hangup"),
        ("user_idle_max_duration_exceeded", "user_idle_max_duration_exceeded"),
        ("end_node", "user_qualified"),
        ("the building burns", "the building burns"),
    ],
)
def test_the_end_is_shown_as_a_disposition_beside_the_gathered_context(reason: str, disposition: str) -> None:
    talk = Conversation().greeted()
    learn(talk, guests=4)
    talk.end(reason)
    assert rendered(talk).gathered_context == {
        "guests": 4,
        "nodes_visited": [],
        "extracted_variables": {},
        "call_status": disposition,
        "call_disposition": disposition,
        "mapped_call_disposition": disposition,
        "call_tags": [disposition],
    }
    assert rendered(talk).checkpoint.gathered_context == {"guests": 4}
    assert rendered(talk).session_data.turns[-1].events[-1].payload == {"reason": disposition}


@pytest.mark.parametrize(
    ("learned", "tags"),
    [
        (["vip"], ["vip", "user_hangup"]),
        (["user_hangup"], ["user_hangup"]),
        ("vip", ["user_hangup"]),
        (None, ["user_hangup"]),
    ],
    ids=str,
)
def test_the_disposition_joins_the_tags_once(learned: JsonValue, tags: list[str]) -> None:
    talk = Conversation().greeted()
    learn(talk, call_tags=learned)
    assert rendered(talk).gathered_context["call_tags"] == learned
    talk.end()
    assert rendered(talk).gathered_context["call_tags"] == tags


def learn(talk: Conversation, **gathered: JsonValue) -> None:
    """An exchange that gathers these variables."""
    progress = answered(talk.say("A table."), "Sure.").model_copy(update={"gathered_context": gathered})
    talk.timeline = complete(talk.timeline, progress, talk.limits, at=talk.tick())


@pytest.mark.parametrize(
    ("kept", "enabled", "config"),
    [
        (None, False, {}),
        ({}, False, {}),
        ({"enabled": True, "config": {"persona": "rushed"}}, True, {"persona": "rushed"}),
        ({"enabled": "yes", "config": 3}, False, {}),
    ],
    ids=str,
)
def test_the_simulator_is_valid_whatever_is_stored(
    kept: dict[str, JsonValue] | None, enabled: bool, config: JsonValue
) -> None:
    simulator = rendered(Conversation(), simulator=kept).session_data.simulator
    assert (simulator.enabled, simulator.config) == (enabled, config)


def test_variables_fetched_before_the_opening_join_the_initial_context() -> None:
    view = view_of(Conversation().greeted().timeline, AGENT, "run-1")
    fetched = view.model_copy(update={"head": view.head.model_copy(update={"fetched_context": {"visits": 2}})})
    assert text_session(session(), fetched, AGENT).initial_context == {"first_name": "Ada", "visits": 2}


def test_times_in_the_conversation_have_a_numeric_offset() -> None:
    shown = rendered(Conversation().greeted()).model_dump(mode="json")
    assert shown["session_data"]["turns"][0]["created_at"] == "2026-01-01T12:00:01+00:00"
    assert shown["created_at"] == "2026-01-01T00:00:00Z"
    assert BEGINNING.isoformat() == "2026-01-01T12:00:00+00:00"
