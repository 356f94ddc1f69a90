"""Transactions that a test holds open."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sqlalchemy import Connection
from sqlalchemy.util import await_only

from store.database.connection import Database


class HeldTransaction:
    """Does its work, then stays open until it is released."""

    def __init__(self, database: Database, work: Callable[[Connection], object]) -> None:
        self._is_in_thread = database.is_sqlite
        self._work = work
        self._worked = asyncio.Event()
        self._end_in_thread = threading.Event()
        self._end = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.task = asyncio.create_task(database.write(self._run))

    async def has_worked(self) -> None:
        """Wait until the work is done, or raise what it raised."""
        worked = asyncio.create_task(self._worked.wait())
        await asyncio.wait([worked, self.task], return_when=asyncio.FIRST_COMPLETED)
        if not worked.done():
            worked.cancel()
            await self.task

    def end(self) -> None:
        """Let it commit."""
        self._end.set()
        self._end_in_thread.set()

    def _run(self, connection: Connection) -> None:
        self._work(connection)
        self._loop.call_soon_threadsafe(self._worked.set)
        if self._is_in_thread:
            self._end_in_thread.wait()
        else:
            await_only(self._end.wait())


@asynccontextmanager
async def held_open(database: Database, work: Callable[[Connection], object]) -> AsyncIterator[HeldTransaction]:
    """A transaction that has done its work and ends, at the latest, with the block."""
    held = HeldTransaction(database, work)
    try:
        await held.has_worked()
        yield held
    finally:
        held.end()
        await asyncio.gather(held.task, return_exceptions=True)
