"""The revision that a recorded fact names, requests for approval, and the time to the first word of a turn."""

from datetime import timedelta

from domain.agents.definition import Limits
from domain.sessions import approvals
from domain.sessions.timeline import WaitingApproval
from domain.sessions.turn_completion import complete
from store.sessions.event_log import events_of
from tests.support.conversation import Conversation, answered


def revisions(talk: Conversation) -> list[tuple[str, object]]:
    """The unrecorded facts of a conversation, with the revisions they name."""
    return [(fact.type, fact.payload["revision"]) for fact in talk.timeline.unrecorded.facts]


def test_every_fact_names_the_revision_that_its_change_led_to() -> None:
    talk = Conversation().greeted()
    talk.exchange("A table, please.")
    assert talk.timeline.revision == 4
    talk.rewind(talk.visible[0])
    talk.end()
    assert revisions(talk) == [("rewound", 5), ("session_completed", 6)]
    assert talk.timeline.revision == 6


def test_a_queued_turn_and_an_end_by_a_limit_raise_no_revision_of_their_own() -> None:
    talk = Conversation(Limits(max_turns=3)).greeted()
    talk.say("One.")
    talk.say("Two.", on_busy="enqueue")
    assert talk.timeline.revision == 4
    talk.answer()
    assert talk.timeline.revision == 5
    talk.answer()
    assert talk.timeline.is_completed
    assert revisions(talk) == [("session_completed", 6)]
    assert talk.timeline.revision == 6


def test_a_request_for_approval_is_an_event_of_its_turn() -> None:
    talk = Conversation().greeted()
    asked = talk.say("My money back.")
    waiting = WaitingApproval(
        call_id="c1",
        turn_id=asked,
        tool="refund",
        arguments={"amount": 40},
        requested_at=talk.now,
        expires_at=talk.now + timedelta(minutes=5),
    )
    requested = approvals.request(talk.timeline, waiting, at=talk.tick())
    (event,) = events_of([], requested.unrecorded.facts)
    assert (event.type, event.turn_id) == ("approval_requested", asked)
    assert event.payload == {
        "revision": talk.timeline.revision,
        "call_id": "c1",
        "turn_id": asked,
        "tool": "refund",
        "arguments": {"amount": 40},
        "reason": "",
        "expires_at": "2026-01-01T12:05:03Z",
    }


def test_the_first_word_counts_from_the_message() -> None:
    talk = Conversation().greeted()
    asked = talk.say("One.")
    opened_at = talk.timeline.turns[asked].created_at
    said = answered(asked, "Certainly.").with_first_word(opened_at + timedelta(seconds=0.42))
    assert said.with_first_word(opened_at + timedelta(seconds=9)) == said, "the first word stays the first"
    talk.timeline = complete(talk.timeline, said, talk.limits, at=talk.tick())
    assert talk.head.first_word == 0.42
    assert talk.head.turn_usage.first_word_seconds == 0.42
    assert talk.head.turn_usage.duration_seconds == 1.0
    silent = answered("t9").with_first_word(opened_at)
    assert silent.first_word_at is None
