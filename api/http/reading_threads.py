"""Daemon threads that parse request bodies: few at once, each with a deadline, and none keeps a process alive."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from store.database.daemon_threads import in_daemon_thread

Result = TypeVar("Result")

MAX_THREADS: Final = 2
"""Texts that are read at once; others wait. Each has at most one core's attention, and so has the event loop."""
READING_SECONDS: Final = 20.0
"""Upper bound on the time to wait for a thread and parse a text. On a free core any allowed text takes about 1 s."""


class ReadingThreads:
    """Runs functions that take long enough to be noticed beside the event loop.

    A thread whose deadline has passed keeps its place until it ends: it cannot be stopped, only outlived.
    """

    def __init__(self, seconds: float = READING_SECONDS) -> None:
        self._places = asyncio.Semaphore(MAX_THREADS)
        self._seconds = seconds

    async def run(self, function: Callable[[], Result]) -> Result:
        """The function's result. Raises what it raises, and TimeoutError when it takes too long."""
        async with asyncio.timeout(self._seconds):
            await self._places.acquire()
            try:
                work = in_daemon_thread(function, name="reading")
            except BaseException:
                self._places.release()
                raise
            work.add_done_callback(lambda _: self._places.release())
            return await asyncio.shield(work)
