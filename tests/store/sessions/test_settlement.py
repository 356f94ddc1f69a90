"""Settlement: every turn is billed and recorded once, in any order and after repeats."""

import asyncio
import random
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from contracts.sessions import SettleTurnsInput
from domain.sessions.timeline import AuxiliaryCall, DiscardedBranch, SessionFact
from domain.turns.turn import Turn, TurnEvent
from domain.usage import Cost, Usage
from store.billing.ledger import LedgerStore
from store.database.connection import Database
from store.database.tables import events
from store.sessions.event_log import EventLog
from store.sessions.sessions import SessionStore
from store.sessions.settlement import SettlementStore
from store.sessions.steps import StepStore
from tests.support.stored_conversations import (
    MODEL,
    ORGANIZATION,
    PRICE,
    SESSION,
    START,
    conversation,
    head,
    reply,
    save_step,
    session_in,
    settling,
    turn,
)


@pytest.fixture
async def settlement(database: Database) -> SettlementStore:
    """The settlements of a session that was created and has never been settled."""
    await session_in(database)
    return SettlementStore(database)


async def log(database: Database, session_id: str = SESSION) -> list[tuple[int, str, str]]:
    """The session's events as sequence, type and key."""
    statement = (
        select(events.c.sequence, events.c.type, events.c.key)
        .where(events.c.session_id == session_id)
        .order_by(events.c.sequence)
    )
    rows = await database.read(lambda connection: connection.execute(statement).all())
    return [(row.sequence, row.type, row.key) for row in rows]


async def stored_turns(database: Database, leaf: str) -> list[Turn]:
    return await SessionStore(database).turns(SESSION, leaf_turn_id=leaf, limit=100)


async def billed_turns(database: Database) -> list[str]:
    page = await LedgerStore(database).rows(ORGANIZATION, limit=200)
    return sorted(row.turn_id for row in page.items)


async def test_a_turn_is_billed_for_its_saved_steps_whatever_its_own_usage_says(
    database: Database, settlement: SettlementStore
) -> None:
    steps = StepStore(database)
    await save_step(steps, "turn_0", 0)
    await save_step(steps, "turn_0", 1)
    claims = turn("turn_0").model_copy(update={"cost": Cost(total=Decimal(99))})
    assert (await settlement.settle(settling(claims))).billed == 1
    (row,) = (await LedgerStore(database).rows(ORGANIZATION, limit=10)).items
    assert row.cost.total == 2 * PRICE
    assert row.cost.breakdown == {MODEL: 2 * PRICE}
    assert row.usage.llm[MODEL].requests == 2
    assert row.usage.duration_seconds == 1.5
    (stored,) = await stored_turns(database, "turn_0")
    assert (stored.usage, stored.cost) == (row.usage, row.cost)


async def test_turn_without_steps_costs_nothing_and_has_its_row(
    database: Database, settlement: SettlementStore
) -> None:
    assert (await settlement.settle(settling(turn("turn_0")))).billed == 1
    (row,) = (await LedgerStore(database).rows(ORGANIZATION, limit=10)).items
    assert (row.cost, row.usage.llm, row.usage.duration_seconds) == (Cost(), {}, 1.5)
    assert (await LedgerStore(database).totals(ORGANIZATION)).turns == 1


async def test_settling_again_changes_nothing(database: Database, settlement: SettlementStore) -> None:
    await save_step(StepStore(database), "turn_0")
    batch = settling(
        turn("turn_0"),
        branches=(DiscardedBranch(id="br_1", rewound_from_turn_id=None, leaf_turn_id="turn_0", discarded_at=START),),
        facts=(SessionFact(key="rewound-3", type="rewound", created_at=START),),
    )
    assert (await settlement.settle(batch)).billed == 1
    before = await log(database), await LedgerStore(database).totals(ORGANIZATION)
    assert [(await settlement.settle(batch)).billed for _ in range(3)] == [0, 0, 0]
    assert (await log(database), await LedgerStore(database).totals(ORGANIZATION)) == before
    assert len(await SessionStore(database).branches(SESSION)) == 1


async def test_concurrent_and_overlapping_batches_bill_each_turn_once(
    database: Database, other_process: Database, settlement: SettlementStore
) -> None:
    turns = conversation(12)
    for each in turns:
        await save_step(StepStore(database), each.id)
    chance = random.Random(7)
    stores = [settlement, SettlementStore(other_process)]
    batches = [settling(*chance.sample(turns, 4), version=version) for version in range(1, 21)]
    batches.append(settling(*turns, version=21))
    billed = await asyncio.gather(*(stores[number % 2].settle(batch) for number, batch in enumerate(batches)))
    assert sum(each.billed for each in billed) == 12
    assert await billed_turns(database) == sorted(each.id for each in turns)
    totals = await LedgerStore(database).totals(ORGANIZATION)
    assert (totals.turns, totals.cost.total) == (12, 12 * PRICE)
    sequences = [sequence for sequence, _, _ in await log(database)]
    assert sequences == list(range(1, 25)), "two events a turn, without gaps"


async def test_sessions_that_settle_at_once_add_up(database: Database, other_process: Database) -> None:
    sessions = [f"ses_{number}" for number in range(10)]
    for session_id in sessions:
        await session_in(database, session_id)
        await save_step(StepStore(database), "turn_0", session_id=session_id)
        await save_step(StepStore(database), "turn_0", 1, session_id=session_id, model_reply=reply("demo:scripted"))
    stores = [SettlementStore(database), SettlementStore(other_process)]
    await asyncio.gather(
        *(
            stores[number % 2].settle(settling(turn("turn_0"), session_id=session_id))
            for number, session_id in enumerate(sessions)
        )
    )
    totals = await LedgerStore(database).totals(ORGANIZATION)
    assert totals.turns == 10
    assert totals.cost.breakdown == {MODEL: 10 * PRICE, "demo:scripted": 10 * PRICE}


async def test_events_of_a_batch_are_in_the_order_in_which_they_happened(
    database: Database, settlement: SettlementStore
) -> None:
    moved = TurnEvent(type="node_transition", created_at=START + timedelta(seconds=1))
    ended = TurnEvent(type="session_end", created_at=START + timedelta(minutes=5))
    batch = settling(
        turn("turn_0", 0, events=(moved,)),
        turn("turn_1", 1, parent="turn_0", events=(ended,)),
        facts=(SessionFact(key="rewound-2", type="rewound", created_at=START + timedelta(seconds=30)),),
    )
    await settlement.settle(batch)
    assert await log(database) == [
        (1, "turn_started", "turn_0/started"),
        (2, "node_transition", "turn_0/0"),
        (3, "turn_completed", "turn_0/closed"),
        (4, "rewound", "rewound-2"),
        (5, "turn_started", "turn_1/started"),
        (6, "turn_completed", "turn_1/closed"),
        (7, "session_end", "turn_1/0"),
    ]


@pytest.mark.parametrize("status", ["failed", "interrupted"])
async def test_a_turn_that_was_not_completed_is_billed_and_logged(
    database: Database, settlement: SettlementStore, status: str
) -> None:
    await save_step(StepStore(database), "turn_0")
    lost = turn("turn_0").model_copy(update={"status": status, "assistant_message": None})
    assert (await settlement.settle(settling(lost))).billed == 1
    assert (await log(database))[-1][1] == f"turn_{status}"
    assert (await LedgerStore(database).totals(ORGANIZATION)).cost.total == PRICE


async def test_event_that_a_turn_gets_later_is_added_alone(database: Database, settlement: SettlementStore) -> None:
    await settlement.settle(settling(turn("turn_0")))
    ended = TurnEvent(type="session_end", created_at=START + timedelta(minutes=9), payload={"reason": "user_hangup"})
    assert (await settlement.settle(settling(turn("turn_0", events=(ended,)), version=2))).billed == 0
    assert [kind for _, kind, _ in await log(database)] == ["turn_started", "turn_completed", "session_end"]
    (stored,) = await stored_turns(database, "turn_0")
    assert stored.events == (ended,)


async def test_pending_turn_is_recorded_and_not_billed_before_it_is_over(
    database: Database, settlement: SettlementStore
) -> None:
    opened = turn("turn_1", 1, parent="turn_0").model_copy(update={"status": "pending", "assistant_message": None})
    assert (await settlement.settle(settling(turn("turn_0"), opened))).billed == 1
    assert [each.status for each in await stored_turns(database, "turn_1")] == ["completed", "pending"]
    assert (await settlement.settle(settling(turn("turn_1", 1, parent="turn_0"), version=2))).billed == 1
    assert [kind for _, kind, _ in await log(database)][-2:] == ["turn_started", "turn_completed"]


async def test_a_late_attempt_reverts_nothing(database: Database, settlement: SettlementStore) -> None:
    noted = TurnEvent(type="command_refused", created_at=START + timedelta(minutes=3))
    await settlement.settle(settling(turn("turn_0", events=(noted,)), at_head=head(5, status="completed")))
    late = settling(turn("turn_0"), turn("turn_1", 1, parent="turn_0"), at_head=head(2))
    assert (await settlement.settle(late)).billed == 1, "a turn that was not billed yet is billed even then"
    session = await SessionStore(database).find(ORGANIZATION, SESSION)
    assert session is not None
    assert session.head is not None
    assert (session.head.version, session.head.status) == (5, "completed")
    stored = await stored_turns(database, "turn_1")
    assert [each.events for each in stored] == [(noted,), ()]


async def test_workflow_that_was_reset_goes_on_from_an_earlier_version(
    database: Database, settlement: SettlementStore
) -> None:
    await settlement.settle(settling(turn("turn_0"), at_head=head(9, minute=9)))
    await settlement.settle(settling(turn("turn_1"), at_head=head(4, run_id="run_2", minute=30)))
    session = await SessionStore(database).find(ORGANIZATION, SESSION)
    assert session is not None
    assert session.head is not None
    assert (session.head.run_id, session.head.version) == ("run_2", 4)


async def test_erased_session_is_billed_and_not_recorded_again(database: Database) -> None:
    await save_step(StepStore(database), "turn_0")
    settlement = SettlementStore(database)
    fact = SessionFact(key="rewound-1", type="rewound", created_at=START)
    batch: SettleTurnsInput = settling(turn("turn_0"), facts=(fact,))
    assert [(await settlement.settle(batch)).billed for _ in range(2)] == [1, 0]
    assert (await LedgerStore(database).totals(ORGANIZATION)).cost.total == PRICE
    assert await log(database) == []
    assert await stored_turns(database, "turn_0") == []


async def test_texts_that_a_database_cannot_hold_do_not_stop_the_bill(
    database: Database, settlement: SettlementStore
) -> None:
    refused = TurnEvent(type="command_refused", created_at=START, payload={"detail": "a\x00b", "\x00": [1]})
    long_id = "m" * 10_000
    odd = turn("turn_0", events=(refused,), message_id="id\x00")
    longer = turn("turn_1", 1, parent="turn_0", message_id=long_id)
    assert (await settlement.settle(settling(odd, longer))).billed == 2
    sessions = SessionStore(database)
    for message_id, turn_id in (("id\x00", "turn_0"), (long_id, "turn_1")):
        found = await sessions.turn_of_message(SESSION, message_id)
        assert found is not None
        assert found.id == turn_id
    (stored, _) = await stored_turns(database, "turn_1")
    assert stored.events == (refused,), "the turn itself is kept to the letter"


async def test_nothing_to_settle_still_records_the_head(database: Database, settlement: SettlementStore) -> None:
    assert (await settlement.settle(settling(version=3))).billed == 0
    session = await SessionStore(database).find(ORGANIZATION, SESSION)
    assert session is not None
    assert session.head == head(3)


async def test_auxiliary_calls_are_billed_once_and_do_not_count_as_turns(
    database: Database, settlement: SettlementStore
) -> None:
    steps = StepStore(database)
    await save_step(steps, "turn_0")
    await save_step(steps, "turn_a")
    line = AuxiliaryCall(
        id="turn_a", purpose="caller", after_turn_id="turn_0", created_at=START, usage=Usage(duration_seconds=0.25)
    )
    for _ in range(2):
        await settlement.settle(settling(turn("turn_0"), auxiliary_calls=(line,)))
    ledger = LedgerStore(database)
    rows = {row.turn_id: row for row in (await ledger.rows(ORGANIZATION, limit=10)).items}
    assert {row.turn_id: row.purpose for row in rows.values()} == {"turn_0": "turn", "turn_a": "caller"}
    assert rows["turn_a"].cost.total == PRICE, "the saved step is billed, whatever the call says"
    assert rows["turn_a"].usage.duration_seconds == 0.25
    totals = await ledger.totals(ORGANIZATION)
    assert (totals.turns, totals.cost.total) == (1, 2 * PRICE)
    assert [each.id for each in await stored_turns(database, "turn_0")] == ["turn_0"]


async def test_a_restored_branch_is_not_listed_as_discarded_until_it_is_discarded_again(
    database: Database, settlement: SettlementStore
) -> None:
    branch = DiscardedBranch(id="br_1", rewound_from_turn_id="turn_0", leaf_turn_id="turn_1", discarded_at=START)
    again = branch.model_copy(update={"discarded_at": START + timedelta(hours=1)})
    sessions = SessionStore(database)
    await settlement.settle(settling(*conversation(2), branches=(branch,)))
    await settlement.settle(settling(version=2, restored_branch_ids=("br_1",)))
    assert await sessions.branches(SESSION) == []
    await settlement.settle(settling(version=3, restored_branch_ids=("br_1",), branches=(again,)))
    assert await sessions.branches(SESSION) == [again]


async def test_late_attempt_moves_no_branch(database: Database, settlement: SettlementStore) -> None:
    kept = DiscardedBranch(id="br_1", rewound_from_turn_id="turn_0", leaf_turn_id="turn_1", discarded_at=START)
    restored = kept.model_copy(update={"id": "br_2", "leaf_turn_id": "turn_2"})
    await settlement.settle(settling(*conversation(3), version=3, branches=(kept,)))
    await settlement.settle(settling(version=2, restored_branch_ids=("br_1",), branches=(restored,)))
    assert await SessionStore(database).branches(SESSION) == [kept]


async def test_turn_that_was_taken_over_is_recorded_and_not_billed_again(
    database: Database, settlement: SettlementStore
) -> None:
    steps = StepStore(database)
    for turn_id in ("turn_0", "turn_1"):
        await save_step(steps, turn_id)
    ended = TurnEvent(type="session_end", created_at=START, payload={"reason": "user_hangup"})
    spent = Usage(duration_seconds=7)
    shared = turn("turn_0", events=(ended,)).model_copy(update={"usage": spent})
    batch = settling(shared, turn("turn_1", 1, parent="turn_0"), taken_over=("turn_0",))
    assert (await settlement.settle(batch)).billed == 1
    assert await billed_turns(database) == ["turn_1"]
    assert (await stored_turns(database, "turn_0"))[0] == shared


async def test_the_last_event_of_a_record_names_the_revision(database: Database, settlement: SettlementStore) -> None:
    settled = settling(*conversation(2))
    await settlement.settle(settled)
    rows = await EventLog(database).after(SESSION, 0)
    assert rows[-1].type == "turn_completed"
    assert [row.payload.get("revision") for row in rows] == [*[None] * (len(rows) - 1), settled.head.revision]
    await settlement.settle(settled)
    assert await EventLog(database).after(SESSION, 0) == rows, "settled again, nothing is logged again"
