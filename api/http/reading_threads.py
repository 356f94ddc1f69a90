"""Daemon threads that parse request bodies: few at once, each with a deadline, and none keeps a process alive."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, TypeVar

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
            loop = asyncio.get_running_loop()
            done: asyncio.Future[Result] = loop.create_future()
            thread = threading.Thread(target=self._work, args=(function, loop, done), name="reading", daemon=True)
            try:
                thread.start()
            except BaseException:
                self._places.release()
                raise
            return await done

    def _work(
        self, function: Callable[[], Result], loop: asyncio.AbstractEventLoop, done: asyncio.Future[Result]
    ) -> None:
        outcome: Future[Result] = Future()
        try:
            outcome.set_result(function())
        except BaseException as error:
            outcome.set_exception(error)
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(self._finish, outcome, done)

    def _finish(self, outcome: Future[Result], done: asyncio.Future[Result]) -> None:
        self._places.release()
        if done.done():
            return
        error = outcome.exception()
        if error is None:
            done.set_result(outcome.result())
        else:
            done.set_exception(error)
