"""Closing sessions whose workflows did not record their end: once, with billing, and only if nothing changed since."""

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import Connection, text

from contracts.reconciliation import Difference
from domain.usage import merge_costs
from store.billing.ledger import LedgerRow, LedgerStore
from store.database.connection import Database
from store.database.tables import IS_OPEN
from store.reconciliation import Closing, OpenSession, ReconciliationStore
from store.sessions.event_log import EventLog
from store.sessions.sessions import SessionStore, StoredSession
from store.sessions.settlement import SettlementStore
from store.sessions.steps import StepStore
from tests.support.stored_conversations import (
    ORGANIZATION,
    PRICE,
    SESSION,
    START,
    agent_in,
    head,
    new_session,
    reply,
    save_step,
    session_in,
    settling,
    turn,
)

CLOSING = Closing("workflow_terminated", START + timedelta(hours=1), "session_completed-run_1")


@pytest.fixture
async def session(database: Database) -> StoredSession:
    """A session with a settled turn, and a turn whose reply was paid for and not settled."""
    created = await session_in(database)
    steps = StepStore(database)
    await save_step(steps, "turn_0")
    await SettlementStore(database).settle(settling(turn("turn_0")))
    await EventLog(database).record_start(
        SESSION,
        turn("turn_1", 1, parent="turn_0").model_copy(update={"status": "pending", "assistant_message": None}),
    )
    await save_step(steps, "turn_1", anchor="turn_0", model_reply=reply(text="At nine."))
    return created


@pytest.fixture
def store(database: Database) -> ReconciliationStore:
    return ReconciliationStore(database)


async def the_open_one(store: ReconciliationStore) -> OpenSession:
    [found] = await store.open_sessions(after=0, limit=10)
    return found


async def rows_of(database: Database) -> list[LedgerRow]:
    page = await LedgerStore(database).rows(ORGANIZATION, limit=100)
    return list(reversed(page.items))


async def test_a_closed_session_shows_its_end_and_its_saved_steps_are_billed_once(
    database: Database, store: ReconciliationStore, session: StoredSession
) -> None:
    found = await the_open_one(store)
    assert found.head is not None
    assert await store.close_session(found, found.head, CLOSING) == 1
    stored = await SessionStore(database).find(ORGANIZATION, SESSION)
    assert stored is not None
    assert stored.head is not None
    assert (stored.head.status, stored.head.is_completed) == ("completed", True)
    assert (stored.head.completion_reason, stored.head.updated_at) == ("workflow_terminated", CLOSING.at)
    assert (stored.head.version, stored.head.revision) == (2, 2)
    assert (stored.head.head_turn_id, stored.head.leaf_turn_id) == ("turn_1", "turn_1")
    rows = await rows_of(database)
    assert [(row.turn_id, row.cost.total) for row in rows] == [("turn_0", PRICE), ("turn_1", PRICE)]
    assert stored.head.cost.total == merge_costs(row.cost for row in rows).total
    [_, last] = await SessionStore(database).turns(SESSION, leaf_turn_id="turn_1", limit=10)
    assert last.assistant_message is not None
    assert (last.status, last.assistant_message.text) == ("interrupted", "At nine.")
    log = await EventLog(database).after(SESSION, 0)
    assert [row.type for row in log][-2:] == ["turn_interrupted", "session_completed"]
    assert await EventLog(database).completed_at(SESSION) == len(log)
    assert await store.open_sessions(after=0, limit=10) == []
    assert await store.close_session(found, found.head, CLOSING) is None
    assert len(await EventLog(database).after(SESSION, 0)) == len(log)
    late = settling(turn("turn_1", 1, parent="turn_0"), version=3)
    assert (await SettlementStore(database).settle(late)).billed == 0


async def test_a_session_that_was_settled_meanwhile_is_not_closed(
    database: Database, store: ReconciliationStore, session: StoredSession
) -> None:
    found = await the_open_one(store)
    assert found.head is not None
    await SettlementStore(database).settle(settling(turn("turn_1", 1, parent="turn_0"), version=2))
    assert await store.close_session(found, found.head, CLOSING) is None
    assert not (await the_open_one(store)).is_completed


async def test_a_session_that_was_never_settled_is_closed_with_the_head_that_is_given(
    database: Database, store: ReconciliationStore
) -> None:
    created = await session_in(database)
    found = await the_open_one(store)
    assert (found.head, found.version, found.created_at) == (None, None, created.created_at)
    assert await store.close_session(found, head(0), CLOSING) == 0
    stored = await SessionStore(database).find(ORGANIZATION, SESSION)
    assert stored is not None
    assert stored.head is not None
    assert stored.head.is_completed


async def test_calls_that_come_after_the_end_are_billed_once(
    database: Database, store: ReconciliationStore, session: StoredSession
) -> None:
    found = await the_open_one(store)
    assert found.head is not None
    await store.close_session(found, found.head, CLOSING)
    assert await store.bill_late_calls(SESSION) == 0
    now = text("UPDATE steps SET created_at = (SELECT max(recorded_at) FROM sessions)")
    await save_step(StepStore(database), "turn_1", 1)
    await database.write(lambda connection: connection.execute(now).close())
    await store.finish(None, 0, [difference()])
    assert await store.lately_closed() == [SESSION]
    assert await store.bill_late_calls(SESSION) == 1
    assert await store.bill_late_calls(SESSION) == 0
    assert [row.cost.total for row in await rows_of(database)] == [PRICE, PRICE, PRICE]


def difference() -> Difference:
    return Difference(
        subject="session",
        id=SESSION,
        organization_id=ORGANIZATION,
        found="workflow_terminated",
        done="closed",
        billed=1,
    )


async def test_differences_that_were_resolved_are_kept_and_runs_are_counted(store: ReconciliationStore) -> None:
    assert await store.generation("a schedule") == 0
    left = difference().model_copy(update={"done": "left"})
    await store.finish("a schedule", 1, [difference(), left])
    await store.finish("a schedule", 2, [])
    assert await store.generation("a schedule") == 2
    assert [found for _, found in await store.newest(10)] == [difference()]


async def test_open_sessions_are_read_page_by_page(database: Database, store: ReconciliationStore) -> None:
    agent = await agent_in(database)
    for session_id in (SESSION, "ses_2", "ses_3", "ses_4"):
        await SessionStore(database).create(new_session(agent, session_id))
    page = await store.open_sessions(after=0, limit=3)
    rest = await store.open_sessions(after=page[-1].number, limit=3)
    assert [each.id for each in (*page, *rest)] == [SESSION, "ses_2", "ses_3", "ses_4"]
    assert await store.number_open() == 4
    assert await store.known([SESSION, "ses_9"]) == {SESSION: True}


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_open_sessions_and_suites_are_found_by_an_index(database: Database, kind: str) -> None:
    sessions = f"SELECT id FROM sessions WHERE ({IS_OPEN}) AND number > 0 ORDER BY number LIMIT 10"
    suites = "SELECT id FROM suites WHERE outcome IS NULL AND number > 0 ORDER BY number LIMIT 10"
    for statement, index in ((sessions, "ix_sessions_open"), (suites, "ix_suites_open")):
        plan = await database.read(partial(query_plan, statement=statement))
        assert index in plan, plan


def query_plan(connection: Connection, statement: str) -> str:
    """SQLite's query plan for a statement."""
    return str([row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")])
