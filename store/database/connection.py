"""One database, SQLite or PostgreSQL: its transactions, and how an outage shows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from sqlalchemy import URL, Connection, Engine, select

from store.database.errors import StoreUnavailable, means_unavailable
from store.database.postgresql import PostgresqlServer
from store.database.sqlite import SqliteFile
from store.database.sqlite_threads import Result, Work
from store.database.urls import driver_url, sqlite_file

__all__ = ["Connection", "Database", "Work"]

WAIT_SECONDS = 10
"""How long a connection, or SQLite's write lock, is waited for before the store counts as unavailable."""

_PING = select(1)


class Database:
    """Runs transactions. The first one makes the first connection, and a server that was lost is found again.

    A transaction is a plain function of a connection. It must not wait for anything but the database: on SQLite
    it runs as a whole in a thread, on PostgreSQL in the event loop, which goes on while a statement runs.

    Every method below raises StoreUnavailable when the database is down, refuses or stays locked or busy; all
    other errors come through as they are. When one is cancelled, its transaction happens as a whole or not at all.
    """

    def __init__(self, url: URL) -> None:
        file = sqlite_file(url)
        self.is_sqlite = file is not None
        self.address = url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)
        """The address as people write it, without its password, for messages and logs."""
        self._file = file
        self._at = (SqliteFile if self.is_sqlite else PostgresqlServer)(url, wait_seconds=WAIT_SECONDS)

    @classmethod
    def open(cls, url: str) -> Self:
        """The database at an address. Nothing is connected yet; the folder of a SQLite file is made.

        Raises ValueError for an address that is not understood, StoreUnavailable when the folder cannot be made.
        """
        database = cls(driver_url(url))
        if database._file is not None:
            with database._outages():
                database._file.parent.mkdir(parents=True, exist_ok=True)
        return database

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine, for its address and its events; transactions do not go past this class."""
        return self._at.engine

    async def read(self, work: Work[Result]) -> Result:
        """What the work returns, which reads only, each statement by itself."""
        with self._outages():
            return await self._at.read(work)

    async def write(self, work: Work[Result], *, autocommit: bool = False) -> Result:
        """What the work returns, done in one transaction: committed at its end, rolled back when it raises.

        With `autocommit` every statement is a transaction by itself, which spares a single one its begin and commit.
        """
        with self._outages():
            return await self._at.write(work, autocommit=autocommit)

    async def change_schema(self, work: Work[Result]) -> Result:
        """As `write`, but a statement may take as long as it needs."""
        with self._outages():
            return await self._at.change_schema(work)

    async def ping(self) -> None:
        """Raises StoreUnavailable when the database does not answer."""
        await self.read(_ping)

    async def aclose(self) -> None:
        """Close every connection and end every thread, after what was begun."""
        await self._at.aclose()

    @contextmanager
    def _outages(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if means_unavailable(error):
                raise StoreUnavailable(self.address, error) from error
            raise


def _ping(connection: Connection) -> None:
    connection.execute(_PING)
