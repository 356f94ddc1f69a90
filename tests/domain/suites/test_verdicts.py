"""Checks on recorded conversations, and verdicts that combine them with the judge's findings."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pydantic import JsonValue

from domain.suites.checks import Checks, Conversation, Finding, run_checks
from domain.suites.verdicts import (
    CriterionVerdict,
    Outcome,
    first_reason,
    inconclusive_verdicts,
    parse_verdicts,
    verdict_of,
    verdict_schema,
)
from domain.turns.turn import AssistantMessage, EventType, Turn, TurnEvent, UserMessage

AT = datetime(2026, 1, 1, tzinfo=UTC)


def turn(number: int, user: str | None, agent: str, *events: TurnEvent) -> Turn:
    return Turn(
        id=f"turn_{number}",
        parent_id=f"turn_{number - 1}" if number else None,
        index=number,
        status="completed",
        created_at=AT,
        user_message=UserMessage(text=user, created_at=AT) if user else None,
        assistant_message=AssistantMessage(text=agent, created_at=AT),
        events=events,
    )


def event(kind: EventType, **payload: JsonValue) -> TurnEvent:
    return TurnEvent(type=kind, created_at=AT, payload=payload)


CONVERSATION = Conversation(
    turns=(
        turn(0, None, "Good evening.", event("node_transition", from_node=None, to_node="greet")),
        turn(
            1,
            "A table for four, please.",
            "Table 12 is free. I can offer you a  Discount.",
            event("tool_call_started", call_id="1", name="find_table", arguments={"guests": 4, "room": "inside"}),
            event("tool_call_result", call_id="1", name="find_table", result="12"),
        ),
        turn(
            2,
            "Thank you, bye.",
            "Goodbye, and bring your card 1234.",
            event("variables_extracted", node="greet", variables={"party_size": 4}),
            event("node_transition", from_node="greet", to_node="goodbye"),
        ),
    ),
    variables={"party_size": 4, "name": "Anna  Bell", "guest": {"vip": True}},
    cost_usd=Decimal("0.02"),
    completion_reason="end_node",
)


def test_a_conversation_that_meets_all_checks_has_no_findings() -> None:
    checks = Checks.model_validate(
        {
            "must_visit": ["greet", "goodbye"],
            "must_call": [{"tool": "find_table", "arguments": {"guests": 4}}],
            "variables": {"party_size": 4, "name": "anna bell", "guest.vip": True},
            "never_says": ["credit card"],
            "never_matches": ["[0-9]{5}"],
            "max_turns": 2,
            "max_cost_usd": "0.02",
            "ended_with": ["caller_hung_up", "end_node"],
        }
    )
    assert run_checks(checks, CONVERSATION) == ()


@pytest.mark.parametrize(
    ("check", "message", "turn_ids"),
    [
        ({"must_visit": ["confirm"]}, "The conversation never reached confirm; it went through greet, goodbye.", "2"),
        ({"must_call": [{"tool": "cancel"}]}, "cancel was never called.", "2"),
        (
            {"must_call": [{"tool": "find_table", "arguments": {"guests": 5}}]},
            'find_table was not called with guests=5, but with guests=4, room="inside".',
            "1",
        ),
        ({"variables": {"party_size": 5}}, "party_size is 4, not 5.", "2"),
        ({"variables": {"date": "Friday"}}, 'date is not set, not "Friday".', "2"),
        ({"variables": {"guest.vip": 1}}, "guest.vip is True, not 1.", "2"),
        ({"never_says": ["a discount"]}, 'The agent said "a discount".', "1"),
        ({"never_matches": ["card [0-9]+"]}, 'The agent said something that matches "card [0-9]+".', "2"),
        ({"max_turns": 1}, "The conversation took 2 turns; at most 1 were allowed.", "2"),
        ({"max_cost_usd": "0.01"}, "The conversation cost 0.02 USD; at most 0.01 were allowed.", "2"),
        ({"ended_with": ["max_turns"]}, "The conversation ended with end_node, not with max_turns.", "2"),
    ],
)
def test_a_check_that_does_not_hold_names_the_turn_that_shows_it(
    check: dict[str, JsonValue], message: str, turn_ids: str
) -> None:
    [finding] = run_checks(Checks.model_validate(check), CONVERSATION)
    assert (finding.message, finding.turn_ids) == (message, (f"turn_{turn_ids}",))


def test_checks_of_words_ignore_the_simulated_user() -> None:
    assert run_checks(Checks(never_says=("for four",)), CONVERSATION) == ()


def test_a_call_that_no_mock_matches_fails_the_run() -> None:
    failed = event("tool_call_result", call_id="1", name="find_table", result="Error", error="not_mocked")
    [finding] = run_checks(Checks(), Conversation(turns=(turn(1, "A table.", "Hm.", failed),)))
    assert (finding.check, finding.turn_ids) == ("mocks", ("turn_1",))
    assert finding.message == "find_table was called with arguments that no mock matches."


def judged(*outcomes: Outcome) -> tuple[CriterionVerdict, ...]:
    return tuple(
        CriterionVerdict(criterion=str(number), outcome=each, reason="") for number, each in enumerate(outcomes)
    )


SAID = Finding(check="never_says", message="The agent said it.")
MISSED = Finding(check="must_visit", message="It was never reached.", could_mend=True)


@pytest.mark.parametrize(
    ("criteria", "findings", "cut_short", "outcome"),
    [
        (judged("passed", "passed"), (), None, "passed"),
        ((), (), None, "passed"),
        (judged("passed", "inconclusive"), (), None, "inconclusive"),
        (judged("inconclusive", "failed"), (), None, "failed"),
        (judged("passed"), (SAID,), None, "failed"),
        (judged("inconclusive"), (MISSED,), None, "failed"),
        (judged("failed"), (), None, "failed"),
        (judged("passed"), (MISSED,), "The budget was spent.", "inconclusive"),
        (judged("failed"), (), "The budget was spent.", "inconclusive"),
        (judged("passed"), (MISSED, SAID), "The budget was spent.", "failed"),
    ],
)
def test_checks_veto_and_never_rescue(
    criteria: tuple[CriterionVerdict, ...], findings: tuple[Finding, ...], cut_short: str | None, outcome: Outcome
) -> None:
    verdict = verdict_of(criteria, findings, cut_short)
    assert (verdict.outcome, verdict.findings, verdict.cut_short) == (outcome, findings, cut_short)


def test_the_judges_record_is_read_criterion_by_criterion() -> None:
    recorded: dict[str, JsonValue] = {
        "verdicts": [
            {
                "criterion": 2,
                "outcome": "Failed",
                "reason": "See turn_2 and turn_9.",
                "turn_ids": ["turn_1", "no turn"],
            },
            {"criterion": "1", "outcome": "passed", "reason": "It did.", "turn_ids": "turn_0"},
            {"criterion": 3, "outcome": "perhaps", "reason": "Hm.", "turn_ids": []},
            {"criterion": 4, "outcome": "passed", "reason": "Yes.", "turn_ids": []},
            {"criterion": 4, "outcome": "failed", "reason": "No.", "turn_ids": []},
            "nonsense",
        ]
    }
    one, two, three, four, five = parse_verdicts(["a", "b", "c", "d", "e"], recorded, CONVERSATION.turns)
    assert (one.criterion, one.outcome, one.turn_ids) == ("a", "passed", ())
    assert (two.outcome, two.turn_ids) == ("failed", ("turn_1", "turn_2"))
    assert [each.outcome for each in (three, four, five)] == ["inconclusive"] * 3


def test_a_judge_may_quote_only_what_was_said_in_the_turn_it_names() -> None:
    quotes: list[JsonValue] = [
        {"turn_id": "turn_1", "text": ' "I can offer you a  Discount." '},
        {"turn_id": "turn_1", "text": "A table for four"},
        {"turn_id": "turn_1", "text": "A table for four"},
        {"turn_id": "turn_2", "text": "A table for four"},
        {"turn_id": "turn_1", "text": "I offered a discount"},
        {"turn_id": "turn_9", "text": "Goodbye"},
        {"turn_id": "turn_2", "text": '""'},
        {"turn_id": "turn_2", "text": None},
        "nonsense",
    ]
    entry: dict[str, JsonValue] = {"criterion": 1, "outcome": "failed", "reason": "It did.", "turn_ids": []}
    [found] = parse_verdicts(["a"], {"verdicts": [{**entry, "quotes": quotes}]}, CONVERSATION.turns)
    assert [(each.turn_id, each.text) for each in found.quotes] == [
        ("turn_1", "I can offer you a  Discount."),
        ("turn_1", "A table for four"),
    ]
    assert found.turn_ids == ("turn_1",)
    [older] = parse_verdicts(["a"], {"verdicts": [entry]}, CONVERSATION.turns)
    assert older.quotes == ()


@pytest.mark.parametrize("recorded", [{}, {"verdicts": "all good"}, {"malformed": "{"}])
def test_an_unreadable_judgement_is_inconclusive(recorded: dict[str, JsonValue]) -> None:
    assert parse_verdicts(["a"], recorded, ()) == inconclusive_verdicts(["a"], "The judge gave no verdict.")


def test_the_schema_asks_for_every_criterion() -> None:
    schema = verdict_schema(["a", "b"])
    assert schema["required"] == ["verdicts"]
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert isinstance(properties["verdicts"], dict)
    assert properties["verdicts"]["minItems"] == 2


@dataclass(frozen=True)
class Run:
    """A finished run without findings, verdicts or errors, unless the test adds some."""

    findings: tuple[Finding, ...] = ()
    criteria: tuple[CriterionVerdict, ...] = ()
    error: str | None = None
    cut_short: str | None = None


def test_the_first_reason_is_a_check_then_the_judge_then_an_early_end() -> None:
    check = Finding(check="max_turns", message="It took 12 turns.")
    passed = CriterionVerdict(criterion="polite", outcome="passed", reason="It was polite.")
    failed = CriterionVerdict(criterion="books", outcome="failed", reason="No book was lent.")
    full = Run(findings=(check,), criteria=(passed, failed), error="The judge failed.", cut_short="The caller failed.")
    assert first_reason(full) == "It took 12 turns."
    assert first_reason(replace(full, findings=())) == "No book was lent."
    assert first_reason(replace(full, findings=(), criteria=(passed,))) == "The judge failed."
    assert first_reason(replace(full, findings=(), criteria=(), error=None)) == "The caller failed."
    assert first_reason(Run(criteria=(passed,))) == ""
