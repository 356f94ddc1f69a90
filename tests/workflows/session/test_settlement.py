"""Settlement: after the reply, once, in batches, and through outages of the store."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from domain.usage import TokenPrice
from store.api_keys import KeyStore
from store.billing.ledger import LedgerStore
from store.sessions.settlement import SettlementStore
from tests.support.activities import session_activities
from tests.support.outages import BreakableDatabase, ForgetfulSettlement
from tests.support.provider import ErrorReply, Gate, ScriptedModel, TextReply, ToolCallReply
from tests.support.session_stack import ORGANIZATION, QUICK, SessionHandle, SessionStack, reply_text, session_worker
from tests.support.waiting import eventually
from workflows.session.settlement import SETTLE_AT_ONCE

Scripted = Callable[..., ScriptedModel]

NEVER = QUICK.model_copy(update={"settle_within": 3600.0})
"""Turns may stay unsettled for an hour, unless something else settles them."""


async def chatting(stack: SessionStack, model: ScriptedModel) -> tuple[SessionHandle, list[str]]:
    """A busy session whose next model call settles its turns along with it, and the ids of those turns."""
    model.script(*(TextReply(f"Reply {number}") for number in range(SETTLE_AT_ONCE - 1)))
    session = await stack.open(model=model.string, timing=NEVER)
    await session.billed(1)
    return session, [(await session.say(f"Message {number}")).turn.id for number in range(SETTLE_AT_ONCE - 1)]


async def test_several_turns_of_a_busy_conversation_share_a_settlement(stack: SessionStack, scripted: Scripted) -> None:
    session, turn_ids = await chatting(stack, scripted())
    assert len(await stack.ledger(session)) == 1, "only the greeting"
    for number in range(SETTLE_AT_ONCE):
        turn_ids.append((await session.say(f"Another {number}")).turn.id)
    settled = turn_ids[:-1]
    assert [entry.turn_id for entry in await session.billed(len(turn_ids))][1:] == settled, "all but the last"
    [greeting] = await session.settlements()
    assert len(greeting.turns) == 1, "after a quiet time a turn is settled at once"
    first, second = await session.travelled()
    middle = SETTLE_AT_ONCE - 1
    assert [turn.id for turn in first.turns] == settled[:middle]
    assert [turn.id for turn in second.turns] == settled[middle:]
    assert (first.follows, second.follows) == ((greeting.head.version,), (first.head.version,)), (
        "each goes on from the one before"
    )


async def test_the_last_model_call_before_a_settlement_is_due_carries_it(
    stack: SessionStack, scripted: Scripted
) -> None:
    """At a steady pace, so that turns are settled together before there are many of them."""
    session = await stack.open(model=scripted().string, timing=QUICK.model_copy(update={"settle_within": 1.0}))
    await session.billed(1)

    async def has_travelled() -> bool:
        await session.say("And then?")
        await asyncio.sleep(0.15)  # the pace, whatever it comes to on this machine
        return any(1 < len(record.turns) < SETTLE_AT_ONCE - 1 for record in await session.travelled())

    await eventually(has_travelled)


async def test_a_slow_model_does_not_delay_the_settlement(stack: SessionStack, scripted: Scripted) -> None:
    gate = Gate()
    model = scripted()
    session, turn_ids = await chatting(stack, model)
    model.script(TextReply("At ten.", gate=gate))
    saying = asyncio.create_task(session.say("And on Sundays?"))
    await gate.reached()
    await session.billed(1 + len(turn_ids))
    gate.open()
    assert reply_text((await saying).turn) == "At ten."
    assert len(await session.settlements()) == 1, "they were settled beside the model call"


async def test_turns_carried_by_a_failed_call_are_settled_separately_afterwards(
    stack: SessionStack, scripted: Scripted
) -> None:
    model = scripted()
    session, turn_ids = await chatting(stack, model)
    model.script(ErrorReply(401))
    assert (await session.say("And on Sundays?")).turn.status == "failed"
    await session.end()
    await session.handle.result()
    [record] = await session.travelled()
    assert [turn.id for turn in record.turns] == turn_ids
    _, rest, *_ = await session.settlements()
    assert [turn.status for turn in rest.turns] == ["completed"] * len(turn_ids) + ["failed"], (
        "it is unknown whether the call settled it"
    )
    assert record.follows
    assert rest.follows == (record.follows[0], record.head.version)
    billed = [entry.usage.requests for entry in await stack.ledger(session)]
    assert billed == [0, *[1] * len(turn_ids), 0]


async def test_a_reply_arrives_although_the_settlement_beside_it_fails(
    stack_without_worker: SessionStack, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("scripted: the record cannot be written")

    async with session_worker(stack_without_worker):
        session, turn_ids = await chatting(stack_without_worker, scripted())
        monkeypatch.setattr(SettlementStore, "settle_in", refuse)
        assert await session.reply("Are you there?") == "You said: Are you there?"
        monkeypatch.undo()
        await session.say("Good.")
        await session.end()
        await session.handle.result()
        billed = [entry.usage.requests for entry in await stack_without_worker.ledger(session)]
        assert billed == [0, *[1] * (len(turn_ids) + 2)]


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


async def test_a_paid_reply_is_saved_later_when_the_store_is_down_and_not_paid_for_again(
    stack_without_worker: SessionStack, breakable: BreakableDatabase, scripted: Scripted
) -> None:
    gate = Gate()
    model = scripted(TextReply("At nine.", gate=gate))
    async with session_worker(stack_without_worker, session_activities(breakable)):
        session = await stack_without_worker.open(model=model.string)
        await session.until_settled()
        saying = asyncio.create_task(session.say("When do you open?"))
        await gate.reached()
        breakable.down = True
        gate.open()
        await eventually(breakable.has_refused)
        breakable.down = False
        assert reply_text((await saying).turn) == "At nine."
        assert len(model.journal) == 1
        assert [entry.usage.requests for entry in await session.billed(2)] == [0, 1]


async def test_the_model_is_not_called_while_the_store_is_down(
    stack_without_worker: SessionStack, breakable: BreakableDatabase, scripted: Scripted
) -> None:
    model = scripted(TextReply("At nine."))
    async with session_worker(stack_without_worker, session_activities(breakable)):
        session = await stack_without_worker.open(model=model.string)
        await session.until_settled()
        breakable.down = True
        saying = asyncio.create_task(session.say("When do you open?"))
        await eventually(breakable.has_refused)
        assert model.journal == []
        breakable.down = False
        assert reply_text((await saying).turn) == "At nine."
        assert len(model.journal) == 1


async def test_model_calls_made_before_a_turn_failed_are_billed(stack: SessionStack, scripted: Scripted) -> None:
    session = await stack.open(model=scripted(ToolCallReply("to_loans"), ErrorReply(401)).string)
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
