"""The write probe: a database that can be read but not written is unavailable."""

import asyncio
import os

import pytest
from sqlalchemy import Connection, event, text

from store.database.connection import Database
from store.database.errors import StoreUnavailable
from tests.store.database.transactions import held_open
from tests.support.postgres import Postgres

VERSION = text("SELECT version_num FROM alembic_version")
MIGRATE = text("UPDATE alembic_version SET version_num = version_num")


async def version(database: Database) -> str:
    return str(await database.read(lambda connection: connection.scalar(VERSION)))


async def test_probe_changes_no_data(database: Database) -> None:
    before = await version(database)
    await database.probe_write()
    assert await version(database) == before


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_probe_reaches_the_disk(database: Database, url: str) -> None:
    await database.ping()
    log = f"{url.removeprefix('sqlite:///')}-wal"
    before = os.stat(log).st_size
    await database.probe_write()
    assert os.stat(log).st_size > before


async def test_database_that_can_only_be_read_is_unavailable_and_found_again(
    url: str, kind: str, request: pytest.FixtureRequest
) -> None:
    database = Database.open(url)
    is_read_only = True

    def limit(connection: Connection) -> None:
        if kind == "sqlite":
            connection.exec_driver_sql(f"PRAGMA query_only = {int(is_read_only)}")

    event.listen(database.engine, "begin", limit)
    postgres: Postgres | None = None if kind == "sqlite" else request.getfixturevalue("postgres")
    try:
        if postgres is not None:
            postgres.make_read_only(url)
        await database.ping()
        await database.require_room()
        with pytest.raises(StoreUnavailable, match=r"read-?only"):
            await database.probe_write()
    finally:
        is_read_only = False
        if postgres is not None:
            postgres.make_writable(url)
    await database.probe_write()
    await database.aclose()


@pytest.mark.parametrize("kind", ["postgresql"])
async def test_probe_waits_for_no_migration(database: Database, other_process: Database, kind: str) -> None:
    async with held_open(other_process, lambda connection: connection.execute(MIGRATE).close()), asyncio.timeout(20):
        await database.probe_write()
