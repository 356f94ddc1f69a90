"""Rewinding: earlier turns are shown again, new branches start there, and nothing is deleted or refunded."""

from decimal import Decimal

import pytest

from domain.rejections import CommandRejected
from domain.sessions.turn_completion import complete
from tests.support.conversation import Conversation, answered, rejection_of


@pytest.fixture
def talk() -> Conversation:
    return Conversation().greeted()


def test_rewind_shows_the_past_and_deletes_nothing(talk: Conversation) -> None:
    first, second = talk.exchange("One."), talk.exchange("Two.")
    spent = talk.timeline.cost
    talk.rewind(first)
    assert (talk.timeline.status, talk.visible) == ("rewound", ["t0", first])
    assert second in talk.timeline.turns
    assert talk.timeline.cost == spent
    assert talk.timeline.discarded_branches == ()
    talk.rewind(second)
    assert talk.visible == ["t0", first, second]


def test_cleared_cursor_shows_the_active_branch_again(talk: Conversation) -> None:
    first = talk.exchange("One.")
    talk.rewind("t0")
    talk.rewind(None)
    assert (talk.timeline.status, talk.visible) == ("idle", ["t0", first])


def test_message_after_a_rewind_grows_a_branch_and_keeps_the_other(talk: Conversation) -> None:
    first, second, third = talk.exchange("One."), talk.exchange("Two."), talk.exchange("Three.")
    talk.rewind(first)
    other = talk.exchange("Another two.")
    assert talk.visible == ["t0", first, other]
    (branch,) = talk.timeline.discarded_branches
    assert branch.rewound_from_turn_id == first
    assert [turn.id for turn in talk.timeline.turns_of(branch)] == [second, third]
    assert talk.timeline.turns[other].index == 2


def test_rewind_before_the_first_turn_starts_over_with_a_new_root(talk: Conversation) -> None:
    first = talk.exchange("One.")
    talk.rewind("t0", before=True)
    assert (talk.timeline.status, talk.visible, talk.timeline.head) == ("rewound", [], None)
    root = talk.exchange("From the top.")
    assert talk.visible == [root]
    assert talk.timeline.turns[root].parent_id is None
    (branch,) = talk.timeline.discarded_branches
    assert branch.rewound_from_turn_id is None
    assert [turn.id for turn in talk.timeline.turns_of(branch)] == ["t0", first]


def test_a_rewind_to_the_newest_turn_discards_nothing(talk: Conversation) -> None:
    talk.rewind("t0")
    assert talk.timeline.status == "rewound"
    talk.exchange("One.")
    assert talk.timeline.discarded_branches == ()


@pytest.mark.parametrize("before", [False, True])
def test_rewind_reaches_only_turns_of_the_active_branch(talk: Conversation, before: bool) -> None:
    gone = talk.exchange("One.")
    talk.rewind("t0")
    talk.exchange("Another one.")
    for turn_id in (gone, "unknown", ""):
        with pytest.raises(CommandRejected) as refused:
            talk.rewind(turn_id, before=before)
        assert rejection_of(refused).code == "turn_not_found"
        assert rejection_of(refused).figures == {"turn_id": turn_id}


def test_a_rewind_before_no_turn_is_rejected(talk: Conversation) -> None:
    with pytest.raises(CommandRejected) as refused:
        talk.rewind(None, before=True)
    assert rejection_of(refused).code == "validation_error"


def test_late_reply_to_a_discarded_turn_is_billed_but_not_shown(talk: Conversation) -> None:
    late = talk.say("One.")
    talk.rewind("t0")
    other = talk.exchange("Another one.")
    before = talk.timeline
    talk.answer("Too late.", turn_id=late)
    assert talk.visible == ["t0", other]
    assert talk.timeline.revision == before.revision
    assert talk.timeline.version > before.version
    assert talk.timeline.cost.total == before.cost.total + Decimal("0.01")
    (branch,) = talk.timeline.discarded_branches
    (turn,) = talk.timeline.turns_of(branch)
    assert turn.assistant_message is not None
    assert turn.assistant_message.text == "Too late."


def test_a_late_reply_starts_no_queued_message(talk: Conversation) -> None:
    late = talk.say("One.")
    talk.rewind("t0")
    pending = talk.say("Another one.")
    waiting = talk.say("And more.", on_busy="enqueue")
    talk.answer(turn_id=late)
    assert (talk.head.id, [queued.turn_id for queued in talk.timeline.queue]) == (pending, [waiting])


def test_a_late_reply_of_a_hidden_turn_does_not_end_the_session(talk: Conversation) -> None:
    late = talk.say("Bye.")
    talk.rewind("t0")
    talk.answer("Goodbye.", turn_id=late, outcome="ended")
    assert talk.timeline.status == "rewound"


def test_reply_that_came_while_rewound_is_there_when_the_cursor_is_cleared(talk: Conversation) -> None:
    late = talk.say("One.")
    talk.rewind("t0")
    assert not talk.timeline.is_busy
    talk.answer("Here I am.", turn_id=late)
    talk.rewind(None)
    assert talk.visible == ["t0", late]
    assert talk.timeline.status == "idle"


def test_a_rewind_to_a_pending_turn_still_shows_it_as_pending(talk: Conversation) -> None:
    pending = talk.say("One.")
    talk.rewind(pending)
    while_answering = talk.timeline.status
    with pytest.raises(CommandRejected) as refused:
        talk.say("Two.")
    assert rejection_of(refused).code == "turn_in_progress"
    talk.answer(turn_id=pending)
    assert (while_answering, talk.timeline.status) == ("pending_assistant_turn", "rewound")


def test_rewind_restores_the_checkpoint_of_that_turn(talk: Conversation) -> None:
    moved = talk.say("Book.")
    talk.timeline = complete(talk.timeline, answered(moved, "Sure.", node_id="booking"), talk.limits, at=talk.tick())
    talk.rewind("t0")
    restored = talk.timeline.checkpoint_before(talk.head.id)
    assert restored is not None
    assert restored.node_id == "greet"
    assert talk.timeline.checkpoint_before(None) is None
