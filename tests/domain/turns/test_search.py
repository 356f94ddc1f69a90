"""Search in a turn: the words that are found, and the excerpt around them."""

from datetime import UTC, datetime

from domain.turns.search import excerpt_with
from domain.turns.turn import AssistantMessage, Turn, TurnEvent, UserMessage

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
TURN = Turn(
    id="turn_1",
    parent_id="turn_0",
    index=1,
    status="completed",
    created_at=NOON,
    user_message=UserMessage(text="A table for four.", created_at=NOON),
    assistant_message=AssistantMessage(text=f"{'well ' * 20}on the terrace {'then ' * 20}", created_at=NOON),
    events=(
        TurnEvent(
            type="tool_call_started",
            created_at=NOON,
            payload={"call_id": "a", "name": "find_table", "arguments": {"party": [{"guests": 4, "dog": "Rex"}]}},
        ),
        TurnEvent(type="tool_call_result", created_at=NOON, payload={"call_id": "a", "result": "Table 12 is free"}),
        TurnEvent(type="variables_extracted", created_at=NOON, payload={"variables": {"secret": "hidden"}}),
    ),
)


def test_words_are_found_in_messages_and_in_tool_calls() -> None:
    for words, shown in {
        "TABLE FOR": "A table for four.",
        "find_t": "find_table",
        "rex": "Rex",
        "guests": "guests",
        "12 is": "Table 12 is free",
    }.items():
        assert excerpt_with(TURN, words, 80) == shown
    assert excerpt_with(TURN, "hidden", 80) is None


def test_a_long_text_is_shown_around_the_words() -> None:
    shown = excerpt_with(TURN, "terrace", 40)
    assert shown is not None
    assert (shown[0], shown[-1]) == ("…", "…")
    assert "on the terrace" in shown
    assert len(shown) <= 40
