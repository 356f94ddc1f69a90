"""Ledger rows and totals, exact to the picodollar."""

from decimal import Decimal

import pytest

from domain.turns.engine import ModelReply
from domain.usage import cost_of_seconds, merge_costs
from store.billing.ledger import LedgerStore
from store.database.connection import Database
from store.sessions.settlement import SettlementStore
from store.sessions.steps import StepStore
from tests.support.stored_conversations import (
    MODEL,
    ORGANIZATION,
    PRICE,
    conversation,
    reply,
    save_step,
    session_in,
    settling,
    turn,
)

SMALLEST = Decimal("0.000000000001")


async def test_totals_are_the_sum_of_the_rows(database: Database) -> None:
    await session_in(database)
    turns = conversation(9)
    for number, each in enumerate(turns, start=1):
        price = Decimal("0.1") + number * SMALLEST
        await save_step(StepStore(database), each.id, model_reply=reply(cost=price))
        await SettlementStore(database).settle(settling(each, version=number))
    ledger = LedgerStore(database)
    rows = (await ledger.rows(ORGANIZATION, limit=100)).items
    totals = await ledger.totals(ORGANIZATION)
    assert totals.cost == merge_costs(row.cost for row in rows)
    assert totals.cost.total == Decimal("0.900000000045")
    assert totals.turns == len(rows) == 9
    assert totals.usage.llm[MODEL].total_tokens == 9 * 15
    assert totals.usage.duration_seconds == pytest.approx(13.5)


async def test_seconds_that_were_charged_stand_beside_the_models(database: Database) -> None:
    await session_in(database)
    for each, seconds in zip(conversation(3), (0.5, 1.25, 0.0), strict=True):
        await save_step(StepStore(database), each.id, model_reply=charged(reply(), seconds))
        await SettlementStore(database).settle(settling(each))
    ledger = LedgerStore(database)
    rows = (await ledger.rows(ORGANIZATION, limit=100)).items
    assert [row.usage.model_seconds for row in rows] == [0.0, 1.25, 0.5]
    totals = await ledger.totals(ORGANIZATION)
    assert totals.cost == merge_costs(row.cost for row in rows)
    assert totals.cost.breakdown == {MODEL: 3 * PRICE, "duration": Decimal("3.5")}
    assert (totals.turns, totals.usage.model_seconds, set(totals.usage.llm)) == (3, 1.75, {MODEL})


def charged(answer: ModelReply, seconds: float) -> ModelReply:
    """The reply, with seconds of model time at two dollars each."""
    usage = answer.usage.model_copy(update={"model_seconds": seconds})
    cost = merge_costs([answer.cost, cost_of_seconds(seconds, Decimal(2))])
    return answer.model_copy(update={"usage": usage, "cost": cost})


async def test_model_without_a_price_is_named_and_not_counted_as_free(database: Database) -> None:
    await session_in(database)
    steps = StepStore(database)
    await save_step(steps, "turn_0", 0, model_reply=reply(cost=None))
    await save_step(steps, "turn_0", 1, model_reply=reply("demo:scripted", cost=Decimal(0)))
    await SettlementStore(database).settle(settling(turn("turn_0")))
    cost = (await LedgerStore(database).totals(ORGANIZATION)).cost
    assert cost.unpriced_models == (MODEL,)
    assert cost.breakdown == {"demo:scripted": Decimal(0)}


async def test_model_that_was_priced_only_sometimes_is_both_priced_and_named(database: Database) -> None:
    await session_in(database)
    steps = StepStore(database)
    await save_step(steps, "turn_0", 0, model_reply=reply(cost=None))
    await save_step(steps, "turn_0", 1, model_reply=reply(cost=Decimal("0.25")))
    await SettlementStore(database).settle(settling(turn("turn_0")))
    cost = (await LedgerStore(database).totals(ORGANIZATION)).cost
    assert (cost.unpriced_models, cost.breakdown) == ((MODEL,), {MODEL: Decimal("0.25")})


async def test_an_organization_without_usage_has_an_empty_bill(database: Database) -> None:
    totals = await LedgerStore(database).totals("org_nobody")
    assert (totals.turns, totals.cost.total, totals.usage.llm) == (0, Decimal(0), {})
    assert (await LedgerStore(database).rows("org_nobody", limit=10)).items == ()


async def test_rows_are_paged_newest_first_and_by_session(database: Database) -> None:
    for session_id in ("ses_1", "ses_2"):
        await session_in(database, session_id)
        await SettlementStore(database).settle(settling(*conversation(5), session_id=session_id))
    ledger = LedgerStore(database)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await ledger.rows(ORGANIZATION, session_id="ses_1", limit=2, cursor=cursor)
        seen += [row.turn_id for row in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(seen) == [f"turn_{index}" for index in range(5)]
    assert len((await ledger.rows(ORGANIZATION, limit=100)).items) == 10
    assert (await ledger.rows("org_other", session_id="ses_1", limit=100)).items == ()
