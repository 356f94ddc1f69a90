"""Restoring branches: every turn stays on the active branch or on one discarded branch."""

from collections import Counter

import pytest

from domain.rejections import CommandRejected
from domain.sessions.timeline import DiscardedBranch
from domain.sessions.turn_completion import take_unrecorded
from tests.support.conversation import Conversation, kinds, rejection_of


@pytest.fixture
def talk() -> Conversation:
    """The greeting t0, and after it t1, t2; the branch of t2 was discarded for t3."""
    talk = Conversation().greeted()
    talk.exchange("One.")
    talk.exchange("Two.")
    talk.rewind("t0")
    talk.exchange("Three.")
    return talk


@pytest.fixture
def nested() -> Conversation:
    """g─a─b─c was discarded for a─d, and that for g─e: the branch of c begins after a, which is on the branch of d."""
    talk = Conversation().greeted()
    for text in ("a", "b", "c"):
        talk.exchange(text)
    talk.rewind("t1")
    talk.exchange("d")
    talk.rewind("t0")
    talk.exchange("e")
    assert talk.visible == ["t0", "t5"]
    assert talk.discarded == {"br_t3": ("t1", ["t2", "t3"]), "br_t4": ("t0", ["t1", "t4"])}
    return talk


def assert_every_turn_has_one_place(talk: Conversation) -> None:
    active = [turn.id for turn in talk.timeline.path_to(talk.timeline.leaf_id)]
    places = Counter([*active, *(turn_id for _, own in talk.discarded.values() for turn_id in own)])
    assert places == Counter(talk.timeline.turns.keys())


def test_a_restored_branch_changes_places_with_the_active_one(talk: Conversation) -> None:
    before = talk.timeline
    talk.restore("br_t2", expected_revision=before.revision)
    assert talk.visible == ["t0", "t1", "t2"]
    assert talk.discarded == {"br_t3": ("t0", ["t3"])}
    assert talk.timeline.revision == before.revision + 1
    assert (talk.timeline.turns, talk.timeline.cost) == (before.turns, before.cost)
    talk.restore("br_t3")
    assert talk.visible == ["t0", "t3"]
    assert talk.discarded == {"br_t2": ("t0", ["t1", "t2"])}


def test_conversation_goes_on_from_the_restored_branch(talk: Conversation) -> None:
    talk.restore("br_t2")
    assert talk.timeline.checkpoint_before(talk.head.id) == talk.timeline.turns["t2"].checkpoint
    turn_id = talk.exchange("Four.")
    assert talk.visible == ["t0", "t1", "t2", turn_id]


def test_branch_that_starts_over_shares_nothing_and_is_restored_as_any_other() -> None:
    talk = Conversation().greeted()
    talk.exchange("One.")
    talk.regenerate("t0")
    talk.answer()
    talk.restore("br_t1")
    assert talk.visible == ["t0", "t1"]
    assert talk.discarded == {"br_t2": (None, ["t2"])}


def test_restoring_a_branch_restores_the_discarded_turns_that_lead_to_it(nested: Conversation) -> None:
    nested.restore("br_t3")
    assert nested.visible == ["t0", "t1", "t2", "t3"]
    assert nested.discarded == {"br_t4": ("t1", ["t4"]), "br_t5": ("t0", ["t5"])}
    assert_every_turn_has_one_place(nested)
    nested.restore("br_t4")
    assert nested.visible == ["t0", "t1", "t4"]
    assert nested.discarded == {"br_t5": ("t0", ["t5"]), "br_t3": ("t1", ["t2", "t3"])}
    assert_every_turn_has_one_place(nested)


def test_a_branch_that_others_fork_from_can_be_restored(nested: Conversation) -> None:
    nested.restore("br_t4")
    assert nested.visible == ["t0", "t1", "t4"]
    assert nested.discarded == {"br_t3": ("t1", ["t2", "t3"]), "br_t5": ("t0", ["t5"])}
    assert_every_turn_has_one_place(nested)


def test_a_branch_that_is_cut_back_keeps_its_id_and_its_time_of_discarding(nested: Conversation) -> None:
    before = nested.branch_of("t4")
    nested.restore("br_t3")
    assert nested.branch_of("t4") == before.model_copy(update={"rewound_from_turn_id": "t1"})


def test_restoring_while_rewound_discards_the_hidden_turns_too(nested: Conversation) -> None:
    nested.exchange("f")
    nested.rewind("t0")
    nested.restore("br_t3")
    assert (nested.timeline.cursor, nested.timeline.status) == (None, "idle")
    assert nested.discarded["br_t6"] == ("t0", ["t5", "t6"])
    assert_every_turn_has_one_place(nested)


def test_restoring_while_rewound_to_before_where_the_branches_part(talk: Conversation) -> None:
    talk.rewind("t0", before=True)
    talk.restore("br_t2")
    assert talk.visible == ["t0", "t1", "t2"]
    assert talk.discarded == {"br_t3": ("t0", ["t3"])}


def test_reply_under_way_is_recorded_on_the_branch_it_belongs_to(talk: Conversation) -> None:
    pending = talk.say("Four.")
    talk.restore("br_t2")
    assert (talk.timeline.status, talk.timeline.stopping) == ("idle", ())
    assert not talk.timeline.may_continue(pending)
    revision = talk.timeline.revision
    talk.answer("Certainly, four.", turn_id=pending)
    assert talk.timeline.revision == revision
    assert talk.discarded == {f"br_{pending}": ("t0", ["t3", pending])}
    talk.restore(f"br_{pending}")
    assert talk.head.assistant_message is not None
    assert talk.head.assistant_message.text == "Certainly, four."


def test_branch_with_a_reply_under_way_is_waited_for_once_it_is_restored(talk: Conversation) -> None:
    pending = talk.say("Four.")
    talk.restore("br_t2")
    talk.restore(f"br_{pending}")
    assert (talk.head.id, talk.timeline.status) == (pending, "pending_assistant_turn")
    assert talk.timeline.may_continue(pending)
    waiting = talk.say("Five.", on_busy="enqueue")
    talk.answer()
    assert talk.head.id == waiting


def test_reply_that_was_rolled_back_is_still_being_stopped_when_its_branch_is_restored(talk: Conversation) -> None:
    stopped = talk.say("Four.")
    talk.say("I mean five.", on_busy="rollback")
    talk.restore(f"br_{stopped}")
    assert (talk.timeline.is_busy, talk.timeline.stopping) == (True, (stopped,))
    talk.interrupt("I was ab")
    assert talk.timeline.status == "idle"


def test_a_restoration_rejects_queued_messages_on_the_restored_branch(talk: Conversation) -> None:
    talk.say("Four.")
    talk.say("Five.", message_id="m5", on_busy="enqueue")
    talk.restore("br_t2")
    assert talk.timeline.queue == ()
    assert kinds(talk.head) == ["command_refused"]
    assert (talk.head.id, talk.head.events[0].payload["message_id"]) == ("t2", "m5")


def test_a_branch_is_found_only_while_it_is_discarded(talk: Conversation) -> None:
    for _ in range(2):
        talk.restore("br_t2")
        before = talk.timeline
        for branch_id in ("br_t2", "br_unknown", "t3"):
            with pytest.raises(CommandRejected) as refused:
                talk.restore(branch_id)
            assert rejection_of(refused).code == "branch_not_found"
            assert rejection_of(refused).figures == {"branch_id": branch_id}
        assert talk.timeline is before
        talk.restore("br_t3")


def test_stale_restoration_is_refused(talk: Conversation) -> None:
    with pytest.raises(CommandRejected) as refused:
        talk.restore("br_t2", expected_revision=talk.timeline.revision - 1)
    assert rejection_of(refused).code == "revision_conflict"


def test_ended_session_restores_nothing(talk: Conversation) -> None:
    talk.end()
    with pytest.raises(CommandRejected) as refused:
        talk.restore("br_t2")
    assert rejection_of(refused).code == "session_ended"


@pytest.mark.parametrize("recorded_before", [False, True])
def test_changes_for_the_store_name_the_restored_and_the_cut_branches(
    nested: Conversation, recorded_before: bool
) -> None:
    recorded: dict[str, DiscardedBranch] = {}
    if recorded_before:
        record(nested, recorded)
    nested.restore("br_t3")
    nested.restore("br_t5")
    nested.restore("br_t3")
    facts = [fact for fact in nested.timeline.unrecorded.facts if fact.type == "branch_restored"]
    assert [fact.payload["branch_id"] for fact in facts] == ["br_t3", "br_t5", "br_t3"]
    assert len({fact.key for fact in facts}) == 3
    record(nested, recorded)
    assert recorded == {branch.id: branch for branch in nested.timeline.discarded_branches}


def record(talk: Conversation, recorded: dict[str, DiscardedBranch]) -> None:
    """Apply branch updates as the store does."""
    talk.timeline, changes = take_unrecorded(talk.timeline)
    for branch_id in changes.restored_branch_ids:
        recorded.pop(branch_id, None)
    for branch in changes.branches:
        recorded.setdefault(branch.id, branch)
