"""Daemon threads that parse or write long texts: few at once, each with a deadline; none keeps a process alive."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from store.database.daemon_threads import in_daemon_thread

Result = TypeVar("Result")

MAX_THREADS: Final = 2
"""Texts that are parsed or written at once; others wait. The threads share the interpreter with the event loop."""
READING_SECONDS: Final = 20.0
"""Upper bound on the time to wait for a thread and parse or write a text; on a free core parsing takes about 1 s."""


class ReadingThreads:
    """Runs functions that would block the event loop for too long.

    A thread whose deadline has passed keeps its place until it ends, because a thread cannot be stopped.
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
