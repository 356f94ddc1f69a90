"""Transactions on a SQLite file: one thread that writes, a few that read."""

import sqlite3
import time
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event

from store.database.column_types import dump_document
from store.database.sqlite_threads import Result, SqliteThreadPool, Work

READERS = 4
RETRY_SECONDS = 0.02


class SqliteFile:
    """SQLite has one writer: queueing for one thread here beats polling for its lock, and keeps the order.

    Other processes are waited for by SQLite itself, `wait_seconds` at most.
    """

    def __init__(self, url: URL, *, wait_seconds: float) -> None:
        self.engine = _engine(url, wait_seconds)
        self._readers = SqliteThreadPool(
            "store-reader", size=READERS, connect=self.engine.connect, wait_seconds=wait_seconds
        )
        self._writer = SqliteThreadPool("store-writer", size=1, connect=self.engine.connect, wait_seconds=wait_seconds)

    async def read(self, work: Work[Result]) -> Result:
        """Do the work, each statement by itself."""
        return await self._readers.run(lambda connection: _statement_by_statement(connection, work))

    async def write(self, work: Work[Result], *, autocommit: bool = False) -> Result:
        """Do the work in one transaction, or each statement by itself."""
        mode = _statement_by_statement if autocommit else _in_transaction
        return await self._writer.run(lambda connection: mode(connection, work))

    async def change_schema(self, work: Work[Result]) -> Result:
        """Do the work in one transaction."""
        return await self.write(work)

    async def aclose(self) -> None:
        await self._writer.aclose()
        await self._readers.aclose()


def _statement_by_statement(connection: Connection, work: Work[Result]) -> Result:
    result = work(connection)
    connection.commit()  # ends SQLAlchemy's transaction; SQLite has none
    return result


def _in_transaction(connection: Connection, work: Work[Result]) -> Result:
    """The write lock is taken at the start, where waiting for it cannot deadlock.

    What is left open by an error is rolled back by closing the connection, as the crew does.
    """
    transaction = connection.begin()
    # The driver's own cursor: SQLAlchemy has nothing to add to these words, and takes its time for it.
    connection.connection.cursor().execute("BEGIN IMMEDIATE")
    result = work(connection)
    transaction.commit()
    return result


def _engine(url: URL, wait_seconds: float) -> Engine:
    engine = create_engine(
        url,
        json_serializer=dump_document,
        hide_parameters=True,
        poolclass=NullPool,  # each thread keeps its own
        connect_args={"timeout": wait_seconds},
    )

    def prepare(connection: Any, _record: object) -> None:  # SQLAlchemy has no public type for the driver's connection
        connection.isolation_level = None  # transactions are left to this module
        cursor = connection.cursor()
        _keep_a_write_ahead_log(cursor, wait_seconds)
        for setting in ("synchronous=NORMAL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {setting}")
        cursor.close()

    event.listen(engine, "connect", prepare)
    return engine


def _keep_a_write_ahead_log(cursor: sqlite3.Cursor, wait_seconds: float) -> None:
    """Processes that open a new file at once are in each other's way here, and SQLite does not wait for this lock."""
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(RETRY_SECONDS)
        else:
            return
