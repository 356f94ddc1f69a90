"""Ends of sessions, recorded rejections, and the session data that the store receives."""

from decimal import Decimal

import pytest

from domain.agents.definition import Limits
from domain.rejections import CommandRejected
from domain.sessions.timeline import MAX_REJECTION_CHARACTERS, Timeline, record_rejection
from domain.sessions.turn_completion import complete, events_so_far, take_unrecorded
from domain.turns.turn import TurnEvent
from domain.usage import Cost, merge_costs, merge_usage, unpriced_cost
from tests.support.conversation import Conversation, answered, kinds, rejection_of


@pytest.fixture
def talk() -> Conversation:
    return Conversation().greeted()


# --- ending -------------------------------------------------------------------------------------


def test_the_end_is_recorded_once_and_ending_again_changes_nothing(talk: Conversation) -> None:
    talk.end("done")
    ended = talk.timeline
    assert (ended.status, ended.completion_reason, ended.revision) == ("completed", "done", 3)
    assert ended.ended_at == talk.now
    assert talk.head.events[-1].type == "session_end"
    assert talk.head.events[-1].payload == {"reason": "done"}
    assert [(fact.type, fact.payload) for fact in ended.unrecorded.facts] == [
        ("session_completed", {"revision": 3, "reason": "done"})
    ]
    talk.end("again", expected_revision=0)
    assert talk.timeline is ended


@pytest.mark.parametrize("command", ["say", "rewind"])
def test_ended_session_takes_no_more_commands(talk: Conversation, command: str) -> None:
    talk.end()
    with pytest.raises(CommandRejected) as refused:
        getattr(talk, command)("t0")
    assert rejection_of(refused).code == "session_ended"


def test_a_session_can_end_before_its_first_turn() -> None:
    talk = Conversation()
    talk.end()
    assert talk.timeline.status == "completed"
    assert talk.timeline.unrecorded.facts


def test_reply_that_comes_after_the_end_is_billed_and_changes_no_revision(talk: Conversation) -> None:
    pending = talk.say("One.")
    talk.say("Two.", message_id="m2", on_busy="enqueue")
    talk.end()
    revision = talk.timeline.revision
    assert list(talk.timeline.pending) == [pending]
    assert kinds(talk.timeline.turns[pending]) == ["command_refused", "session_end"]
    talk.interrupt(turn_id=pending)
    assert (talk.timeline.status, talk.timeline.revision) == ("completed", revision)
    assert not talk.timeline.pending
    assert not talk.timeline.queue
    assert talk.timeline.cost.total == Decimal("0.02")


def test_reply_on_an_end_node_ends_the_session_as_one_change(talk: Conversation) -> None:
    talk.say("Bye.")
    talk.say("Wait!", on_busy="enqueue")
    revision = talk.timeline.revision
    talk.answer("Goodbye.", outcome="ended")
    assert (talk.timeline.status, talk.timeline.completion_reason) == ("completed", "end_node")
    assert talk.timeline.revision == revision + 1
    assert kinds(talk.head) == ["command_refused", "session_end"]


@pytest.mark.parametrize("close", ["answer", "fail", "interrupt"])
def test_session_ends_when_its_visible_branch_is_as_long_as_the_agent_allows(close: str) -> None:
    talk = Conversation(Limits(max_turns=3)).greeted()
    talk.exchange("One.")
    talk.rewind("t0")
    talk.exchange("Another one.")
    assert talk.timeline.status == "idle"
    talk.say("Two.")
    getattr(talk, close)()
    assert (talk.timeline.status, talk.timeline.completion_reason) == ("completed", "max_turns")


def test_session_ends_when_all_its_branches_together_cost_what_the_agent_allows() -> None:
    talk = Conversation(Limits(max_cost_usd=Decimal("0.03"))).greeted()
    talk.exchange("One.")
    talk.rewind("t0")
    talk.exchange("Another one.")
    assert (talk.timeline.status, talk.timeline.completion_reason) == ("completed", "max_cost")


def test_unpriced_model_is_named_and_reaches_no_cost_limit() -> None:
    talk = Conversation(Limits(max_cost_usd=Decimal("0.000001")))
    talk.say("One.")
    progress = answered(talk.head.id, "Hi.").model_copy(update={"cost": unpriced_cost("test:secret")})
    talk.timeline = complete(talk.timeline, progress, talk.limits, at=talk.tick())
    assert talk.timeline.status == "idle"
    assert talk.timeline.cost == Cost(unpriced_models=("test:secret",))


# --- recorded rejections, and changes for the store ---------------------------------------------


def test_a_rejection_is_noted_on_the_newest_visible_turn_and_raises_no_revision(talk: Conversation) -> None:
    talk.exchange("One.")
    talk.rewind("t0")
    before = talk.timeline
    rejection = CommandRejected("turn_not_found", "No such turn.", turn_id="x").rejection
    talk.timeline = record_rejection(before, "rewind_to", rejection, None, at=talk.tick())
    assert talk.head.events[-1].payload == {
        "command": "rewind_to",
        "message_id": None,
        "code": "turn_not_found",
        "detail": "No such turn.",
        "turn_id": "x",
    }
    assert (talk.timeline.revision, talk.timeline.version) == (before.revision, before.version + 1)


def test_a_rejection_while_rewound_to_the_start_is_noted_on_the_newest_turn(talk: Conversation) -> None:
    first = talk.exchange("One.")
    talk.rewind("t0", before=True)
    rejection = CommandRejected("validation_error", "Nonsense.").rejection
    talk.timeline = record_rejection(talk.timeline, "rewind_to", rejection, None, at=talk.tick())
    assert kinds(talk.timeline.turns[first]) == ["command_refused"]


def test_a_rejection_in_a_session_without_turns_changes_nothing() -> None:
    talk = Conversation()
    rejection = CommandRejected("validation_error", "Nonsense.").rejection
    assert record_rejection(talk.timeline, "rewind_to", rejection, None, at=talk.tick()) is talk.timeline


def test_the_note_of_a_rejection_is_bounded(talk: Conversation) -> None:
    endless = "x" * 100_000
    rejection = CommandRejected("turn_not_found", f"The turn {endless} is not here.", turn_id=endless).rejection
    talk.timeline = record_rejection(talk.timeline, "rewind_to", rejection, endless, at=talk.tick())
    payload = talk.head.events[-1].payload
    assert all(len(str(value)) <= MAX_REJECTION_CHARACTERS for value in payload.values())


def test_changes_are_taken_once(talk: Conversation) -> None:
    first = talk.exchange("One.")
    talk.rewind("t0")
    pending = talk.say("Another one.")
    timeline, unrecorded = take_unrecorded(talk.timeline)
    assert unrecorded.turn_ids == ("t0", first)
    assert [branch.leaf_turn_id for branch in unrecorded.branches] == [first]
    assert [fact.type for fact in unrecorded.facts] == ["rewound"]
    assert timeline.unrecorded.is_empty
    talk.timeline = timeline
    talk.answer(turn_id=pending)
    assert talk.timeline.unrecorded.turn_ids == (pending,)


def test_every_fact_has_a_unique_key(talk: Conversation) -> None:
    for turn_id in ("t0", "t0", None, "t0"):
        talk.rewind(turn_id)
    talk.end()
    keys = [fact.key for fact in talk.timeline.unrecorded.facts]
    assert len(set(keys)) == len(keys) == 5


def test_events_of_a_turn_keep_their_order_when_it_is_answered(talk: Conversation) -> None:
    turn_id = talk.say("One.")
    rejection = CommandRejected("turn_not_found", "No such turn.").rejection
    talk.timeline = record_rejection(talk.timeline, "rewind_to", rejection, None, at=talk.tick())
    moved = TurnEvent(type="node_transition", created_at=talk.tick(), payload={"to_node": "booking"})
    progress = answered(turn_id, "Sure.", events=(moved,))
    talk.timeline = complete(talk.timeline, progress, talk.limits, at=talk.tick())
    assert kinds(talk.head) == ["command_refused", "node_transition"]


def test_events_of_a_turn_that_were_recorded_before_its_end_keep_their_numbers(talk: Conversation) -> None:
    turn_id = talk.say("One.")
    moved = TurnEvent(type="node_transition", created_at=talk.tick(), payload={"to_node": "booking"})
    progress = answered(turn_id, "Sure.", events=(moved,))
    recorded = [event.type for event in events_so_far(talk.timeline.turns[turn_id], progress)]
    rejection = CommandRejected("turn_not_found", "No such turn.").rejection
    talk.timeline = record_rejection(talk.timeline, "rewind_to", rejection, None, at=talk.tick())
    talk.timeline = complete(talk.timeline, progress, talk.limits, at=talk.tick())
    assert recorded == ["node_transition"]
    assert kinds(talk.head) == [*recorded, "command_refused"]


def test_a_timeline_survives_as_json(talk: Conversation) -> None:
    talk.exchange("One.")
    talk.rewind("t0")
    talk.say("Another one.", message_id="m1")
    talk.say("And more.", message_id="m2", on_busy="enqueue")
    talk.fail()
    talk.answer("Ümlaut, 日本語, 🙂 and \x00.")
    talk.say("Late.", message_id="m3")
    talk.end()
    assert Timeline.model_validate_json(talk.timeline.model_dump_json()) == talk.timeline


def test_the_cost_is_the_sum_over_the_turns_of_all_branches(talk: Conversation) -> None:
    talk.exchange("One.")
    talk.rewind("t0")
    talk.exchange("Another one.")
    turns = talk.timeline.turns.values()
    assert talk.timeline.usage == merge_usage(turn.usage for turn in turns)
    assert talk.timeline.cost == merge_costs(turn.cost for turn in turns)
    assert talk.timeline.usage.requests == 3
