"""Messages to a busy agent (`on_busy`), and cancelled replies."""

import pytest

from domain.agents.definition import Limits
from domain.rejections import CommandRejected
from domain.sessions.command_handlers import MAX_QUEUED_MESSAGES
from domain.sessions.commands import OnBusy
from tests.support.conversation import Conversation, kinds, rejection_of


@pytest.fixture
def talk() -> Conversation:
    """The greeting t0 and the turn t1, which is being answered."""
    talk = Conversation().greeted()
    talk.say("One.", message_id="m1")
    return talk


def waiting(talk: Conversation) -> list[str]:
    return [queued.message.text for queued in talk.timeline.queue]


# --- interrupt ----------------------------------------------------------------------------------


def test_an_interrupted_reply_keeps_its_text_and_the_message_comes_next(talk: Conversation) -> None:
    turn_id = talk.say("No, two.", on_busy="interrupt")
    assert (talk.timeline.stopping, talk.visible, waiting(talk)) == (("t1",), ["t0", "t1"], ["No, two."])
    talk.interrupt("I was ab")
    assert (talk.timeline.stopping, talk.visible, waiting(talk)) == ((), ["t0", "t1", turn_id], [])
    cut = talk.timeline.turns["t1"]
    assert cut.assistant_message is not None
    assert (cut.status, cut.assistant_message.text) == ("interrupted", "I was ab")
    assert talk.timeline.checkpoint_before(talk.head.parent_id) == cut.checkpoint
    assert talk.timeline.discarded_branches == ()


def test_message_that_interrupts_is_answered_before_those_that_wait(talk: Conversation) -> None:
    talk.say("Two.", on_busy="enqueue")
    talk.say("Stop, three.", on_busy="interrupt")
    talk.say("Four.", on_busy="enqueue")
    assert waiting(talk) == ["Stop, three.", "Two.", "Four."]


def test_messages_that_interrupt_are_answered_in_the_order_they_came(talk: Conversation) -> None:
    talk.say("Two.", on_busy="enqueue")
    talk.say("Stop, three.", on_busy="interrupt")
    talk.say("No, four.", on_busy="interrupt")
    assert talk.timeline.stopping == ("t1",), "a reply is stopped once"
    talk.interrupt()
    assert talk.head.user_message is not None
    assert talk.head.user_message.text == "Stop, three."
    talk.say("Well, five.", on_busy="interrupt")
    assert waiting(talk) == ["No, four.", "Well, five.", "Two."]
    assert talk.timeline.stopping == (talk.head.id,)


def test_reply_that_was_quicker_than_the_interruption_stays_complete(talk: Conversation) -> None:
    turn_id = talk.say("No, two.", on_busy="interrupt")
    talk.answer("Certainly, one.")
    assert talk.timeline.turns["t1"].status == "completed"
    assert (talk.timeline.stopping, talk.visible[-1]) == ((), turn_id)


def test_message_that_interrupts_needs_a_place_in_the_queue(talk: Conversation) -> None:
    for number in range(MAX_QUEUED_MESSAGES):
        talk.say(f"Message {number}.", on_busy="enqueue")
    before = talk.timeline
    with pytest.raises(CommandRejected) as refused:
        talk.say("Stop.", on_busy="interrupt")
    assert rejection_of(refused).code == "queue_full"
    assert talk.timeline is before, "a refused message stops nothing"
    talk.say("Stop.", on_busy="rollback")


def test_interrupted_turn_that_is_the_last_one_allowed_ends_the_session() -> None:
    talk = Conversation(Limits(max_turns=2)).greeted()
    talk.say("One.")
    talk.say("No, two.", message_id="m2", on_busy="interrupt")
    talk.interrupt("I was ab")
    assert talk.timeline.completion_reason == "max_turns"
    assert kinds(talk.head) == ["command_refused", "session_end"]
    assert talk.head.events[0].payload["message_id"] == "m2"


# --- roll back ----------------------------------------------------------------------------------


def test_message_that_rolls_back_takes_the_place_of_the_pending_turn(talk: Conversation) -> None:
    revision = talk.timeline.revision
    turn_id = talk.say("I mean two.", on_busy="rollback")
    assert (talk.visible, talk.timeline.stopping) == (["t0", turn_id], ("t1",))
    assert talk.discarded == {"br_t1": ("t0", ["t1"])}
    assert talk.timeline.revision == revision + 1
    talk.interrupt("I was ab", turn_id="t1")
    assert talk.timeline.revision == revision + 1, "the text so far is not visible"
    assert talk.timeline.turns["t1"].cost.total > 0
    talk.answer()
    assert (talk.timeline.status, talk.timeline.pending) == ("idle", ())


def test_messages_that_wait_keep_their_places_behind_the_one_that_rolls_back(talk: Conversation) -> None:
    second = talk.say("Two.", message_id="m2", on_busy="enqueue")
    turn_id = talk.say("I mean one and a half.", on_busy="rollback")
    talk.interrupt(turn_id="t1")
    assert waiting(talk) == ["Two."], "the turn that was rolled back opens nothing"
    talk.say("Two.", message_id="m2", on_busy="enqueue")
    assert waiting(talk) == ["Two."], "its message id still stands for it"
    talk.answer(turn_id=turn_id)
    assert talk.visible == ["t0", turn_id, second]


def test_after_a_greeting_is_rolled_back_the_user_message_is_the_first_turn() -> None:
    talk = Conversation()
    greeting = talk.open()
    turn_id = talk.say("Hello?", on_busy="rollback")
    assert (talk.visible, talk.head.index) == ([turn_id], 0)
    assert talk.discarded == {f"br_{greeting}": (None, [greeting])}


def test_turn_that_rolled_one_back_can_be_rolled_back_itself(talk: Conversation) -> None:
    second = talk.say("I mean two.", on_busy="rollback")
    third = talk.say("I mean three.", on_busy="rollback")
    assert talk.visible == ["t0", third]
    assert talk.timeline.stopping == ("t1", second)
    assert talk.discarded == {"br_t1": ("t0", ["t1"]), f"br_{second}": ("t0", [second])}


# --- both ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_busy", ["interrupt", "rollback"])
def test_a_message_to_an_idle_agent_stops_nothing(on_busy: OnBusy) -> None:
    talk = Conversation().greeted()
    turn_id = talk.say("One.", on_busy=on_busy)
    assert (talk.visible, talk.timeline.stopping, talk.timeline.discarded_branches) == (["t0", turn_id], (), ())


@pytest.mark.parametrize("on_busy", ["interrupt", "rollback"])
def test_repeat_of_a_message_stops_nothing(talk: Conversation, on_busy: OnBusy) -> None:
    turn_id = talk.say("No, two.", message_id="m2", on_busy=on_busy)
    talk.interrupt(turn_id="t1")
    before = talk.timeline
    assert before.pending == (turn_id,)
    talk.say("No, two.", message_id="m2", on_busy=on_busy)
    talk.say("One.", message_id="m1", on_busy=on_busy)
    assert talk.timeline is before


@pytest.mark.parametrize("on_busy", ["interrupt", "rollback"])
def test_stale_message_stops_nothing(talk: Conversation, on_busy: OnBusy) -> None:
    before = talk.timeline
    with pytest.raises(CommandRejected) as refused:
        talk.say("No, two.", on_busy=on_busy, expected_revision=before.revision - 1)
    assert rejection_of(refused).code == "revision_conflict"
    assert talk.timeline is before


# --- cancel -------------------------------------------------------------------------------------


def test_a_cancelled_reply_keeps_its_text_so_far(talk: Conversation) -> None:
    revision = talk.timeline.revision
    talk.cancel(expected_revision=revision)
    assert (talk.timeline.status, talk.timeline.stopping) == ("pending_assistant_turn", ("t1",))
    assert not talk.timeline.may_continue("t1")
    talk.interrupt("I was ab")
    assert (talk.head.status, talk.timeline.status) == ("interrupted", "idle")
    assert talk.timeline.revision == revision + 2


def test_cancelling_again_changes_nothing(talk: Conversation) -> None:
    talk.cancel()
    once = talk.timeline
    talk.cancel()
    assert talk.timeline is once


def test_messages_that_wait_outlive_a_cancelled_reply(talk: Conversation) -> None:
    turn_id = talk.say("Two.", on_busy="enqueue")
    talk.cancel()
    assert waiting(talk) == ["Two."]
    talk.interrupt()
    assert (talk.visible[-1], talk.timeline.stopping) == (turn_id, ())
    assert talk.timeline.may_continue(turn_id), "only the reply that was cancelled is stopped"


def test_there_must_be_a_reply_to_cancel(talk: Conversation) -> None:
    talk.rewind("t0")
    for _ in range(2):  # a reply that is hidden, and none at all
        with pytest.raises(CommandRejected) as refused:
            talk.cancel()
        assert rejection_of(refused).code == "turn_not_pending"
        talk.answer(turn_id="t1") if talk.timeline.pending else None
    with pytest.raises(CommandRejected):
        Conversation().cancel()


def test_stale_cancellation_stops_nothing(talk: Conversation) -> None:
    with pytest.raises(CommandRejected) as refused:
        talk.cancel(expected_revision=talk.timeline.revision + 1)
    assert rejection_of(refused).code == "revision_conflict"
    assert talk.timeline.stopping == ()


def test_session_that_ends_while_a_reply_is_stopped_still_bills_it(talk: Conversation) -> None:
    talk.cancel()
    talk.end()
    assert talk.timeline.is_stopping("t1")
    revision = talk.timeline.revision
    talk.interrupt("I was ab", turn_id="t1")
    assert (talk.timeline.pending, talk.timeline.stopping) == ((), ())
    assert talk.timeline.turns["t1"].status == "interrupted"
    assert talk.timeline.revision == revision
    assert kinds(talk.timeline.turns["t1"]) == ["session_end"]
