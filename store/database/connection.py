"""A SQLite or PostgreSQL database: its transactions, and outages as StoreUnavailable."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from sqlalchemy import URL, Connection, Engine, select

from store.database.errors import StoreUnavailable, means_unavailable
from store.database.postgresql import PostgresqlServer
from store.database.private_files import make_private_folder
from store.database.sqlite import SqliteFile
from store.database.sqlite_threads import Result, Work
from store.database.urls import driver_url, sqlite_file

__all__ = ["Connection", "Database", "Work"]

CONNECTION_TIMEOUT_SECONDS = 10
"""Upper bound on the wait for a connection or SQLite's write lock; after it the store is unavailable."""

_PING = select(1)


class Database:
    """Runs transactions. It connects lazily, and reconnects after an outage.

    A transaction is a plain function of a connection. It must wait for nothing but the database: on SQLite it runs in
    a worker thread, on PostgreSQL in the event loop, which continues while a statement runs.

    Every method below raises StoreUnavailable when the database is down, rejects connections or stays locked; other
    errors pass through. A cancelled transaction is committed as a whole or not at all. A closed database is down.
    """

    def __init__(self, url: URL) -> None:
        file = sqlite_file(url)
        self.is_sqlite = file is not None
        self.address = url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)
        """The address without driver and password, for messages and logs."""
        self._file = file
        self._is_closed = False
        self.completed_reads = 0
        self.completed_writes = 0
        self._at = (SqliteFile if self.is_sqlite else PostgresqlServer)(url, wait_seconds=CONNECTION_TIMEOUT_SECONDS)

    @classmethod
    def open(cls, url: str) -> Self:
        """The database at a URL, not connected yet. The folder of a SQLite file is created.

        Raises ValueError for an invalid URL, StoreUnavailable when the folder cannot be created.
        """
        database = cls(driver_url(url))
        if database._file is not None:
            with database._outages():
                make_private_folder(database._file.parent)
                database._file.touch(mode=0o600)
        return database

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine, for its URL and events only; transactions use this class."""
        return self._at.engine

    @property
    def completed(self) -> int:
        """Number of transactions that were completed: a database that completes them is up, however slow it is."""
        return self.completed_reads + self.completed_writes

    async def read(self, work: Work[Result]) -> Result:
        """Run read-only work, each statement in autocommit, and return its result."""
        with self._outages():
            result = await self._at.read(work)
        self.completed_reads += 1
        return result

    async def write(self, work: Work[Result], *, autocommit: bool = False) -> Result:
        """Run work in one transaction and return its result: committed at the end, rolled back on an error.

        With `autocommit` every statement is its own transaction, which saves a single one the begin and commit.
        """
        with self._outages():
            result = await self._at.write(work, autocommit=autocommit)
        self.completed_writes += 1
        return result

    async def change_schema(self, work: Work[Result]) -> Result:
        """Like `write`, without a statement timeout."""
        with self._outages():
            return await self._at.change_schema(work)

    async def ping(self) -> None:
        """Raises StoreUnavailable when the database does not answer."""
        await self.read(_ping)

    async def require_room(self) -> None:
        """Raises StoreUnavailable when writes would be lost: a SQLite file that was removed, or a disk without room.

        It is cheap: it only checks the file and the free space of its disk.
        """
        with self._outages():
            await self._at.require_room()

    async def probe_write(self) -> None:
        """Write once, in a migrated database, without a change to its data.

        Raises StoreUnavailable when the database cannot be written: its disk is full or read-only, a limit or a quota
        is reached, the server is a standby.
        """
        with self._outages():
            await self._at.probe_write()

    async def aclose(self) -> None:
        """Finish running work, then close all connections and end all threads. Later work finds the database down."""
        self._is_closed = True
        await self._at.aclose()

    @contextmanager
    def _outages(self) -> Iterator[None]:
        if self._is_closed:  # a connection made now would never be closed
            raise StoreUnavailable(self.address, RuntimeError("it was closed"))
        try:
            yield
        except Exception as error:
            if means_unavailable(error):
                raise StoreUnavailable(self.address, error) from error
            raise


def _ping(connection: Connection) -> None:
    connection.execute(_PING)
