"""Migrations: they create the tables of the code, also when run repeatedly or concurrently."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from store import migrate
from store.database.connection import Database
from store.database.tables import metadata


@pytest.fixture
async def empty(empty_url: str) -> AsyncIterator[Database]:
    opened = Database.open(empty_url)
    yield opened
    await opened.aclose()


def is_compared(subject: object, name: str | None, kind: str, reflected: bool, compared_to: object) -> bool:
    """False for full text search, which tables.py cannot describe and tests of the documents cover."""
    return not (name or "").removeprefix("ix_document_").startswith("passage_words_")


def differences(connection: Connection) -> list[object]:
    """Alembic's differences between the database and `tables.py`."""
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True, "include_object": is_compared}
    )
    return list(compare_metadata(context, metadata))


async def test_migrations_make_the_tables_that_the_code_expects(empty: Database) -> None:
    await migrate.upgrade(empty)
    differing = await empty.read(differences)
    assert not differing, f"tables.py and the migrations disagree: write a migration for {differing}"


async def test_upgrade_is_applied_once(empty: Database) -> None:
    missing = await migrate.pending(empty)
    assert missing[0] == "0001"
    assert await migrate.upgrade(empty) == missing
    assert await migrate.pending(empty) == []
    assert await migrate.upgrade(empty) == []


async def test_processes_that_upgrade_at_once_all_succeed(empty_url: str) -> None:
    processes = [Database.open(empty_url) for _ in range(4)]
    missing = await migrate.pending(processes[0])
    applied = await asyncio.gather(*(migrate.upgrade(each) for each in processes))
    assert sorted(applied) == [[], [], [], missing]
    for each in processes:
        await each.aclose()


async def test_database_of_a_newer_version_is_left_alone(empty: Database) -> None:
    await migrate.upgrade(empty)
    newer = text("UPDATE alembic_version SET version_num = '9999'")
    await empty.write(lambda connection: connection.execute(newer).close())
    for step in (migrate.pending, migrate.upgrade):
        with pytest.raises(LookupError, match="9999"):
            await step(empty)
