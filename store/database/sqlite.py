"""Transactions on a SQLite file, with one thread for writing and several for reading."""

import asyncio
import errno
import os
import sqlite3
import time
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, text

from store.database.column_types import dump_document
from store.database.daemon_threads import in_daemon_thread
from store.database.sqlite_threads import Result, SqliteThreadPool, Work

READER_THREADS = 4
LOCK_RETRY_SECONDS = 0.02
"""Pause between attempts to switch a locked file to a write-ahead log."""
MIN_FREE_BYTES = 16 * 1024 * 1024
"""Room on the disk below which the store counts as down: before SQLite fails in the middle of its work."""
_PROBE = text("UPDATE alembic_version SET version_num = version_num")
"""A write that changes nothing. SQLite appends the page to the write-ahead log all the same."""


class SqliteFile:
    """A SQLite file. Writes queue for one thread, which is faster than polling for SQLite's lock and keeps their order.

    SQLite itself waits for locks of other processes, for at most `wait_seconds`.
    """

    def __init__(self, url: URL, *, wait_seconds: float) -> None:
        self.engine = _engine(url, wait_seconds)
        self._path = url.database or ""
        self._identity: tuple[int, int] | None = None
        self._look: asyncio.Future[None] | None = None
        self._readers = SqliteThreadPool(
            "store-reader", size=READER_THREADS, connect=self.engine.connect, wait_seconds=wait_seconds
        )
        self._writer = SqliteThreadPool("store-writer", size=1, connect=self.engine.connect, wait_seconds=wait_seconds)

    async def read(self, work: Work[Result]) -> Result:
        """Run work in autocommit mode."""
        return await self._readers.run(lambda connection: _in_autocommit(connection, work))

    async def write(self, work: Work[Result], *, autocommit: bool = False) -> Result:
        """Run work in one transaction, or in autocommit mode."""
        mode = _in_autocommit if autocommit else _in_transaction
        return await self._writer.run(lambda connection: mode(connection, work))

    async def change_schema(self, work: Work[Result]) -> Result:
        """Run work in one transaction."""
        return await self.write(work)

    async def require_room(self) -> None:
        """Raises OSError when the file is not the one that was opened first, or its disk is full."""
        if self._look is None or self._look.done() or self._look.get_loop() is not asyncio.get_running_loop():
            self._look = in_daemon_thread(self._require_room, name="store-room")
        await asyncio.shield(self._look)  # a check that hangs on a dead disk is shared, not repeated

    async def probe_write(self) -> None:
        """Write a page. Raises SQLite's error on a disk that is full or read-only."""
        await self.write(_write_probe)

    def _require_room(self) -> None:
        found = os.stat(self._path)  # raises FileNotFoundError
        identity = (found.st_dev, found.st_ino)
        if self._identity not in (None, identity):
            raise FileNotFoundError(
                f"The database file {self._path} was replaced while it was in use; restart Playhead."
            )
        self._identity = identity
        if free_bytes(self._path) < MIN_FREE_BYTES:
            raise OSError(errno.ENOSPC, f"The disk of {self._path} is full.")

    async def aclose(self) -> None:
        await self._writer.aclose()
        await self._readers.aclose()


def free_bytes(path: str) -> int:
    """Room on the disk of a file for processes without special rights."""
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


def _write_probe(connection: Connection) -> None:
    connection.execute(_PROBE)


def _in_autocommit(connection: Connection, work: Work[Result]) -> Result:
    result = work(connection)
    connection.commit()  # ends SQLAlchemy's transaction; SQLite has none
    return result


def _in_transaction(connection: Connection, work: Work[Result]) -> Result:
    """Run work in a transaction that takes the write lock at its start, where waiting for it cannot deadlock.

    After an error the thread pool closes the connection, which rolls the transaction back.
    """
    transaction = connection.begin()
    # The driver's own cursor, because executing this through SQLAlchemy is slower.
    connection.connection.cursor().execute("BEGIN IMMEDIATE")
    result = work(connection)
    transaction.commit()
    return result


def _engine(url: URL, wait_seconds: float) -> Engine:
    engine = create_engine(
        url,
        json_serializer=dump_document,
        hide_parameters=True,
        poolclass=NullPool,  # each thread keeps its own connection
        connect_args={"timeout": wait_seconds},
    )

    def prepare(connection: Any, _record: object) -> None:  # SQLAlchemy has no public type for the driver's connection
        connection.isolation_level = None  # transactions are left to this module
        cursor = connection.cursor()
        _enable_write_ahead_log(cursor, wait_seconds)
        for setting in ("synchronous=NORMAL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {setting}")
        cursor.close()

    event.listen(engine, "connect", prepare)
    return engine


def _enable_write_ahead_log(cursor: sqlite3.Cursor, wait_seconds: float) -> None:
    """Switch the file to a write-ahead log, retrying while other processes lock it: SQLite does not wait here."""
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(LOCK_RETRY_SECONDS)
        else:
            return
