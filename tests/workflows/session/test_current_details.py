"""The current details of a session in the Temporal UI."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from domain.sessions.timeline import WaitingApproval
from domain.sessions.turn_completion import complete
from domain.usage import merge_costs, rounded_cost, unpriced_cost
from tests.support.conversation import Conversation, answered
from workflows.session.current_details import MAX_LINE, TAIL_TURNS, conversation_tail, session_details


@pytest.fixture
def talk() -> Conversation:
    return Conversation().greeted("Good evening.")


def test_session_without_turns_shows_its_status() -> None:
    assert conversation_tail(Conversation().timeline) == "**idle** at revision 0, 0 tokens, 0 USD"


def test_tail_reads_like_the_conversation(talk: Conversation) -> None:
    talk.exchange("A table for two.", "For when?")
    talk.say("Tonight.")
    assert conversation_tail(talk.timeline).splitlines() == [
        "**pending_assistant_turn** at revision 5, 20 tokens, 0.02 USD",
        "- **Agent:** Good evening.",
        "- **User:** A table for two.",
        "- **Agent:** For when?",
        "- **User:** Tonight.",
        "- *pending*",
    ]


def test_failed_turn_shows_its_error_and_an_interrupted_turn_its_partial_reply(talk: Conversation) -> None:
    talk.say("A table.")
    talk.fail("The model\nis away.")
    talk.say("Hello?")
    talk.interrupt("I am")
    lines = conversation_tail(talk.timeline).splitlines()
    assert lines[3:] == ["- *failed*: The model is away.", "- **User:** Hello?", "- **Agent:** I am"]


def test_rewound_session_shows_only_its_visible_branch(talk: Conversation) -> None:
    talk.exchange("Secret.")
    talk.rewind("t0")
    tail = conversation_tail(talk.timeline)
    assert tail.startswith("**rewound** at revision 5")
    assert "Secret." not in tail


def test_tail_is_bounded_however_long_the_conversation(talk: Conversation) -> None:
    for number in range(TAIL_TURNS + 2):
        talk.exchange(f"Message {number}: {'long ' * 1000}", "x" * 10_000)
    lines = conversation_tail(talk.timeline).splitlines()
    assert len(lines) == 1 + 2 * TAIL_TURNS
    assert lines[1].startswith("- **User:** Message 2:")
    assert all(len(line) <= MAX_LINE + len("- **Agent:** ") for line in lines)
    assert lines[1].endswith("…")


def test_text_of_a_message_stays_on_one_line(talk: Conversation) -> None:
    talk.exchange("One.\n\n# Two\n- **Agent:** I never said that.", "Three.")
    lines = conversation_tail(talk.timeline).splitlines()
    assert lines[2] == r"- **User:** One. \# Two - \*\*Agent:\*\* I never said that."
    assert lines[3] == "- **Agent:** Three."


@pytest.mark.parametrize(("amount", "shown"), [("100", "100 USD"), ("0.0000001", "0.0000001 USD"), ("0", "0 USD")])
def test_amounts_are_written_without_exponents(amount: str, shown: str) -> None:
    talk = Conversation()
    talk.say("Hi.")
    progress = answered(talk.head.id, "Hi.", usd=amount)
    talk.timeline = complete(talk.timeline, progress, talk.limits, at=talk.tick())
    assert conversation_tail(talk.timeline).splitlines()[0].endswith(f", {shown}")


def test_model_without_a_price_is_named_rather_than_shown_as_free() -> None:
    talk = Conversation()
    talk.say("Hi.")
    cost = merge_costs([rounded_cost("test:model", Decimal("0.5")), unpriced_cost("test:secret")])
    progress = answered(talk.head.id, "Hi.").model_copy(update={"cost": cost})
    talk.timeline = complete(talk.timeline, progress, talk.limits, at=talk.tick())
    assert "0.5 USD without test:secret (price unknown)" in conversation_tail(talk.timeline)


def test_markup_in_a_message_is_escaped(talk: Conversation) -> None:
    talk.exchange("<img src=x> [click](https://example.com) `rm` a_b *now*!", "Fine.")
    assert (
        conversation_tail(talk.timeline).splitlines()[2]
        == r"- **User:** \<img src=x\> \[click\]\(https://example.com\) \`rm\` a\_b \*now\*\!"
    )


def test_waiting_approval_is_shown_with_its_deadline(talk: Conversation) -> None:
    approval = WaitingApproval(
        call_id="turn_1.1.0.call_7",
        turn_id="turn_1",
        tool="refund",
        reason="Refund 20 EUR?",
        requested_at=datetime(2026, 11, 23, 9, tzinfo=UTC),
        expires_at=datetime(2026, 11, 23, 10, 30, tzinfo=UTC),
    )
    waiting = talk.timeline.model_copy(update={"approvals": (approval,)})
    assert conversation_tail(waiting).splitlines()[-1] == (
        "- *waits until 2026-11-23 10:30 UTC for approval of* `refund` (`turn_1.1.0.call_7`): Refund 20 EUR?"
    )


def test_details_begin_with_the_name_of_the_session_and_its_agent() -> None:
    details = session_details("my *first*", "booking-line, version 3", Conversation().timeline)
    assert details.splitlines()[0] == r"**my \*first\*** with booking-line, version 3"
