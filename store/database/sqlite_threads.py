"""Threads that keep a SQLite connection each: a whole transaction takes one hop to them and one back."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Connection

Result = TypeVar("Result")
Work = Callable[[Connection], Result]
"""What is done with a connection: a plain function, which reads every result to its end."""


class SqliteThreadPool:
    """Up to `size` threads that take work from one queue, first come, first served.

    A thread comes to be when there is work that nobody has taken, and makes its connection when it first works.
    A connection under which work has failed is closed, which ends whatever it was in the middle of.
    """

    def __init__(self, name: str, *, size: int, connect: Callable[[], Connection], wait_seconds: float) -> None:
        self._name = name
        self._size = size
        self._connect = connect
        self._wait_seconds = wait_seconds
        self._tasks: SimpleQueue[_Task[Any] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    async def run(self, work: Work[Result]) -> Result:
        """Have the work done. Cancelled before it has begun, it never will; later, it is completed unheard.

        Raises TimeoutError when it could not begin in time, and else what connecting or the work raises.
        """
        task = _Task(work, asyncio.get_running_loop())
        self._put(task)
        waiting = task.loop.call_later(self._wait_seconds, task.give_up)
        try:
            await task.over
        finally:
            waiting.cancel()
            task.claim()
        if task.error is not None:
            raise task.error
        return cast(Result, task.result)

    async def aclose(self) -> None:
        """Let the threads do what is queued, close their connections and end."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._tasks.put(None)
        if threads:
            await asyncio.to_thread(_join, threads)

    def _put(self, task: "_Task[Any]") -> None:
        if not self._threads or (len(self._threads) < self._size and not self._tasks.empty()):
            # A daemon: a program that ends without closing does not wait for it.
            thread = threading.Thread(target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True)
            thread.start()
            self._threads.append(thread)
        self._tasks.put(task)

    def _serve(self) -> None:
        connection: Connection | None = None
        while (task := self._tasks.get()) is not None:
            if not task.claim():
                continue
            try:
                if connection is None:
                    connection = self._connect()
                task.result = task.work(connection)
            except BaseException as error:  # whatever it is, somebody waits for it
                task.error = error
                if connection is not None:
                    _close(connection)
                    connection = None
            task.tell()
            del task  # what it returned must not stay until the next one comes
        if connection is not None:
            _close(connection)


class _Task(Generic[Result]):
    """Work on its way to a thread. Whoever claims it first decides: the thread does it, the waiter gives it up."""

    __slots__ = ("_claimed", "error", "loop", "over", "result", "work")

    def __init__(self, work: Work[Result], loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.loop = loop
        self.over: asyncio.Future[None] = loop.create_future()
        self.result: Result | None = None
        self.error: BaseException | None = None
        self._claimed = threading.Lock()

    def claim(self) -> bool:
        """Whether nobody has claimed it before."""
        return self._claimed.acquire(blocking=False)

    def give_up(self) -> None:
        """In the waiter's loop: stop waiting, if nothing has begun."""
        if self.claim():
            self.error = TimeoutError("it was busy for too long")
            self._finish()

    def tell(self) -> None:
        """In the thread: wake the waiter. Its loop may be closed by now."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


def _close(connection: Connection) -> None:
    """Close the driver's connection itself, in whatever state it is: a thread must survive a broken one."""
    with suppress(Exception):
        connection.invalidate()
        connection.close()


def _join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.join()
