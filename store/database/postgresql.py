"""Transactions on a PostgreSQL server, with a connection pool in the caller's event loop."""

import asyncio
from contextlib import suppress
from typing import cast

from sqlalchemy import URL, AsyncAdaptedQueuePool, Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from store.database.column_types import dump_document
from store.database.sqlite_threads import Result, Work

STATEMENT_TIMEOUT_SECONDS = 30
"""Timeout of one statement: as long as an attempt to settle may take."""
IDLE_CHECK_SECONDS = 0.01
"""Pause between two checks for connections that are still in use while the pool is being closed."""
_PROBE = text(
    "UPDATE alembic_version SET version_num = version_num"
    " WHERE version_num IN (SELECT version_num FROM alembic_version FOR UPDATE SKIP LOCKED)"
)
"""A write that changes nothing, and does not wait for a running migration."""


class PostgresqlServer:
    """Connects on demand; waits at most `wait_seconds` for a connection."""

    def __init__(self, url: URL, *, wait_seconds: float) -> None:
        self._url = url
        self._wait_seconds = wait_seconds
        self._pool = self._new_pool(STATEMENT_TIMEOUT_SECONDS)
        self._autocommit = self._pool.execution_options(isolation_level="AUTOCOMMIT")
        self.engine = self._pool.sync_engine

    async def read(self, work: Work[Result]) -> Result:
        """Run work in autocommit mode."""
        async with self._autocommit.connect() as connection:
            return await connection.run_sync(work)

    async def write(self, work: Work[Result], *, autocommit: bool = False) -> Result:
        """Run work in one transaction, or in autocommit mode."""
        if autocommit:
            return await self.read(work)
        async with self._pool.begin() as connection:
            return await connection.run_sync(work)

    async def change_schema(self, work: Work[Result]) -> Result:
        """Run work in one transaction without a statement timeout."""
        patient = self._new_pool(None)
        try:
            async with patient.begin() as connection:
                return await connection.run_sync(work)
        finally:
            await patient.dispose()

    async def require_room(self) -> None:
        """Do nothing: the disk is the server's own, and `probe_write` detects a full one."""

    async def probe_write(self) -> None:
        """Write a row. Raises the server's error while it is read-only or its disk is full."""
        await self.write(_write_probe)

    async def aclose(self) -> None:
        """Finish running work, for at most as long as a wait for a connection, then close all connections.

        A pool does not close connections in use: one that is returned after the pool was disposed would stay open.
        """
        pool = cast(AsyncAdaptedQueuePool, self.engine.pool)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._wait_seconds):
                while pool.checkedout():  # noqa: ASYNC110 - the pool has no event for a connection that failed
                    await asyncio.sleep(IDLE_CHECK_SECONDS)
        await self._pool.dispose()

    def _new_pool(self, statement_seconds: float | None) -> AsyncEngine:
        return create_async_engine(
            self._url,
            json_serializer=dump_document,
            hide_parameters=True,
            pool_size=10,
            max_overflow=10,
            pool_timeout=self._wait_seconds,
            pool_pre_ping=True,
            pool_use_lifo=True,
            connect_args={
                "timeout": self._wait_seconds,
                "command_timeout": statement_seconds,
                "server_settings": {"application_name": "playhead"},
            },
        )


def _write_probe(connection: Connection) -> None:
    connection.execute(_PROBE)
