"""Transactions, outages and reconnection of the database."""

import asyncio
import sqlite3
import threading
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, insert, select, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError, StatementError

import store.database.connection
from store.api_keys import KeyStore
from store.database.connection import Database
from store.database.errors import StoreUnavailable
from store.database.tables import organizations
from store.sessions.steps import StepStore
from tests.store.database.transactions import held_open
from tests.support.postgres import Postgres
from tests.support.stored_conversations import SESSION, START, save_step
from tests.support.waiting import eventually

OTHER_CONNECTIONS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)

WAIT_SECONDS = 2.0
"""A wait for a busy database: short, yet on a busy machine long enough for every connection that can be made."""


async def names(database: Database) -> list[str]:
    return list(await database.read(lambda connection: connection.scalars(select(organizations.c.name)).all()))


def add(connection: Connection, *names: str) -> None:
    for name in names:
        add_one(connection, name)


def add_one(connection: Connection, name: str) -> None:
    connection.execute(insert(organizations), organization(name))


def organization(name: str) -> dict[str, object]:
    return {"id": f"org_{name}", "name": name, "created_at": START}


async def test_transaction_that_fails_leaves_nothing(database: Database) -> None:
    with pytest.raises(IntegrityError):
        await database.write(lambda connection: add(connection, "a", "a"))
    assert await names(database) == []
    await database.write(lambda connection: add(connection, "b"))
    assert await names(database) == ["b"]


async def test_transaction_that_is_cancelled_is_whole_or_nothing(database: Database, other_process: Database) -> None:
    async with held_open(database, lambda connection: add(connection, "a", "b")) as held:
        held.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await held.task
    await database.write(lambda connection: add(connection, "c"))
    # A thread finishes what it has begun, a connection of the event loop rolls it back.
    assert await names(other_process) == (["a", "b", "c"] if database.is_sqlite else ["c"])


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_write_that_is_cancelled_in_the_queue_never_happens(database: Database, kind: str) -> None:
    async with held_open(database, lambda connection: add(connection, "a")):
        queued = asyncio.create_task(database.write(lambda connection: add(connection, "b")))
        await asyncio.sleep(0)
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
    await database.write(lambda connection: add(connection, "c"))
    assert await names(database) == ["a", "c"]


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_write_that_cannot_begin_in_time_is_unavailable(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.database.connection, "CONNECTION_TIMEOUT_SECONDS", WAIT_SECONDS)
    database = Database.open(url)
    async with held_open(database, lambda connection: add(connection, "a")):
        with pytest.raises(StoreUnavailable, match="busy"):
            await database.write(lambda connection: add(connection, "b"))
        await database.ping()
    await database.write(lambda connection: add(connection, "c"))
    assert await names(database) == ["a", "c"]
    await database.aclose()


async def test_a_busy_database_is_reported_as_a_timeout(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.database.connection, "CONNECTION_TIMEOUT_SECONDS", WAIT_SECONDS)
    database = Database.open(url)
    async with AsyncExitStack() as held:
        for _ in range(1 if database.is_sqlite else 20):
            await held.enter_async_context(held_open(database, lambda connection: None))
        before = database.completed
        with pytest.raises(StoreUnavailable) as caught:
            await database.write(lambda connection: add(connection, "b"))
        assert caught.value.is_timeout
        assert database.completed == before
    assert database.completed > before
    await database.aclose()


async def test_a_database_locked_by_others_is_reported_as_a_timeout(
    url: str, other_process: Database, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only SQLite has a lock for the whole database."""
    monkeypatch.setattr(store.database.connection, "CONNECTION_TIMEOUT_SECONDS", WAIT_SECONDS)
    database = Database.open(url)
    async with held_open(other_process, lambda connection: add(connection, "a")):
        if kind == "sqlite":
            with pytest.raises(StoreUnavailable) as caught:
                await database.write(lambda connection: add(connection, "b"))
            assert caught.value.is_timeout
        else:
            await database.write(lambda connection: add(connection, "b"))
    await database.aclose()


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_work_that_breaks_its_connection_does_not_affect_other_work(database: Database, kind: str) -> None:
    for breaking in (Connection.close, Connection.invalidate):
        with pytest.raises(SQLAlchemyError):
            await database.write(breaking)
        await database.write(lambda connection: connection.execute(delete(organizations)).close())
    assert await names(database) == []


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_closing_completes_what_was_begun_and_leaves_no_thread(url: str, kind: str) -> None:
    before = set(threading.enumerate())
    database = Database.open(url)
    assert set(threading.enumerate()) == before, "opening must stay cheap"
    writes = [asyncio.create_task(database.write(partial(add_one, name=name))) for name in "abc"]
    await asyncio.gather(*(names(database) for _ in range(20)))
    await database.aclose()
    await asyncio.gather(*writes)

    async def none_is_left() -> bool:
        """True once all threads have ended; `aclose` returns shortly before the last one does."""
        return not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("store-")]

    await eventually(none_is_left)


@pytest.mark.parametrize("kind", ["postgresql"])
async def test_closing_completes_what_was_begun_and_leaves_no_connection(url: str, other_process: Database) -> None:
    async def others() -> int:
        return int(await other_process.read(lambda connection: connection.scalar(OTHER_CONNECTIONS)))

    async def are_as_before() -> bool:
        return await others() == before

    before = await others()
    database = Database.open(url)
    async with held_open(database, lambda connection: add(connection, "a")) as held:
        closing = asyncio.create_task(database.aclose())
        await asyncio.sleep(0)
        held.end()
        await asyncio.gather(held.task, closing)

    assert await names(other_process) == ["a"]
    await eventually(are_as_before)


async def test_closed_database_is_down_and_opens_nothing_again(url: str) -> None:
    database = Database.open(url)
    await database.ping()
    await database.aclose()
    for late in (database.ping, database.require_room, database.probe_write, partial(database.write, lambda _: None)):
        with pytest.raises(StoreUnavailable, match="closed"):
            await late()
    assert database.engine.pool.status() == Database.open(url).engine.pool.status()


async def test_reads_continue_during_a_write(database: Database, other_process: Database) -> None:
    async with held_open(database, lambda connection: add(connection, "a")):
        assert await names(other_process) == []
        assert await names(database) == []
    assert await names(other_process) == ["a"]


async def test_writers_of_two_processes_wait_for_each_other(database: Database, other_process: Database) -> None:
    async def write(writer: Database, name: str) -> None:
        await writer.write(lambda connection: add(connection, name))

    await asyncio.gather(
        *(write(writer, f"{i}{j}") for i in range(10) for j, writer in enumerate([database, other_process]))
    )
    assert len(await names(database)) == 20


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8))])
async def test_times_come_back_as_the_same_moment_in_utc(database: Database, zone: timezone) -> None:
    at = datetime(2026, 3, 29, 1, 59, 59, 999999, tzinfo=zone)
    values = {**organization("a"), "created_at": at}
    await database.write(lambda connection: connection.execute(insert(organizations), values).close())
    stored = await database.read(lambda connection: connection.scalars(select(organizations.c.created_at)).one())
    assert stored == at
    assert stored.tzinfo is UTC


async def test_time_without_a_zone_is_refused(database: Database) -> None:
    naive = {**organization("a"), "created_at": START.replace(tzinfo=None)}
    with pytest.raises(StatementError, match="no time zone"):
        await database.write(lambda connection: connection.execute(insert(organizations), naive).close())


async def test_errors_do_not_repeat_what_was_to_be_stored(database: Database) -> None:
    with pytest.raises(IntegrityError) as caught:
        await database.write(lambda connection: add(connection, *["a secret of somebody"] * 2))
    assert "secret" not in str(caught.value).split("DETAIL")[0]


@pytest.mark.parametrize("kind", ["postgresql"])
async def test_server_that_stops_is_unavailable_and_found_again(database: Database, postgres: Postgres) -> None:
    steps = StepStore(database)
    await save_step(steps, "turn_0")
    postgres.stop()
    try:
        for attempt in (steps.turn_steps(SESSION, "turn_0"), save_step(steps, "turn_1"), database.ping()):
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                await attempt
        with pytest.raises(StoreUnavailable):
            await KeyStore(database).create("org_a", "laptop")
    finally:
        postgres.start()
    await database.ping()
    assert len((await steps.turn_steps(SESSION, "turn_0")).steps) == 1


@pytest.mark.parametrize("kind", ["postgresql"])
async def test_connection_that_is_cut_within_a_transaction_is_unavailable(
    database: Database, postgres: Postgres
) -> None:
    def work(connection: Connection) -> None:
        add(connection, "a")
        postgres.stop()
        postgres.start()
        add(connection, "b")

    with pytest.raises(StoreUnavailable):
        await database.write(work)
    assert await names(database) == []


@pytest.mark.parametrize("kind", ["postgresql"])
async def test_an_unreachable_server_is_unavailable(tmp_path: Path, kind: str) -> None:
    for url in (f"postgresql://postgres@/test?host={tmp_path}", "postgresql://somebody:word@127.0.0.1:1/test"):
        database = Database.open(url)
        with pytest.raises(StoreUnavailable) as caught:
            await database.ping()
        assert "word@" not in str(caught.value), "a password must not reach a log"
        await database.aclose()


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_file_that_stays_locked_is_unavailable_and_found_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.database.connection, "CONNECTION_TIMEOUT_SECONDS", WAIT_SECONDS)
    database = Database.open(url)
    holder = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await KeyStore(database).create("org_a", "laptop")
    with pytest.raises(StoreUnavailable, match="locked"):
        await save_step(StepStore(database), "turn_0")
    await database.ping()
    holder.close()
    await save_step(StepStore(database), "turn_0")
    await database.aclose()


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_file_that_cannot_be_opened_is_unavailable(tmp_path: Path, kind: str) -> None:
    (tmp_path / "folder.db").mkdir()
    database = Database.open(f"sqlite:///{tmp_path}/folder.db")
    with pytest.raises(StoreUnavailable, match="unable to open"):
        await database.ping()
    await database.aclose()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        Database.open(f"sqlite:///{tmp_path}/file/playhead.db")


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_file_is_set_up_for_many_readers_and_a_writer(database: Database, kind: str) -> None:
    def settings(connection: Connection) -> dict[str, object]:
        named = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in named}

    assert await database.read(settings) == {
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "busy_timeout": 10_000,
    }
