"""Erasure: no content is left in any table, and the whole cost is billed."""

import asyncio
from decimal import Decimal

import pytest
from sqlalchemy import Connection, select

from domain.sessions.timeline import DiscardedBranch, SessionFact
from store.billing.ledger import LedgerRow, LedgerStore, OrganizationUsage
from store.blobs import BlobStore
from store.database.connection import Database
from store.database.tables import metadata
from store.sessions.erasure import ErasureStore, SessionErased
from store.sessions.sessions import SessionStore
from store.sessions.settlement import SettlementStore
from store.sessions.steps import StepStore
from tests.support.stored_conversations import (
    ORGANIZATION,
    PRICE,
    SESSION,
    START,
    agent_in,
    conversation,
    new_session,
    reply,
    save_step,
    session_in,
    settling,
    turn,
)

WORDS = "the words that nobody may find"


async def ledger(database: Database, session_id: str = SESSION) -> list[LedgerRow]:
    page = await LedgerStore(database).rows(ORGANIZATION, session_id=session_id, limit=100)
    return sorted(page.items, key=lambda row: row.number)


async def spent(database: Database) -> OrganizationUsage:
    return await LedgerStore(database).totals(ORGANIZATION)


async def rows_with(database: Database, text: str) -> dict[str, int]:
    """The number of rows of each table that contain a text."""

    def work(connection: Connection) -> dict[str, int]:
        found = {}
        for name, table in metadata.tables.items():
            rows = [row for row in connection.execute(select(table)) if any(text in _shown(value) for value in row)]
            if rows:
                found[name] = len(rows)
        return found

    return await database.read(work)


def _shown(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


async def talked(database: Database) -> None:
    """A session of two settled turns with a discarded branch, and a blob of its workflow."""
    await session_in(database)
    steps = StepStore(database)
    recorded = [each.model_copy(update={"error": WORDS}) for each in conversation(2)]
    for each in recorded:
        await save_step(steps, each.id, messages=f'["{WORDS}"]', model_reply=reply(text=WORDS))
    discarded = DiscardedBranch(id="br_1", rewound_from_turn_id=None, leaf_turn_id="turn_1", discarded_at=START)
    fact = SessionFact(key="rewound-1", type="rewound", created_at=START, payload={"why": WORDS})
    await SettlementStore(database).settle(settling(*recorded, branches=(discarded,), facts=(fact,)))
    await BlobStore(database).store(f"session-{SESSION}", [WORDS.encode()])


async def test_no_text_of_an_erased_session_is_left(database: Database) -> None:
    await talked(database)
    assert {"turns", "steps", "events", "blobs"} <= set(await rows_with(database, WORDS))
    assert await ErasureStore(database).erase(ORGANIZATION, SESSION)
    assert await rows_with(database, WORDS) == {}
    assert set(await rows_with(database, SESSION)) == {"ledger", "erasures"}
    assert await SessionStore(database).find(ORGANIZATION, SESSION) is None


async def test_what_was_billed_stays_billed(database: Database) -> None:
    await talked(database)
    before = (await ledger(database), await spent(database))
    await ErasureStore(database).erase(ORGANIZATION, SESSION)
    assert (await ledger(database), await spent(database)) == before


async def test_unbilled_steps_are_billed_before_they_are_erased(database: Database) -> None:
    await talked(database)
    steps = StepStore(database)
    for step in range(2):
        await save_step(steps, "turn_2", step, anchor="turn_1")
    await ErasureStore(database).erase(ORGANIZATION, SESSION)
    rows = await ledger(database)
    assert [(row.turn_id, row.cost.total) for row in rows] == [
        ("turn_0", PRICE),
        ("turn_1", PRICE),
        ("turn_2", 2 * PRICE),
    ]
    assert (rows[-1].agent_id, rows[-1].agent_version) == ((await agent_in(database)).id, 1)
    totals = await spent(database)
    assert (totals.turns, totals.cost.total) == (3, 4 * PRICE)


async def test_a_turn_recorded_before_its_end_is_billed_for_its_saved_steps(database: Database) -> None:
    await session_in(database)
    await save_step(StepStore(database), "turn_0")
    pending = turn("turn_0").model_copy(update={"status": "pending"})
    await SettlementStore(database).settle(settling(pending))
    assert await ledger(database) == []
    await ErasureStore(database).erase(ORGANIZATION, SESSION)
    assert [row.cost.total for row in await ledger(database)] == [PRICE]


async def test_turns_that_another_session_paid_for_are_not_billed_again(database: Database) -> None:
    """A fork has the turns and steps of its source without having paid for them."""
    await talked(database)
    agent = await agent_in(database)
    await SessionStore(database).create(new_session(agent, "ses_fork"))

    def as_of_the_fork(connection: Connection) -> None:
        for name in ("turns", "steps"):
            table = metadata.tables[name]
            rows = [{**row._mapping, "session_id": "ses_fork"} for row in connection.execute(select(table))]
            connection.execute(table.insert(), rows)

    await database.write(as_of_the_fork)
    await save_step(StepStore(database), "turn_9", session_id="ses_fork", anchor="turn_1")
    await ErasureStore(database).erase(ORGANIZATION, "ses_fork")
    assert [row.turn_id for row in await ledger(database, "ses_fork")] == ["turn_9"]


async def test_a_settlement_that_comes_after_the_erasure_bills_nothing_twice_and_brings_nothing_back(
    database: Database,
) -> None:
    await session_in(database)
    late = turn("turn_0").model_copy(update={"error": WORDS})
    await save_step(StepStore(database), "turn_0", model_reply=reply(text=WORDS))
    await ErasureStore(database).erase(ORGANIZATION, SESSION)
    assert (await SettlementStore(database).settle(settling(late))).billed == 0
    assert [row.cost.total for row in await ledger(database)] == [PRICE]
    assert await rows_with(database, WORDS) == {}


async def test_a_reply_that_comes_after_the_erasure_is_billed_once_and_not_kept(database: Database) -> None:
    await session_in(database)
    steps = StepStore(database)
    await save_step(steps, "turn_0")
    await ErasureStore(database).erase(ORGANIZATION, SESSION)
    for _ in range(2):  # the second time because the result of the first was lost
        saved = await save_step(steps, "turn_0", 1, messages=f'["{WORDS}"]', model_reply=reply(text=WORDS))
        assert saved.reply.text == WORDS, "who waits for the reply has it"
    assert [(row.turn_id, row.cost.total) for row in await ledger(database)] == [
        ("turn_0", PRICE),
        ("turn_0/1", PRICE),
    ]
    assert (await spent(database)).cost.total == 2 * PRICE
    assert await rows_with(database, WORDS) == {}
    assert (await steps.turn_steps(SESSION, "turn_0")).steps == ()


async def test_a_reply_that_races_with_the_erasure_is_always_billed_once(
    database: Database, other_process: Database
) -> None:
    await agent_in(database)
    for number in range(10):
        session_id = f"ses_{number}"
        await SessionStore(database).create(new_session(await agent_in(database), session_id))
        saving = save_step(StepStore(other_process), "turn_0", session_id=session_id, model_reply=reply(text=WORDS))
        erasing = ErasureStore(database).erase(ORGANIZATION, session_id)
        first, second = (saving, erasing) if number % 2 else (erasing, saving)
        await asyncio.gather(first, second)
        (row,) = await ledger(database, session_id)
        assert (row.turn_id in ("turn_0", "turn_0/0"), row.cost.total) == (True, PRICE)
    assert await rows_with(database, WORDS) == {}
    assert (await spent(database)).cost.total == Decimal(10) * PRICE


async def test_only_the_own_sessions_are_erased_and_only_once(database: Database) -> None:
    await talked(database)
    erasures = ErasureStore(database)
    assert not await erasures.erase("org_other", SESSION)
    assert not await erasures.erase(ORGANIZATION, "ses_unknown")
    assert not await erasures.was_erased(ORGANIZATION, SESSION)
    assert await erasures.erase(ORGANIZATION, SESSION)
    assert not await erasures.erase(ORGANIZATION, SESSION)
    assert await erasures.was_erased(ORGANIZATION, SESSION)
    assert not await erasures.was_erased("org_other", SESSION)


async def test_a_session_that_was_opened_anew_under_its_id_can_be_erased_anew(database: Database) -> None:
    for _ in range(2):
        await talked(database)
        assert await ErasureStore(database).erase(ORGANIZATION, SESSION)
    assert await rows_with(database, WORDS) == {}


async def test_the_id_of_an_erased_session_is_never_used_again(database: Database, other_process: Database) -> None:
    agent = await agent_in(database)
    await SessionStore(database).create_once(new_session(agent))
    assert await ErasureStore(database).erase(ORGANIZATION, SESSION)
    for store in (SessionStore(database), SessionStore(other_process)):
        with pytest.raises(SessionErased):
            await store.create_once(new_session(agent))
    assert await SessionStore(database).find(ORGANIZATION, SESSION) is None


async def test_a_session_is_not_created_anew_while_it_is_erased(database: Database, other_process: Database) -> None:
    agent = await agent_in(database)
    creating, erasing = SessionStore(other_process), ErasureStore(database)
    for number in range(20):
        session = new_session(agent, f"ses_{number}")
        await SessionStore(database).create_once(session)
        await asyncio.gather(
            erasing.erase(ORGANIZATION, session.id),
            *(creating.create_once(session) for _ in range(3)),
            return_exceptions=True,
        )
        assert await creating.find(ORGANIZATION, session.id) is None
