"""Edit and regenerate: discarded branches, stopped replies and rejections."""

from collections.abc import Callable

import pytest

from domain.rejections import CommandRejected
from domain.sessions.command_handlers import MAX_LABEL_CHARACTERS, MAX_TEXT_CHARACTERS
from tests.support.conversation import Conversation, kinds, rejection_of

Change = Callable[[Conversation, str], str]


@pytest.fixture
def talk() -> Conversation:
    """The greeting t0 and the turns t1, t2 and t3."""
    talk = Conversation().greeted()
    for text in ("One.", "Two.", "Three."):
        talk.exchange(text)
    return talk


@pytest.fixture(params=["edit", "regenerate"])
def change(request: pytest.FixtureRequest) -> Change:
    """Each command that replaces a turn: edit and regenerate."""
    return {"edit": lambda talk, turn: talk.edit(turn, "Other words."), "regenerate": Conversation.regenerate}[
        request.param
    ]


def test_an_edit_replaces_a_turn_as_one_change(talk: Conversation) -> None:
    before = talk.timeline
    edited = talk.edit("t2", "Two, no, three.", expected_revision=before.revision)
    assert talk.visible == ["t0", "t1", edited]
    assert talk.head.user_message is not None
    assert talk.head.user_message.text == "Two, no, three."
    assert talk.discarded == {"br_t3": ("t1", ["t2", "t3"])}
    assert talk.timeline.revision == before.revision + 1
    assert talk.timeline.turns["t2"] == before.turns["t2"]
    assert talk.timeline.cost == before.cost


def test_a_regenerated_turn_has_the_same_message(talk: Conversation) -> None:
    again = talk.regenerate("t3", message_id="m1")
    assert (talk.visible, talk.head.status) == (["t0", "t1", "t2", again], "pending")
    assert talk.head.user_message is not None
    assert (talk.head.user_message.text, talk.head.user_message.message_id) == ("Three.", "m1")
    assert talk.head.user_message.created_at == talk.now
    assert talk.discarded == {"br_t3": ("t2", ["t3"])}


def test_a_greeting_can_be_regenerated_but_not_edited(talk: Conversation) -> None:
    with pytest.raises(CommandRejected) as refused:
        talk.edit("t0", "Good morning.")
    assert rejection_of(refused).code == "validation_error"
    again = talk.regenerate("t0")
    assert talk.visible == [again]
    assert (talk.head.parent_id, talk.head.index, talk.head.user_message) == (None, 0, None)
    assert talk.discarded == {"br_t3": (None, ["t0", "t1", "t2", "t3"])}


@pytest.mark.parametrize("close", ["fail", "interrupt"])
def test_turn_that_failed_or_was_interrupted_is_answered_again_from_before_it(talk: Conversation, close: str) -> None:
    lost = talk.say("Four.")
    talk.fail() if close == "fail" else talk.interrupt("I was ab")
    again = talk.regenerate(lost)
    assert talk.timeline.checkpoint_before(talk.head.parent_id) == talk.timeline.turns["t3"].checkpoint
    talk.answer("Certainly, four.")
    assert talk.visible == ["t0", "t1", "t2", "t3", again]
    assert talk.timeline.status == "idle"


def test_reply_under_way_is_stopped_and_still_billed(talk: Conversation, change: Change) -> None:
    pending = talk.say("Four.")
    changed = change(talk, "t1")
    assert talk.timeline.is_stopping(pending)
    spent, revision = talk.timeline.cost.total, talk.timeline.revision
    talk.interrupt("I was ab", turn_id=pending)
    assert (talk.timeline.stopping, talk.timeline.pending) == ((), (changed,))
    assert talk.timeline.cost.total > spent
    assert talk.timeline.revision == revision, "a late reply is not visible"
    assert talk.visible == ["t0", changed]


def test_turn_that_is_being_answered_can_itself_be_changed(talk: Conversation, change: Change) -> None:
    pending = talk.say("Four.")
    changed = change(talk, pending)
    assert talk.visible[-2:] == ["t3", changed]
    assert set(talk.timeline.pending) == {pending, changed}
    assert talk.timeline.stopping == (pending,)
    assert talk.discarded == {f"br_{pending}": ("t3", [pending])}


def test_reply_on_a_branch_that_is_not_active_is_left_alone(talk: Conversation, change: Change) -> None:
    late = talk.say("Four.")
    talk.rewind("t3")
    talk.exchange("Four, in other words.")
    change(talk, "t1")
    assert talk.timeline.stopping == ()
    assert late in talk.timeline.pending


def test_a_change_of_an_earlier_turn_rejects_queued_messages(talk: Conversation, change: Change) -> None:
    pending = talk.say("Four.")
    waiting = talk.say("Five.", message_id="m5", on_busy="enqueue")
    changed = change(talk, "t2")
    assert talk.timeline.queue == ()
    (noted,) = (event for event in talk.timeline.turns[pending].events if event.type == "command_refused")
    assert (noted.payload["code"], noted.payload["message_id"]) == ("superseded", "m5")
    talk.answer(turn_id=changed)
    assert waiting not in talk.timeline.turns
    assert kinds(talk.head) == []


def test_a_turn_past_the_cursor_is_changed_in_its_place(talk: Conversation, change: Change) -> None:
    talk.rewind("t0")
    changed = change(talk, "t2")
    assert talk.visible == ["t0", "t1", changed]
    assert talk.timeline.cursor is None
    assert talk.discarded == {"br_t3": ("t1", ["t2", "t3"])}


def test_hidden_reply_under_way_is_stopped_too(talk: Conversation, change: Change) -> None:
    pending = talk.say("Four.")
    talk.rewind("t1")
    change(talk, "t1")
    assert talk.timeline.stopping == (pending,)


def test_only_turns_of_the_active_branch_can_be_changed(talk: Conversation, change: Change) -> None:
    talk.edit("t2", "Two, no, three.")
    for turn_id in ("t2", "t3", "unknown"):
        with pytest.raises(CommandRejected) as refused:
            change(talk, turn_id)
        assert rejection_of(refused).code == "turn_not_found"
        assert rejection_of(refused).figures == {"turn_id": turn_id}


def test_repeat_of_a_change_changes_nothing_even_when_it_is_stale(talk: Conversation) -> None:
    revision = talk.timeline.revision
    edited = talk.edit("t3", "Four.", message_id="m1", expected_revision=revision)
    once = talk.timeline
    talk.edit("t3", "Four.", message_id="m1", expected_revision=revision)
    assert talk.timeline is once
    talk.answer(turn_id=edited)
    again = talk.regenerate(edited, message_id="m2")
    twice = talk.timeline
    talk.regenerate(edited, message_id="m2")
    assert talk.timeline is twice
    known = {message_id: each.turn_id for message_id, each in talk.timeline.remembered.items()}
    assert known == {"m1": edited, "m2": again}


def test_message_id_is_refused_for_anything_else_than_its_command(talk: Conversation) -> None:
    talk.edit("t3", "Three.", message_id="m1")
    other_commands: list[Callable[[], object]] = [
        lambda: talk.say("Three.", message_id="m1", on_busy="enqueue"),
        lambda: talk.edit("t3", "Four.", message_id="m1"),
        lambda: talk.edit("t2", "Three.", message_id="m1"),
        lambda: talk.regenerate("t3", message_id="m1"),
    ]
    for command in other_commands:
        with pytest.raises(CommandRejected) as refused:
            command()
        assert rejection_of(refused).code == "idempotency_mismatch"


def test_the_text_of_an_edit_follows_the_rules_of_messages(talk: Conversation) -> None:
    before = talk.timeline
    for text, code in (("", "validation_error"), (" \n", "validation_error"), ("x" * 32_001, "too_large")):
        with pytest.raises(CommandRejected) as refused:
            talk.edit("t3", text)
        assert rejection_of(refused).code == code
    assert talk.timeline is before
    talk.edit("t3", "x" * MAX_TEXT_CHARACTERS)


@pytest.mark.parametrize("turn_id", ["t0", "t3"])
def test_message_id_of_a_regeneration_is_bounded(talk: Conversation, turn_id: str) -> None:
    with pytest.raises(CommandRejected) as refused:
        talk.regenerate(turn_id, message_id="m" * (MAX_LABEL_CHARACTERS + 1))
    assert rejection_of(refused).code == "too_large"
    assert talk.timeline.remembered == {}


def test_stale_change_is_refused_with_both_numbers(talk: Conversation) -> None:
    revision = talk.timeline.revision
    for command in (talk.edit, talk.regenerate):
        with pytest.raises(CommandRejected) as refused:
            command("t3", **({"text": "Four."} if command == talk.edit else {}), expected_revision=revision - 1)
        assert rejection_of(refused).figures == {"expected_revision": revision - 1, "actual_revision": revision}
