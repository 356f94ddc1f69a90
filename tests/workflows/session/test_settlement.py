"""Settlement: after the reply, once, in batches, and through outages of the store."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from domain.usage import TokenPrice
from store.api_keys import KeyStore
from store.billing.ledger import LedgerStore
from store.sessions.settlement import SettlementStore
from tests.support.activities import session_activities
from tests.support.outages import BreakableDatabase, ForgetfulSettlement
from tests.support.provider import Calls, Gate, Refuses, Says, ScriptedModel
from tests.support.session_stack import ORGANIZATION, QUICK, SessionStack, session_worker, spoken
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

NEVER = QUICK.model_copy(update={"settle_within": 3600.0})
"""Turns wait an hour for others to be settled with, unless something else makes it happen."""


async def test_many_turns_are_settled_without_waiting_for_more(stack: SessionStack, scripted: Scripted) -> None:
    session = await stack.open(model=scripted().string, timing=NEVER)
    await session.billed(1)
    for number in range(8):
        await session.say(f"Message {number}")
    await session.billed(9)
    greeting, batch = await session.settlements()
    assert len(greeting.turns) == 1, "after a quiet time a turn is settled at once"
    assert len(batch.turns) == 8


async def test_the_end_settles_everything_at_once(stack: SessionStack, scripted: Scripted) -> None:
    session = await stack.open(model=scripted().string, timing=NEVER)
    await session.say("Hello")
    await session.end()
    await session.handle.result()
    assert len(await stack.ledger(session)) == 2
    _, batch = await session.settlements()
    assert [fact.type for fact in batch.facts] == ["session_completed"]
    assert batch.head.status == "completed"


async def test_a_reply_does_not_wait_for_settling(
    stack_without_worker: SessionStack, breakable: BreakableDatabase, scripted: Scripted
) -> None:
    breakable.down = True
    async with session_worker(
        stack_without_worker, session_activities(stack_without_worker.database, settlement=SettlementStore(breakable))
    ):
        session = await stack_without_worker.open(model=scripted().string)
        await eventually(breakable.has_refused)
        assert await session.reply("Hello") == "You said: Hello"
        assert await stack_without_worker.ledger(session) == []
        breakable.down = False
        await session.billed(2)


async def test_a_settlement_whose_answer_was_lost_bills_once(
    stack_without_worker: SessionStack, scripted: Scripted
) -> None:
    stack = replace(stack_without_worker, organization_id="org_settles_twice")
    await KeyStore(stack.database).ensure_organization(stack.organization_id, "Settles twice")
    settlement = ForgetfulSettlement(stack.database, failures=2)
    async with session_worker(stack, session_activities(stack.database, settlement=settlement)):
        session = await stack.open(model=scripted().string)
        await session.say("Hello")
        await session.end()
        await session.handle.result()
    entries = await stack.ledger(session)
    assert [entry.usage.requests for entry in entries] == [0, 1]
    totals = await LedgerStore(stack.database).totals(stack.organization_id)
    assert (totals.turns, totals.usage.requests) == (2, 1)


async def test_a_paid_reply_is_saved_later_when_the_store_is_down_and_not_bought_again(
    stack_without_worker: SessionStack, breakable: BreakableDatabase, scripted: Scripted
) -> None:
    gate = Gate()
    model = scripted(Says("At nine.", gate=gate))
    async with session_worker(stack_without_worker, session_activities(breakable)):
        session = await stack_without_worker.open(model=model.string)
        await session.until_settled()
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
    stack_without_worker: SessionStack, breakable: BreakableDatabase, scripted: Scripted
) -> None:
    model = scripted(Says("At nine."))
    async with session_worker(stack_without_worker, session_activities(breakable)):
        session = await stack_without_worker.open(model=model.string)
        await session.until_settled()
        breakable.down = True
        saying = asyncio.create_task(session.say("When do you open?"))
        await eventually(breakable.has_refused)
        assert model.journal == []
        breakable.down = False
        assert spoken((await saying).turn) == "At nine."
        assert len(model.journal) == 1


async def test_what_was_bought_before_a_turn_failed_is_billed(stack: SessionStack, scripted: Scripted) -> None:
    session = await stack.open(model=scripted(Calls("to_loans"), Refuses(401)).string)
    result = await session.say("I want a book.")
    assert (result.turn.status, result.turn.usage.requests) == ("failed", 1)
    assert [entry.usage.requests for entry in await session.billed(2)] == [0, 1]


async def test_the_totals_are_the_sum_of_the_ledger(stack_without_worker: SessionStack, scripted: Scripted) -> None:
    model = scripted()
    key = f"openai:{model.name}"
    price = TokenPrice(input=Decimal("0.15"), output=Decimal("0.6"))
    async with session_worker(
        stack_without_worker, session_activities(stack_without_worker.database, prices={key: price})
    ):
        session = await stack_without_worker.open(model=model.string)
        for number in range(3):
            await session.say(f"Message {number}")
        head = await session.end()
        await session.handle.result()
    entries = await stack_without_worker.ledger(session)
    spent = sum((entry.cost.total for entry in entries), Decimal(0))
    assert spent == head.cost.total == 3 * (11 * price.input + 7 * price.output) / 1_000_000
    totals = await LedgerStore(stack_without_worker.database).totals(ORGANIZATION)
    assert totals.cost.breakdown[key] == spent
    assert totals.usage.llm[key].requests == 3
