"""Interrupted turns, and model calls outside the turns."""

from decimal import Decimal

import pytest

from domain.rejections import CommandRejected
from domain.sessions.timeline import AuxiliaryCall, AuxiliaryPurpose, DiscardedBranch, UnrecordedChanges
from domain.sessions.turn_completion import interrupt, record_auxiliary_call, record_extraction, take_unrecorded
from domain.turns.engine import STOPPED_CALL_MESSAGE, ExtractionResult, ModelReply, TurnProgress
from domain.turns.turn import AgentSaid, Checkpoint, ToolReturned, UserSaid
from domain.usage import ModelUsage, Usage, rounded_cost
from tests.domain.turns.answering import AGENT, DESK, after, asked, calling, learning, opened, returning
from tests.support.conversation import BEGINNING, MODEL, Conversation, kinds, rejection_of

USED = Usage(llm={MODEL: ModelUsage(completion_tokens=7, total_tokens=7, requests=1)})
PRICE = rounded_cost(MODEL, Decimal("0.07"))


@pytest.fixture
def talk() -> Conversation:
    """The greeting t0 and the turn t1, which is being answered."""
    talk = Conversation().greeted()
    talk.say("A table, please.")
    return talk


def stopped(talk: Conversation, progress: TurnProgress) -> Checkpoint:
    """The checkpoint of the next turn when a turn is stopped at this point."""
    talk.timeline = interrupt(talk.timeline, progress, talk.limits, at=talk.tick())
    assert talk.head.checkpoint is not None
    return talk.head.checkpoint


def at_the_desk(*replies: ModelReply) -> TurnProgress:
    """The turn t1 at the desk, after these replies."""
    return after(asked(agent=DESK), *replies, agent=DESK)


def carried_results(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """The calls whose results the next turn adds, with their results."""
    return [(each.call_id, each.content) for each in checkpoint.carry if isinstance(each, ToolReturned)]


# --- a turn that was stopped ---------------------------------------------------------------------


def test_turn_stopped_before_its_first_reply_carries_what_was_asked(talk: Conversation) -> None:
    checkpoint = stopped(talk, asked())
    assert checkpoint.carry == (UserSaid(text="A table, please."),)
    assert checkpoint.after == "t0/0", "no step of its own has saved anything"
    assert (talk.head.assistant_message, talk.head.status, talk.head.node_id) == (None, "interrupted", "greet")


def test_turn_stopped_before_its_first_reply_carries_what_the_turns_before_it_carried(talk: Conversation) -> None:
    greeted = opened().checkpoint()
    checkpoint = stopped(talk, asked(checkpoint=greeted))
    assert checkpoint.carry == (AgentSaid(text="Good evening Ann."), UserSaid(text="A table, please."))
    next_turn = asked("For four.", checkpoint=checkpoint, turn_id="t2")
    assert next_turn.messages == (*checkpoint.carry, UserSaid(text="For four."))


def test_an_interrupted_reply_keeps_its_text_and_refers_to_its_saved_step(talk: Conversation) -> None:
    cut = ModelReply(text="Certainly, I will", usage=USED, cost=PRICE, interrupted=True)
    progress = after(asked(), cut)
    assert progress.next_step == "reply"
    checkpoint = stopped(talk, progress)
    assert talk.head.assistant_message is not None
    assert talk.head.assistant_message.text == "Certainly, I will"
    assert (checkpoint.after, checkpoint.carry) == ("t1/0", ())
    assert talk.head.usage.llm == USED.llm
    assert talk.head.cost == PRICE


def test_a_reply_interrupted_before_its_first_word_does_not_count_as_blank() -> None:
    progress = after(asked(), *[ModelReply(interrupted=True)] * 5)
    assert (progress.next_step, progress.blank_replies, progress.said, progress.steps) == ("reply", 0, (), 5)


def test_an_interrupted_reply_does_not_fail_the_turn_at_its_last_step() -> None:
    last = AGENT.limits.max_steps_per_turn
    moved = after(asked(), *[calling("again", first=number) for number in range(1, last)])
    assert after(moved, calling("again", first=last)).outcome == "failed"
    cut = after(moved, ModelReply(text="Well", interrupted=True))
    assert (cut.outcome, cut.said[-1]) == (None, "Well")


def test_an_interrupted_reply_ends_neither_its_node_nor_its_session() -> None:
    progress = after(asked(), calling("bye"), ModelReply(text="Good", interrupted=True))
    assert (progress.node_id, progress.outcome) == ("goodbye", None)


def test_words_said_before_the_stop_are_kept_with_the_node_that_was_reached(talk: Conversation) -> None:
    checkpoint = stopped(talk, after(asked(), calling("to_booking", text="Let me see.")))
    assert talk.head.assistant_message is not None
    assert talk.head.assistant_message.text == "Let me see.\n\nOne moment, Ann."
    assert (checkpoint.node_id, talk.head.node_id) == ("booking", "booking")
    (call,) = carried_results(checkpoint)
    assert call[0] == "c1"
    assert "booking" in call[1]


def test_outstanding_tool_calls_are_answered_for_the_next_turn(talk: Conversation) -> None:
    progress = returning(at_the_desk(calling("find_table", "check_menu")), "Table 5.", table="5")
    checkpoint = stopped(talk, progress)
    assert carried_results(checkpoint) == [("c1", "Table 5."), ("c2", STOPPED_CALL_MESSAGE)]
    results = [event.payload for event in talk.head.events if event.type == "tool_call_result"]
    assert [(each["call_id"], each.get("error")) for each in results] == [("c1", None), ("c2", "interrupted")]
    assert checkpoint.gathered_context == {"table": "5"}, "what a tool brought is kept"


def test_transition_that_was_not_taken_is_answered_and_the_node_stays(talk: Conversation) -> None:
    checkpoint = stopped(talk, at_the_desk(calling("to_booking", "find_table")))
    assert carried_results(checkpoint) == [("c2", STOPPED_CALL_MESSAGE), ("c1", STOPPED_CALL_MESSAGE)]
    assert checkpoint.node_id == "greet"
    assert asked("Go on.", checkpoint=checkpoint, turn_id="t2", agent=DESK).next_step == "reply"


def test_transition_that_waits_for_variables_is_answered_too(talk: Conversation) -> None:
    at_booking = returning(at_the_desk(calling("to_booking", "find_table")), "Table 5.")
    progress = after(at_booking, calling("bye", first=3), agent=DESK)
    assert progress.next_step == "extraction"
    checkpoint = stopped(talk, progress)
    assert carried_results(checkpoint) == [("c3", STOPPED_CALL_MESSAGE)]
    assert checkpoint.node_id == "booking"
    assert asked(checkpoint=checkpoint, agent=DESK).next_step == "reply", "they are read when the node is really left"
    assert learning(progress, guests=4).node_id == "goodbye"


def test_only_a_pending_turn_can_be_stopped(talk: Conversation) -> None:
    talk.interrupt("I was ab")
    for turn_id in ("t1", "t0", "unknown"):
        with pytest.raises(CommandRejected) as refused:
            talk.interrupt(turn_id=turn_id)
        assert rejection_of(refused).code == "turn_not_found"


# --- auxiliary model calls -----------------------------------------------------------------------


def call(number: int = 1, purpose: AuxiliaryPurpose = "extraction", error: str | None = None) -> AuxiliaryCall:
    return AuxiliaryCall(
        id=f"call_{number}",
        purpose=purpose,
        after_turn_id="t1",
        created_at=BEGINNING,
        usage=USED,
        cost=PRICE,
        error=error,
    )


def test_auxiliary_calls_are_counted_and_billed_and_are_not_turns(talk: Conversation) -> None:
    talk.answer()
    before = talk.timeline
    talk.timeline = record_auxiliary_call(talk.timeline, call(1, "caller"), at=talk.tick())
    talk.timeline = record_auxiliary_call(talk.timeline, call(2, "judge"), at=talk.tick())
    assert talk.timeline.usage.requests == before.usage.requests + 2
    assert talk.timeline.cost.total == before.cost.total + Decimal("0.14")
    assert (talk.timeline.turns, talk.timeline.revision) == (before.turns, before.revision)
    assert talk.timeline.version == before.version + 2
    left, unrecorded = take_unrecorded(talk.timeline)
    assert [(each.id, each.purpose) for each in unrecorded.auxiliary_calls] == [
        ("call_1", "caller"),
        ("call_2", "judge"),
    ]
    assert left.unrecorded.is_empty


def test_variables_extracted_after_the_end_are_kept_and_noted_on_the_last_turn(talk: Conversation) -> None:
    talk.answer()
    talk.end()
    talk.timeline, _ = take_unrecorded(talk.timeline)
    revision, spent = talk.timeline.revision, talk.timeline.cost.total
    talk.timeline = record_extraction(talk.timeline, call(), ExtractionResult(values={"guests": 4}), at=talk.tick())
    assert talk.timeline.learned_context == {"guests": 4}
    assert kinds(talk.head) == ["session_end", "variables_extracted"]
    assert talk.head.events[-1].payload == {"node": "greet", "variables": {"guests": 4}}
    assert talk.timeline.unrecorded.turn_ids == ("t1",)
    assert (talk.timeline.revision, talk.timeline.cost.total) == (revision, spent + PRICE.total)


def test_a_failed_extraction_is_noted_and_billed(talk: Conversation) -> None:
    talk.answer()
    talk.end()
    failed = ExtractionResult(error="The model is away.")
    talk.timeline = record_extraction(talk.timeline, call(error=failed.error), failed, at=talk.tick())
    assert talk.timeline.learned_context == {}, "it was tried, and is not tried again"
    assert talk.head.events[-1].payload["error"] == "The model is away."
    assert talk.timeline.unrecorded.auxiliary_calls == (call(error="The model is away."),)


def test_variables_of_several_extractions_are_merged(talk: Conversation) -> None:
    talk.answer()
    talk.end()
    for extraction in (ExtractionResult(values={"guests": 4, "day": "Monday"}), ExtractionResult(values={"guests": 5})):
        talk.timeline = record_extraction(talk.timeline, call(), extraction, at=talk.tick())
    assert talk.timeline.learned_context == {"guests": 5, "day": "Monday"}


def test_an_extraction_of_a_session_rewound_before_its_first_turn_is_noted_on_no_turn(talk: Conversation) -> None:
    talk.answer()
    talk.rewind("t0", before=True)
    talk.end()
    turns = talk.timeline.turns
    talk.timeline = record_extraction(talk.timeline, call(), ExtractionResult(values={"guests": 4}), at=talk.tick())
    assert talk.timeline.turns == turns
    assert talk.timeline.learned_context == {"guests": 4}
    assert talk.timeline.unrecorded.auxiliary_calls == (call(),)


def test_unrecorded_changes_of_two_runs_are_merged_in_order() -> None:
    gone = DiscardedBranch(id="br_1", rewound_from_turn_id="t0", leaf_turn_id="t1", discarded_at=BEGINNING)
    back = DiscardedBranch(id="br_2", rewound_from_turn_id="t0", leaf_turn_id="t2", discarded_at=BEGINNING)
    earlier = UnrecordedChanges(turn_ids=("t1", "t2"), branches=(gone, back))
    later = UnrecordedChanges(turn_ids=("t2", "t3"), restored_branch_ids=("br_1",))
    both = later.after(earlier)
    assert both.turn_ids == ("t1", "t2", "t3")
    assert both.branches == (back,), "a branch that was restored since is not discarded again"
    assert both.restored_branch_ids == ("br_1",)
    assert UnrecordedChanges().after(earlier) == earlier
