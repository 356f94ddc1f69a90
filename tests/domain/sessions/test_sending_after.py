"""Messages after a turn that is not the newest visible one: a rewind and a message in one command."""

import pytest

from domain.rejections import CommandRejected
from domain.sessions.command_handlers import cancel
from domain.sessions.commands import CancelTurn
from tests.support.conversation import Conversation, rejection_of


@pytest.fixture
def talk() -> Conversation:
    """The greeting t0 and the turns t1, t2 and t3."""
    talk = Conversation().greeted()
    for text in ("One.", "Two.", "Three."):
        talk.exchange(text)
    return talk


def test_message_after_an_earlier_turn_grows_a_branch_there_as_one_change(talk: Conversation) -> None:
    revision = talk.timeline.revision
    grown = talk.say("Two, no, three.", after="t1", expected_revision=revision)
    assert talk.visible == ["t0", "t1", grown]
    assert talk.discarded == {"br_t3": ("t1", ["t2", "t3"])}
    assert talk.timeline.revision == revision + 1


def test_message_after_the_newest_turn_goes_on_there(talk: Conversation) -> None:
    assert talk.say("Four.", after="t3") == talk.visible[-1]
    assert talk.discarded == {}


def test_message_after_a_turn_of_a_discarded_branch_makes_that_branch_active(talk: Conversation) -> None:
    other = talk.edit("t2", "Other words.")
    talk.answer()
    back = talk.say("Four.", after="t3")
    assert talk.visible == ["t0", "t1", "t2", "t3", back]
    assert talk.discarded == {f"br_{other}": ("t1", [other])}
    talk.answer()
    within = talk.say("Three, no, four.", after="t2")
    assert talk.visible == ["t0", "t1", "t2", within]
    assert talk.discarded == {f"br_{other}": ("t1", [other]), f"br_{back}": ("t2", ["t3", back])}


def test_message_elsewhere_while_a_reply_is_pending_is_rejected_unless_it_stops_the_reply(talk: Conversation) -> None:
    pending = talk.say("Four.")
    for on_busy in (None, "reject", "enqueue"):
        with pytest.raises(CommandRejected) as refused:
            talk.say("Two, no, three.", after="t1", on_busy=on_busy)
        assert rejection_of(refused).code == "turn_in_progress"
    grown = talk.say("Two, no, three.", after="t1", on_busy="interrupt")
    assert talk.visible == ["t0", "t1", grown]
    assert talk.timeline.is_stopping(pending)


def test_message_after_an_unknown_turn_is_rejected(talk: Conversation) -> None:
    with pytest.raises(CommandRejected) as refused:
        talk.say("Four.", after="t9")
    assert rejection_of(refused).code == "turn_not_found"


def test_repeated_message_after_a_turn_changes_nothing(talk: Conversation) -> None:
    talk.say("Two, no, three.", after="t1", message_id="m1")
    before = talk.timeline
    talk.say("Two, no, three.", after="t1", message_id="m1")
    assert talk.timeline == before


def test_only_the_reply_to_the_named_message_is_cancelled(talk: Conversation) -> None:
    pending = talk.say("Four.", message_id="m4")
    with pytest.raises(CommandRejected) as refused:
        cancel(talk.timeline, CancelTurn(message_id="m3"), at=talk.tick())
    assert rejection_of(refused).code == "turn_not_pending"
    assert cancel(talk.timeline, CancelTurn(message_id="m4"), at=talk.tick()).is_stopping(pending)
