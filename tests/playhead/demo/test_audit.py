"""The demo's audit reports every possible mismatch of its records, with exit status 1."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from rich.text import Text

from domain.turns.turn import Turn, UserMessage
from domain.usage import ModelUsage, TokenPrice, Usage, cost_of
from playhead.demo.audit import (
    Evidence,
    HistoryRecord,
    LedgerRow,
    Spending,
    StepKey,
    StoreRecord,
    Totals,
    TurnTexts,
    audit,
    spending_of,
    total_of,
)
from playhead.demo.command import conclude
from playhead.demo.output import Screen, tree_lines

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MODEL = "demo:scripted"
PRICE = TokenPrice(input=Decimal("0.25"), output=Decimal("2.00"))
GREETING, BOOKED, DISCARDED = "turn_greeting", "turn_booked", "turn_discarded"
ANSWERED = {
    GREETING: TurnTexts(None, "Hello!"),
    BOOKED: TurnTexts("A table, please.", "For when?"),
    DISCARDED: TurnTexts("No table.", "Goodbye!"),
}


def _spending(prompt: int, completion: int) -> Spending:
    used = ModelUsage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion, requests=1)
    return spending_of(Usage(llm={MODEL: used}, duration_seconds=1.5), cost_of(MODEL, used, PRICE))


STEPS = {
    StepKey(BOOKED, 0): _spending(100, 3),
    StepKey(BOOKED, 1): _spending(140, 12),
    StepKey(DISCARDED, 0): _spending(90, 10),
}
LEDGER = tuple(
    LedgerRow(turn_id, total_of(spent for key, spent in STEPS.items() if key.turn_id == turn_id))
    for turn_id in ANSWERED
)
EVIDENCE = Evidence(
    answered=ANSWERED,
    history=HistoryRecord(opened=tuple(ANSWERED), settled=frozenset(ANSWERED), steps=STEPS, retried=1),
    store=StoreRecord(turns=ANSWERED, steps=STEPS),
    ledger=LEDGER,
    totals=Totals(turns=3, spent=total_of(STEPS.values())),
)


def test_accounts_that_agree_are_ok(capsys: pytest.CaptureFixture[str]) -> None:
    assert conclude(Screen(), audit(EVIDENCE)) == 0
    assert capsys.readouterr().out == "demo: ok, 3 turns, 3 billed, 0 lost, 0 billed twice\n"


def _without_ledger_row() -> Evidence:
    return replace(EVIDENCE, ledger=LEDGER[:-1])


def _with_doubled_ledger_row() -> Evidence:
    return replace(EVIDENCE, ledger=(*LEDGER, LEDGER[1]))


def _with_a_row_for_an_unknown_turn() -> Evidence:
    return replace(EVIDENCE, ledger=(*LEDGER, LedgerRow("turn_unknown", total_of([]))))


def _without_stored_turn() -> Evidence:
    turns = {turn_id: words for turn_id, words in ANSWERED.items() if turn_id != DISCARDED}
    return replace(EVIDENCE, store=replace(EVIDENCE.store, turns=turns))


def _with_an_unknown_stored_turn() -> Evidence:
    turns = {**ANSWERED, "turn_unknown": TurnTexts("Psst.", None)}
    return replace(EVIDENCE, store=replace(EVIDENCE.store, turns=turns))


def _with_other_texts_in_the_store() -> Evidence:
    turns = {**ANSWERED, BOOKED: TurnTexts("A table, please.", None)}
    return replace(EVIDENCE, store=replace(EVIDENCE.store, turns=turns))


def _without_turn_in_the_history() -> Evidence:
    return replace(EVIDENCE, history=replace(EVIDENCE.history, opened=(GREETING, BOOKED)))


def _with_a_second_turn_in_the_history() -> Evidence:
    history = replace(EVIDENCE.history, opened=(*ANSWERED, "turn_again"))
    return replace(EVIDENCE, history=history)


def _with_an_unsettled_turn() -> Evidence:
    return replace(EVIDENCE, history=replace(EVIDENCE.history, settled=frozenset({GREETING, BOOKED})))


def _with_a_step_paid_twice() -> Evidence:
    steps = {**STEPS, StepKey(DISCARDED, 1): _spending(90, 10)}
    return replace(EVIDENCE, store=replace(EVIDENCE.store, steps=steps))


def _without_a_saved_step() -> Evidence:
    steps = {key: spent for key, spent in STEPS.items() if key != StepKey(BOOKED, 0)}
    return replace(EVIDENCE, store=replace(EVIDENCE.store, steps=steps))


def _with_a_step_saved_differently() -> Evidence:
    steps = {**STEPS, StepKey(BOOKED, 0): _spending(101, 3)}
    return replace(EVIDENCE, store=replace(EVIDENCE.store, steps=steps))


def _with_a_wrong_bill() -> Evidence:
    row = LedgerRow(BOOKED, _spending(240, 16))
    return replace(EVIDENCE, ledger=(LEDGER[0], row, LEDGER[2]))


def _with_a_wrong_total() -> Evidence:
    total = EVIDENCE.totals.spent
    cost = total.cost.model_copy(update={"total": total.cost.total + Decimal("0.000000000001")})
    return replace(EVIDENCE, totals=Totals(turns=3, spent=Spending(total.usage, cost)))


def _with_a_wrong_count() -> Evidence:
    return replace(EVIDENCE, totals=replace(EVIDENCE.totals, turns=4))


@pytest.mark.parametrize(
    ("tampered", "figures", "difference"),
    [
        (_without_ledger_row, "3 turns, 2 billed, 1 lost, 0 billed twice", f"{DISCARDED} is missing in the ledger"),
        (_with_doubled_ledger_row, "3 turns, 4 billed, 0 lost, 1 billed twice", f"{BOOKED} has 2 rows in the ledger"),
        (_with_a_row_for_an_unknown_turn, "3 turns, 4 billed, 0 lost, 1 billed twice", "the ledger bills turn_unknown"),
        (_without_stored_turn, "3 turns, 3 billed, 1 lost, 0 billed twice", f"{DISCARDED} is missing in the store"),
        (_with_an_unknown_stored_turn, "0 lost, 0 billed twice", "the store has turn_unknown"),
        (_with_other_texts_in_the_store, "0 lost, 0 billed twice", f"{BOOKED} has other texts in the store"),
        (_without_turn_in_the_history, "2 turns, 3 billed, 1 lost", f"{DISCARDED} is missing in Temporal's history"),
        (
            _with_a_second_turn_in_the_history,
            "4 turns, 3 billed, 1 lost",
            "turn_again, which was not returned over HTTP",
        ),
        (_with_an_unsettled_turn, "1 lost", f"{DISCARDED} is missing in the settled records of the history"),
        (
            _with_a_step_paid_twice,
            "0 lost, 1 billed twice",
            f"step 2 of {DISCARDED} is saved in the store, but did not",
        ),
        (_without_a_saved_step, "0 lost, 0 billed twice", f"step 1 of {BOOKED} is missing in the store"),
        (_with_a_step_saved_differently, "0 billed twice", f"step 1 of {BOOKED} is 1 request, 104 tokens"),
        (_with_a_wrong_bill, "0 billed twice", f"the ledger bills {BOOKED} with 1 request, 256 tokens"),
        (_with_a_wrong_total, "0 billed twice", "GET /v1/usage returns 3 requests, 355 tokens, 0.000132500001 USD"),
        (_with_a_wrong_count, "0 billed twice", "GET /v1/usage returns 4 turns, but the ledger has 3 rows"),
    ],
)
def test_a_difference_is_named_and_ends_with_status_1(
    tampered: Callable[[], Evidence], figures: str, difference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert conclude(Screen(), audit(tampered())) == 1
    last_line = capsys.readouterr().out.splitlines()[-1]
    assert last_line.startswith("demo: failed, ")
    assert figures in last_line
    assert difference in last_line


def test_amounts_are_equal_however_they_were_written() -> None:
    used = ModelUsage(prompt_tokens=8, total_tokens=8, requests=1)
    cost = cost_of(MODEL, used, PRICE)
    as_json = cost.model_validate_json(cost.model_dump_json().replace('"0.000002000000"', '"0.000002"'))
    assert spending_of(Usage(llm={MODEL: used}, duration_seconds=2), cost) == spending_of(
        Usage(llm={MODEL: used}), as_json
    )


def test_tree_shows_a_discarded_branch_beside_the_one_that_goes_on() -> None:
    greeting = Turn(id="a", parent_id=None, index=0, status="completed", created_at=NOON)
    discarded = Turn(id="b", parent_id="a", index=1, status="completed", created_at=NOON, user_message=_said("Book."))
    after_it = Turn(id="c", parent_id="b", index=2, status="failed", created_at=NOON, user_message=_said("Friday."))
    going_on = Turn(id="d", parent_id="a", index=1, status="completed", created_at=NOON, user_message=_said("[Cancel]"))
    lines = [Text.from_markup(line).plain for line in tree_lines([greeting, going_on, discarded, after_it], {"b", "c"})]
    assert lines == [
        "  ● 0 (greeting) completed",
        "  ├─╮ discarded",
        "  │ ○ 1 Book. -> completed",
        "  │ ○ 2 Friday. -> failed",
        "  ● 1 [Cancel] -> completed",
    ]


def _said(text: str) -> UserMessage:
    return UserMessage(text=text, created_at=NOON)
