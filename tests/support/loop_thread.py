"""An event loop in a thread of its own, for servers that must answer while a synchronous test waits."""

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
        """The result of a function that uses objects of the loop."""

        async def called() -> Result:
            return function()

        return self.run(called())

    def start(self, work: Coroutine[Any, Any, Result]) -> "Future[Result]":
        """Run a coroutine beside the test."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)


@contextmanager
def loop_thread() -> Iterator[LoopThread]:
    """A running loop; it ends with the block, and what still runs in it is cancelled and closed.

    Anything left open would be closed later by the garbage collector, in the middle of another test.
    """
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def until_the_end() -> None:
        end = asyncio.Event()
        begun.set_result((asyncio.get_running_loop(), end))
        await end.wait()

    thread = Thread(target=lambda: asyncio.run(until_the_end()), name="loop of a test")
    thread.start()
    loop, end = begun.result()
    try:
        yield LoopThread(loop)
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
