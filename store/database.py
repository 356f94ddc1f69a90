"""One database, SQLite or PostgreSQL: its connections, its transactions, and how an outage shows."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

from sqlalchemy import URL, event, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from store.columns import dump_document
from store.errors import StoreUnavailable, means_unavailable
from store.urls import driver_url, sqlite_file

WAIT_SECONDS = 10
"""How long a connection, or SQLite's write lock, is waited for before the store counts as unavailable."""
STATEMENT_SECONDS = 30
"""How long PostgreSQL may take for one statement: as long as an attempt to settle may take."""

_PING = select(1)


class Database:
    """A pool of connections. The first use makes the first one, and a server that was lost is found again.

    Every context below raises StoreUnavailable when the database is down, refuses or stays locked; all other
    errors come through as they are.
    """

    def __init__(self, url: URL) -> None:
        self._url = url
        self._file = sqlite_file(url)
        self.address = url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)
        """The address as people write it, without its password, for messages and logs."""
        self.engine = _postgresql_engine(url) if self._file is None else _sqlite_engine(url)
        self._one_by_one = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        # SQLite has one writer: queueing fairly in this process beats polling for its lock.
        self._writer = asyncio.Lock()

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
    def is_sqlite(self) -> bool:
        return self._file is not None

    async def ping(self) -> None:
        """Raises StoreUnavailable when the database does not answer."""
        async with self.read() as connection:
            await connection.execute(_PING)

    async def aclose(self) -> None:
        """Close every connection."""
        await self.engine.dispose()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading, each statement by itself: nothing is sent to begin or to end."""
        # SQLite's connections are always in this mode (see `_prepare_sqlite`).
        engine = self.engine if self.is_sqlite else self._one_by_one
        with self._outages():
            async with engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write_once(self) -> AsyncIterator[AsyncConnection]:
        """A connection for one writing statement, which is a transaction by itself."""
        if self.is_sqlite:
            async with self._writer, self.read() as connection:
                yield connection
        else:
            async with self.read() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed at the end of the block, rolled back when it raises."""
        with self._outages():
            if self.is_sqlite:
                async with self._writer, self.engine.connect() as connection, _immediately(connection):
                    yield connection
            else:
                async with self.engine.begin() as connection:
                    yield connection

    @asynccontextmanager
    async def change_schema(self) -> AsyncIterator[AsyncConnection]:
        """A transaction as `write` gives, in which a statement may take as long as it needs."""
        if self.is_sqlite:
            async with self.write() as connection:
                yield connection
            return
        engine = _postgresql_engine(self._url, statement_seconds=None)
        try:
            with self._outages():
                async with engine.begin() as connection:
                    yield connection
        finally:
            await engine.dispose()

    @contextmanager
    def _outages(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if means_unavailable(error):
                raise StoreUnavailable(self.address, error) from error
            raise


@asynccontextmanager
async def _immediately(connection: AsyncConnection) -> AsyncIterator[None]:
    """A transaction that takes SQLite's write lock at its start, where waiting for it cannot deadlock."""
    await connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        yield
        await connection.exec_driver_sql("COMMIT")
    except BaseException:
        # Closing rolls back, whatever state the transaction is in; a new connection costs little.
        await connection.invalidate()
        raise


def _sqlite_engine(url: URL) -> AsyncEngine:
    engine = create_async_engine(
        url,
        json_serializer=dump_document,
        hide_parameters=True,
        pool_size=8,
        max_overflow=0,
        pool_timeout=WAIT_SECONDS,
        skip_autocommit_rollback=True,
        connect_args={"timeout": WAIT_SECONDS},
    )
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Leave transactions to `Database` and set what SQLite keeps per connection.

    `connection` is SQLAlchemy's stand-in for the driver's connection, which has no public type.
    """
    connection.isolation_level = None
    cursor = connection.cursor()
    for setting in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _postgresql_engine(url: URL, statement_seconds: float | None = STATEMENT_SECONDS) -> AsyncEngine:
    return create_async_engine(
        url,
        json_serializer=dump_document,
        hide_parameters=True,
        pool_size=10,
        max_overflow=10,
        pool_timeout=WAIT_SECONDS,
        pool_pre_ping=True,
        pool_use_lifo=True,
        connect_args={
            "timeout": WAIT_SECONDS,
            "command_timeout": statement_seconds,
            "server_settings": {"application_name": "playhead"},
        },
    )
