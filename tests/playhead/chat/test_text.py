"""Texts of the chat."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pydantic import JsonValue

from domain.turns.turn import AssistantMessage, EventType, Turn, TurnEvent, UserMessage
from domain.usage import Cost, ModelUsage, Usage
from playhead.chat import text as words
from playhead.chat.session_view import ChatAgent, ChatBranch, ChatSession
from playhead.output.events import Line, event_lines, money

NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def turn(index: int, said: str = "Hello", answer: str = "Good evening.", **fields: object) -> Turn:
    about: dict[str, object] = {
        "id": f"t{index}",
        "parent_id": f"t{index - 1}" if index else None,
        "index": index,
        "status": "completed",
        "created_at": NOON,
        "user_message": UserMessage(text=said, created_at=NOON) if index else None,
        "assistant_message": AssistantMessage(text=answer, created_at=NOON) if answer else None,
        "node_id": "greet",
    }
    return Turn.model_validate({**about, **fields})


def session(**fields: object) -> ChatSession:
    about: dict[str, object] = {
        "id": "ses_1",
        "agent_id": "agt_1",
        "agent_version": 1,
        "status": "idle",
        "revision": 2,
    }
    return ChatSession.model_validate({**about, **fields})


def text_of(lines: list[Line]) -> str:
    return "\n".join(line.text for line in lines)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("0", "$0.00"), ("0.5", "$0.50"), ("0.000123", "$0.000123"), ("12.3400000", "$12.34"), ("1E+2", "$100.00")],
)
def test_money_has_as_many_digits_as_it_needs(amount: str, shown: str) -> None:
    assert money(Decimal(amount)) == shown


def test_usage_names_models_without_a_price_and_does_not_count_them_as_free() -> None:
    known = ModelUsage(prompt_tokens=1200, completion_tokens=34, total_tokens=1234, requests=2)
    shown = words.usage(
        session(
            usage=Usage(llm={"openai:gpt-5-mini": known, "local:model": ModelUsage(requests=1)}),
            cost=Cost(
                total=Decimal("0.01"),
                breakdown={"openai:gpt-5-mini": Decimal("0.01")},
                unpriced_models=("local:model",),
            ),
        )
    )
    rows = [line.text.split() for line in shown]
    assert rows[1] == ["local:model", "1", "0", "0", "no", "price"]
    assert rows[2] == ["openai:gpt-5-mini", "2", "1,200", "34", "$0.01"]
    assert rows[3] == ["1,234", "tokens", "3", "$0.01"]
    assert "The price of local:model is not known" in shown[-1].text


def test_usage_shows_the_cost_of_the_models_seconds() -> None:
    used = ModelUsage(prompt_tokens=1, completion_tokens=1, total_tokens=2, requests=1)
    amounts = {"a:b": Decimal("0.01"), "duration": Decimal("0.03")}
    shown = words.usage(
        session(usage=Usage(llm={"a:b": used}, model_seconds=1.5), cost=Cost(total=Decimal("0.04"), breakdown=amounts))
    )
    rows = [line.text.split() for line in shown]
    assert rows[2] == ["1.5", "s", "of", "the", "model", "$0.03"]
    assert rows[3][-1] == "$0.04"


def test_columns_of_usage_are_aligned() -> None:
    used = ModelUsage(prompt_tokens=1, completion_tokens=1, total_tokens=2, requests=1)
    shown = words.usage(session(usage=Usage(llm={"a:b": used, "a:much-longer-name": used})))
    assert len({len(line.text) for line in shown}) == 1


def test_session_without_model_calls_costs_nothing() -> None:
    assert text_of(words.usage(session())) == "No model was called yet; the cost is zero."


def test_timeline_numbers_turns_from_the_greeting_and_shows_node_and_status() -> None:
    failed = turn(2, "On Friday", "", status="failed", error="Overloaded.", node_id="booking")
    shown = text_of(words.timeline(session(turns=(turn(0), turn(1, "For two"), failed))))
    assert "   1  (greeting)\n      Good evening. [greet]" in shown
    assert "   2  For two" in shown
    assert "   3  On Friday\n       [booking, failed]" in shown


def test_timeline_says_when_earlier_turns_are_not_listed() -> None:
    assert "(7 earlier turns are not listed here)" in text_of(words.timeline(session(turns=(turn(7),))))
    assert "(1 earlier turn is not listed here)" in text_of(words.timeline(session(turns=(turn(1),))))


def test_long_words_are_cut_in_lists() -> None:
    _, line, _ = words.timeline(session(turns=(turn(1, "word " * 100),)))
    assert len(line.text) < 80
    assert line.text.endswith("…")


def test_branches_show_where_they_began_and_their_messages() -> None:
    branch = ChatBranch(id="br_1", rewound_from_turn_id="t1", discarded_at=NOON, turns=(turn(2, "On Friday"),))
    shown = text_of(words.branches(session(discarded_branches=(branch,))))
    assert "br_1: 1 turn after turn 2, discarded at 12:00:00 UTC" in shown
    assert "   3  On Friday" in shown


def test_branch_that_begins_at_the_start_says_so() -> None:
    branch = ChatBranch(id="br_1", rewound_from_turn_id=None, discarded_at=NOON, turns=(turn(0), turn(1)))
    assert "br_1: 2 turns from the start" in text_of(words.branches(session(discarded_branches=(branch,))))


def test_events_of_a_turn_are_shown_as_dim_lines() -> None:
    events: list[tuple[EventType, dict[str, JsonValue]]] = [
        ("tool_call_started", {"name": "to_booking"}),
        ("node_transition", {"from_node": "greet", "to_node": "booking", "transition": "To booking"}),
        ("tool_call_result", {"name": "to_booking"}),
        ("tool_call_started", {"name": "find_table"}),
        ("tool_call_result", {"name": "find_table"}),
        ("tool_call_result", {"name": "find_table", "error": "timeout"}),
        ("variables_extracted", {"node": "greet", "variables": {"party_size": 4, "date": "Friday"}}),
        ("variables_extracted", {"node": "greet", "variables": {}}),
        ("variables_extracted", {"node": "greet", "variables": {}, "error": "The model is away."}),
        ("command_refused", {"detail": "The agent is busy."}),
    ]
    happened = tuple(TurnEvent(type=kind, created_at=NOON, payload=payload) for kind, payload in events)
    shown = event_lines(turn(1, events=happened))
    assert {line.tone for line in shown} == {"dim"}
    assert text_of(shown).splitlines() == [
        "→ booking",
        "· calls find_table",
        "· find_table failed: timeout",
        "· extracted party_size, date",
        "· extracting variables failed: The model is away.",
        "· rejected: The agent is busy.",
    ]


def test_unknown_reason_is_shown_as_it_was_given() -> None:
    ended = words.ended(session(status="completed", is_completed=True, completion_reason="bored"))
    assert "The session has ended: bored." in text_of(ended)


def test_model_of_the_server_is_not_guessed() -> None:
    header = text_of(words.header(ChatAgent(name="booking-line", version=1), session()))
    assert "model: the server's default" in header
    assert words.DEMO_NOTICE not in header
