"""The rules of a timeline, one by one; `test_state_machine.py` tests their combination."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from domain.agents.definition import Limits
from domain.rejections import CommandRejected
from domain.sessions.command_handlers import (
    MAX_LABEL_CHARACTERS,
    MAX_QUEUED_MESSAGES,
    MAX_REMEMBERED_MESSAGES,
    MAX_TEXT_CHARACTERS,
    open_greeting,
)
from domain.sessions.command_handlers import send as send_message
from domain.sessions.commands import OnBusy, SendMessage
from domain.sessions.timeline import Timeline
from domain.sessions.turn_completion import complete
from tests.support.conversation import BEGINNING, MODEL, Conversation, answered, rejection_of


@pytest.fixture
def talk() -> Conversation:
    return Conversation().greeted()


# --- opening and answering -----------------------------------------------------------------------


def test_a_session_opens_with_a_turn_without_a_user_message() -> None:
    talk = Conversation()
    assert talk.timeline.status == "idle"
    talk.timeline = open_greeting(talk.timeline, turn_id="t0", at=talk.tick())
    assert (talk.head.user_message, talk.head.parent_id, talk.head.index) == (None, None, 0)
    assert talk.timeline.status == "pending_assistant_turn"


def test_greeting_leaves_revision_two_and_every_exchange_adds_two(talk: Conversation) -> None:
    assert talk.timeline.revision == 2
    talk.exchange("A table for two.")
    assert talk.timeline.revision == 4
    talk.say("Tonight.")
    talk.fail()
    assert talk.timeline.revision == 6


def test_only_a_new_session_greets(talk: Conversation) -> None:
    with pytest.raises(CommandRejected) as refused:
        open_greeting(talk.timeline, turn_id="again", at=talk.tick())
    assert rejection_of(refused).code == "validation_error"


def test_ended_session_does_not_greet() -> None:
    talk = Conversation()
    talk.end()
    with pytest.raises(CommandRejected) as refused:
        open_greeting(talk.timeline, turn_id="t0", at=talk.tick())
    assert rejection_of(refused).code == "session_ended"


def test_message_opens_a_turn_after_the_newest_one(talk: Conversation) -> None:
    turn_id = talk.say("A table for two.", message_id="m1")
    turn = talk.timeline.turns[turn_id]
    assert (turn.parent_id, turn.index, turn.status) == ("t0", 1, "pending")
    assert turn.user_message is not None
    assert (turn.user_message.text, turn.user_message.message_id) == ("A table for two.", "m1")


def test_a_reply_has_its_text_node_cost_and_duration(talk: Conversation) -> None:
    turn_id = talk.say("A table for two.")
    progress = answered(turn_id, "Let me see.", "Certainly.", node_id="booking", tokens=7, usd="0.25")
    talk.timeline = complete(talk.timeline, progress, talk.limits, at=talk.tick())
    turn = talk.timeline.turns[turn_id]
    assert turn.assistant_message is not None
    assert turn.assistant_message.text == "Let me see.\n\nCertainly."
    assert (turn.status, turn.node_id, turn.cost.total) == ("completed", "booking", Decimal("0.25"))
    assert (turn.usage.llm[MODEL].total_tokens, turn.usage.duration_seconds) == (7, 1.0)
    assert turn.checkpoint is not None
    assert turn.checkpoint.node_id == "booking"


def test_a_reply_without_text_leaves_no_assistant_message(talk: Conversation) -> None:
    turn_id = talk.exchange("Bye.", reply="")
    assert talk.timeline.turns[turn_id].assistant_message is None


@pytest.mark.parametrize("turn_id", ["t0", "t99"])
def test_only_a_pending_turn_can_be_answered(talk: Conversation, turn_id: str) -> None:
    with pytest.raises(CommandRejected) as refused:
        talk.answer(turn_id=turn_id)
    assert rejection_of(refused).code == "turn_not_found"


def test_failed_turn_shows_its_error_and_the_next_message_goes_on_from_before(talk: Conversation) -> None:
    failed = talk.say("A table for two.")
    talk.fail("The model is away.", turn_id=failed)
    turn = talk.timeline.turns[failed]
    assert (talk.timeline.status, turn.status, turn.error) == ("error", "failed", "The model is away.")
    assert turn.events[-1].type == "execution_error"
    assert turn.events[-1].payload == {"message": "The model is away."}
    talk.say("Hello?")
    assert talk.timeline.status == "pending_assistant_turn"
    assert talk.timeline.checkpoint_before(talk.head.parent_id) == talk.timeline.turns["t0"].checkpoint


def test_failed_turn_always_names_a_reason(talk: Conversation) -> None:
    talk.say("Hello?")
    talk.fail(error="")
    assert talk.head.error


def test_an_interrupted_turn_keeps_its_text_so_far(talk: Conversation) -> None:
    talk.say("Tell me a story.")
    talk.interrupt("Once upon a time")
    assert talk.head.status == "interrupted"
    assert talk.head.assistant_message is not None
    assert talk.head.assistant_message.text == "Once upon a time"
    assert talk.timeline.status == "idle"


# --- what a message may be ----------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_empty_text_is_refused(talk: Conversation, text: str) -> None:
    with pytest.raises(CommandRejected) as refused:
        talk.say(text)
    assert rejection_of(refused).code == "validation_error"


def test_text_is_taken_up_to_its_limit(talk: Conversation) -> None:
    talk.exchange("x" * MAX_TEXT_CHARACTERS)
    with pytest.raises(CommandRejected) as refused:
        talk.say("x" * (MAX_TEXT_CHARACTERS + 1))
    assert rejection_of(refused).code == "too_large"
    assert rejection_of(refused).figures == {"limit": MAX_TEXT_CHARACTERS, "actual": MAX_TEXT_CHARACTERS + 1}


def test_message_ids_and_end_reasons_are_bounded(talk: Conversation) -> None:
    talk.exchange("Hello.")
    with pytest.raises(CommandRejected) as refused:
        talk.say("Hello.", message_id="m" * (MAX_LABEL_CHARACTERS + 1))
    assert rejection_of(refused).code == "too_large"
    with pytest.raises(CommandRejected) as refused:
        talk.end("r" * (MAX_LABEL_CHARACTERS + 1))
    assert rejection_of(refused).code == "too_large"
    talk.say("Hello.", message_id="m" * MAX_LABEL_CHARACTERS)
    talk.end("r" * MAX_LABEL_CHARACTERS)


@pytest.mark.parametrize("command", ["say", "rewind", "end"])
@pytest.mark.parametrize("expected", [0, 1, 3])
def test_stale_revision_is_refused_with_both_numbers(talk: Conversation, command: str, expected: int) -> None:
    commands: dict[str, Callable[[], object]] = {
        "say": lambda: talk.say("Hello.", expected_revision=expected),
        "rewind": lambda: talk.rewind("t0", expected_revision=expected),
        "end": lambda: talk.end(expected_revision=expected),
    }
    with pytest.raises(CommandRejected) as refused:
        commands[command]()
    assert rejection_of(refused).code == "revision_conflict"
    assert rejection_of(refused).figures == {"expected_revision": expected, "actual_revision": 2}


# --- the same message twice ---------------------------------------------------------------------


def test_same_message_twice_changes_nothing_even_when_late_or_stale(talk: Conversation) -> None:
    turn_id = talk.say("A table.", message_id="m1")
    pending = talk.timeline
    talk.say("A table.", message_id="m1")
    assert talk.timeline is pending
    talk.answer(turn_id=turn_id)
    talk.end()
    ended = talk.timeline
    talk.say("A table.", message_id="m1", expected_revision=2, on_busy="enqueue")
    assert talk.timeline is ended
    known = ended.remembered_message("m1")
    assert known is not None
    assert known.turn_id == turn_id


def test_message_id_used_for_another_text_is_refused(talk: Conversation) -> None:
    turn_id = talk.say("A table.", message_id="m1")
    with pytest.raises(CommandRejected) as refused:
        talk.say("Two tables.", message_id="m1")
    assert rejection_of(refused).code == "idempotency_mismatch"
    assert rejection_of(refused).figures == {"turn_id": turn_id}


def test_messages_without_an_id_are_never_repeats(talk: Conversation) -> None:
    first, second = talk.exchange("Yes."), talk.exchange("Yes.")
    assert first != second
    assert talk.visible == ["t0", first, second]


def test_refused_message_does_not_use_up_its_id(talk: Conversation) -> None:
    with pytest.raises(CommandRejected):
        talk.say("A table.", message_id="m1", expected_revision=99)
    talk.say("Two tables.", message_id="m1")
    assert talk.timeline.status == "pending_assistant_turn"


def test_oldest_message_ids_are_forgotten_first() -> None:
    timeline = Timeline(created_at=BEGINNING, updated_at=BEGINNING)
    for number in range(MAX_REMEMBERED_MESSAGES + 1):
        turn_id = f"t{number}"
        command = SendMessage(text="Hi.", message_id=f"m{number}")
        timeline = send_message(timeline, command, turn_id=turn_id, at=BEGINNING)
        timeline = complete(timeline, answered(turn_id, "Hi."), Limits(max_turns=100_000), at=BEGINNING)
    assert len(timeline.remembered) == MAX_REMEMBERED_MESSAGES
    assert timeline.remembered_message("m0") is None
    assert timeline.remembered_message("m1") is not None


# --- a busy agent -------------------------------------------------------------------------------


@pytest.mark.parametrize("on_busy", [None, "reject"])
def test_message_to_a_busy_agent_is_refused_unless_it_may_wait(talk: Conversation, on_busy: OnBusy | None) -> None:
    pending = talk.say("A table.")
    with pytest.raises(CommandRejected) as refused:
        talk.say("Hurry.", on_busy=on_busy)
    assert rejection_of(refused).code == "turn_in_progress"
    assert rejection_of(refused).figures == {"turn_id": pending}


@pytest.mark.parametrize("close", ["answer", "fail", "interrupt"])
def test_queued_messages_open_their_turns_in_order(talk: Conversation, close: str) -> None:
    talk.say("One.")
    second, third = (talk.say(text, on_busy="enqueue") for text in ("Two.", "Three."))
    assert [waiting.turn_id for waiting in talk.timeline.queue] == [second, third]
    assert not talk.timeline.is_closed(second)
    revision = talk.timeline.revision
    getattr(talk, close)()
    assert (talk.head.id, talk.head.status) == (second, "pending")
    assert talk.timeline.revision == revision + 1  # the reply; the queued message was accepted before
    getattr(talk, close)()
    getattr(talk, close)()
    assert talk.visible == ["t0", "t1", second, third]
    assert talk.timeline.queue == ()


def test_queue_has_a_limit(talk: Conversation) -> None:
    talk.say("First.")
    for _ in range(MAX_QUEUED_MESSAGES):
        talk.say("Next.", on_busy="enqueue")
    with pytest.raises(CommandRejected) as refused:
        talk.say("Too many.", on_busy="enqueue")
    assert rejection_of(refused).code == "queue_full"


def test_queued_messages_of_discarded_turns_are_noted_as_rejected(talk: Conversation) -> None:
    talk.say("One.")
    talk.say("Two.", message_id="m2", on_busy="enqueue")
    talk.rewind("t0")
    note = talk.timeline.turns["t0"].events[-1]
    assert note.type == "command_refused"
    assert (note.payload["command"], note.payload["message_id"]) == ("send_message", "m2")
    assert note.payload["code"] == "superseded"
    assert talk.timeline.queue == ()
