"""An event loop in a thread of its own, for what must answer while a test that is not async waits."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Thread
from typing import Any, TypeVar

Result = TypeVar("Result")


class LoopThread:
    """Runs coroutines and functions in its own thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of a coroutine."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def call(self, function: Callable[[], Result]) -> Result:
        """The result of a function that touches things of the loop."""

        async def called() -> Result:
            return function()

        return self.run(called())

    def start(self, work: Coroutine[Any, Any, Result]) -> "Future[Result]":
        """Run a coroutine beside the test."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)


@contextmanager
def loop_thread() -> Iterator[LoopThread]:
    """A running loop; it ends with the block."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="loop of a test")
    thread.start()
    try:
        yield LoopThread(loop)
    finally:
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
