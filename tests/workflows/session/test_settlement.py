"""Billing and recording: behind the reply, once, in batches, and through outages of the store."""

import asyncio
from collections.abc import Callable
from decimal import Decimal

from domain.usage import TokenPrice
from store.billing.ledger import LedgerStore
from store.sessions.settlement import SettlementStore
from tests.support.activities import activities_on
from tests.support.outages import BreakableDatabase, ForgetfulSettlement
from tests.support.provider import Calls, Gate, Refuses, Says, ScriptedModel
from tests.support.stage import ORGANIZATION, QUICK, Stage, spoken, worker_on
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

NEVER = QUICK.model_copy(update={"settle_within": 3600.0})
"""Turns wait an hour for others to be settled with, unless something else makes it happen."""


async def test_many_turns_are_settled_without_waiting_for_more(stage: Stage, scripted: Scripted) -> None:
    session = await stage.open(model=scripted().string, timing=NEVER)
    await session.billed(1)
    for number in range(8):
        await session.say(f"Message {number}")
    await session.billed(9)
    greeting, batch = await session.settlements()
    assert len(greeting.turns) == 1, "after a quiet time a turn is settled at once"
    assert len(batch.turns) == 8


async def test_the_end_settles_everything_at_once(stage: Stage, scripted: Scripted) -> None:
    session = await stage.open(model=scripted().string, timing=NEVER)
    await session.say("Hello")
    await session.end()
    await session.handle.result()
    assert len(await stage.ledger(session)) == 2
    _, batch = await session.settlements()
    assert [fact.type for fact in batch.facts] == ["session_completed"]
    assert batch.head.status == "completed"


async def test_a_reply_does_not_wait_for_settling(
    empty_stage: Stage, breakable: BreakableDatabase, scripted: Scripted
) -> None:
    breakable.down = True
    async with worker_on(empty_stage, activities_on(empty_stage.database, settlement=SettlementStore(breakable))):
        session = await empty_stage.open(model=scripted().string)
        await eventually(breakable.has_refused)
        assert await session.reply("Hello") == "You said: Hello"
        assert await empty_stage.ledger(session) == []
        breakable.down = False
        await session.billed(2)


async def test_a_settlement_whose_answer_was_lost_bills_once(empty_stage: Stage, scripted: Scripted) -> None:
    settlement = ForgetfulSettlement(empty_stage.database, failures=2)
    before = await LedgerStore(empty_stage.database).totals(ORGANIZATION)
    async with worker_on(empty_stage, activities_on(empty_stage.database, settlement=settlement)):
        session = await empty_stage.open(model=scripted().string)
        await session.say("Hello")
        await session.end()
        await session.handle.result()
    entries = await empty_stage.ledger(session)
    assert [entry.usage.requests for entry in entries] == [0, 1]
    after = await LedgerStore(empty_stage.database).totals(ORGANIZATION)
    assert after.turns - before.turns == 2
    assert after.usage.requests - before.usage.requests == 1


async def test_a_paid_reply_is_saved_later_when_the_store_is_down_and_not_bought_again(
    empty_stage: Stage, breakable: BreakableDatabase, scripted: Scripted
) -> None:
    gate = Gate()
    model = scripted(Says("At nine.", gate=gate))
    async with worker_on(empty_stage, activities_on(breakable)):
        session = await empty_stage.open(model=model.string)
        await session.at_rest()
        saying = asyncio.create_task(session.say("When do you open?"))
        await gate.reached()
        breakable.down = True
        gate.open()
        await eventually(breakable.has_refused)
        breakable.down = False
        assert spoken((await saying).turn) == "At nine."
        assert len(model.journal) == 1
        assert [entry.usage.requests for entry in await session.billed(2)] == [0, 1]


async def test_a_store_that_is_down_before_the_model_is_asked_is_waited_for(
    empty_stage: Stage, breakable: BreakableDatabase, scripted: Scripted
) -> None:
    model = scripted(Says("At nine."))
    async with worker_on(empty_stage, activities_on(breakable)):
        session = await empty_stage.open(model=model.string)
        await session.at_rest()
        breakable.down = True
        saying = asyncio.create_task(session.say("When do you open?"))
        await eventually(breakable.has_refused)
        assert model.journal == []
        breakable.down = False
        assert spoken((await saying).turn) == "At nine."
        assert len(model.journal) == 1


async def test_what_was_bought_before_a_turn_failed_is_billed(stage: Stage, scripted: Scripted) -> None:
    session = await stage.open(model=scripted(Calls("to_loans"), Refuses(401)).string)
    result = await session.say("I want a book.")
    assert (result.turn.status, result.turn.usage.requests) == ("failed", 1)
    assert [entry.usage.requests for entry in await session.billed(2)] == [0, 1]


async def test_the_totals_are_the_sum_of_the_ledger(empty_stage: Stage, scripted: Scripted) -> None:
    model = scripted()
    key = f"openai:{model.name}"
    price = TokenPrice(input=Decimal("0.15"), output=Decimal("0.6"))
    async with worker_on(empty_stage, activities_on(empty_stage.database, prices={key: price})):
        session = await empty_stage.open(model=model.string)
        for number in range(3):
            await session.say(f"Message {number}")
        head = await session.end()
        await session.handle.result()
    entries = await empty_stage.ledger(session)
    spent = sum((entry.cost.total for entry in entries), Decimal(0))
    assert spent == head.cost.total == 3 * (11 * price.input + 7 * price.output) / 1_000_000
    totals = await LedgerStore(empty_stage.database).totals(ORGANIZATION)
    assert totals.cost.breakdown[key] == spent
    assert totals.usage.llm[key].requests == 3
