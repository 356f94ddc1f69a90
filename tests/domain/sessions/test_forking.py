"""Forks: a new session with the past of another, billed for its own turns only."""

from decimal import Decimal

import pytest

from domain.agents.definition import Limits
from domain.rejections import CommandRejected
from domain.sessions.timeline import ForkPoint, Timeline
from domain.sessions.turn_completion import take_unrecorded
from domain.usage import Cost, Usage
from tests.support.conversation import Conversation, kinds, rejection_of


@pytest.fixture
def source() -> Conversation:
    """The greeting t0 and the turns t1 and t2."""
    talk = Conversation().greeted()
    talk.exchange("One.")
    talk.exchange("Two.", "Certainly, two.")
    return talk


def forked(source: Conversation, limits: Limits | None = None) -> Conversation:
    """A session that continues all visible turns of another."""
    return Conversation(limits).forked_from(source)


def test_a_fork_begins_with_the_past_of_its_source_and_no_cost(source: Conversation) -> None:
    talk = forked(source)
    assert talk.visible == ["t0", "t1", "t2"]
    assert list(talk.timeline.visible_turns()) == list(source.timeline.visible_turns())
    assert talk.timeline.forked_from == ForkPoint(session_id="ses_source", turn_id="t2")
    assert (talk.timeline.usage, talk.timeline.cost) == (Usage(), Cost())
    assert (talk.timeline.status, talk.timeline.revision) == ("idle", 1)
    assert talk.timeline.created_at == talk.now, "its time is its own"


def test_a_fork_continues_where_its_source_was_and_counts_its_own_turns(source: Conversation) -> None:
    talk = forked(source)
    turn_id = talk.exchange("Three.")
    assert talk.timeline.checkpoint_before(talk.head.parent_id) == source.head.checkpoint
    assert (talk.head.index, talk.head.parent_id) == (3, "t2")
    assert talk.timeline.cost == talk.timeline.turns[turn_id].cost
    assert source.visible == ["t0", "t1", "t2"]


def test_the_cost_limit_of_a_fork_counts_only_its_own_cost(source: Conversation) -> None:
    talk = forked(source, Limits(max_cost_usd=Decimal("0.02")))
    talk.exchange("Three.")
    assert not talk.timeline.is_completed
    talk.exchange("Four.")
    assert talk.timeline.completion_reason == "max_cost"


def test_message_ids_of_the_source_are_free_in_a_fork(source: Conversation) -> None:
    source.exchange("Three.")
    source.say("Four.", message_id="m1")
    source.answer()
    talk = forked(source)
    turn_id = talk.say("Other words.", message_id="m1")
    assert talk.timeline.remembered["m1"].turn_id == turn_id


def test_shared_turns_are_not_recorded_again(source: Conversation) -> None:
    talk = forked(source)
    unrecorded = talk.timeline.unrecorded
    assert (unrecorded.turn_ids, unrecorded.branches) == ((), ())
    (fact,) = unrecorded.facts
    assert (fact.type, fact.payload) == ("session_forked", {"revision": 1, "session_id": "ses_source", "turn_id": "t2"})


def test_a_shared_turn_with_a_new_event_is_recorded_as_taken_over(source: Conversation) -> None:
    talk = forked(source)
    turn_id = talk.exchange("Three.")
    talk.rewind("t1")
    talk.end()
    assert kinds(talk.head) == ["session_end"]
    timeline, unrecorded = take_unrecorded(talk.timeline)
    assert unrecorded.turn_ids == (turn_id, "t1")
    assert timeline.taken_over(unrecorded.turn_ids) == ("t1",), "the other session has billed it"
    assert source.timeline.taken_over(source.timeline.turns) == ()


def test_shared_past_can_be_rewound_edited_and_restored(source: Conversation) -> None:
    talk = forked(source)
    edited = talk.edit("t1", "Other words.")
    assert talk.discarded == {"br_t2": ("t0", ["t1", "t2"])}
    talk.answer()
    talk.restore("br_t2")
    assert talk.visible == ["t0", "t1", "t2"]
    assert talk.discarded == {f"br_{edited}": ("t0", [edited])}
    assert source.discarded == {}


def test_fork_is_not_greeted_again(source: Conversation) -> None:
    with pytest.raises(CommandRejected) as refused:
        forked(source).open()
    assert rejection_of(refused).code == "validation_error"


def test_a_fork_repeats_no_pre_call_fetch(source: Conversation) -> None:
    assert forked(source).timeline.fetched_context == {}


@pytest.mark.parametrize("close", ["fail", "interrupt"])
def test_session_can_be_forked_at_a_turn_that_was_not_completed(source: Conversation, close: str) -> None:
    source.say("Three.")
    source.fail() if close == "fail" else source.interrupt("I was ab")
    talk = forked(source)
    assert talk.timeline.status == source.timeline.status
    talk.exchange("Four.")
    assert talk.timeline.status == "idle"


def test_fork_survives_as_json(source: Conversation) -> None:
    talk = forked(source)
    talk.exchange("Three.")
    assert Timeline.model_validate_json(talk.timeline.model_dump_json()) == talk.timeline
