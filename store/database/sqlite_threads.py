"""Worker threads, one SQLite connection each. A transaction runs entirely in one thread."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Connection

from store.database.daemon_threads import in_daemon_thread

Result = TypeVar("Result")
CLOSING_SECONDS = 20.0
"""Upper bound on the time that work in progress has when the database is closed."""
Work = Callable[[Connection], Result]
"""A function of a connection that reads every result to its end."""


class SqliteThreadPool:
    """Up to `size` threads that take work from one FIFO queue.

    A thread is started when work is waiting, and connects with its first task. After a failed task its connection is
    closed, which rolls back an open transaction.
    """

    def __init__(self, name: str, *, size: int, connect: Callable[[], Connection], wait_seconds: float) -> None:
        self._name = name
        self._size = size
        self._connect = connect
        self._wait_seconds = wait_seconds
        self._tasks: SimpleQueue[_Task[Any] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    async def run(self, work: Work[Result]) -> Result:
        """Run work in a thread. Cancellation drops work that has not begun; work that has begun is completed.

        Raises TimeoutError when the work could not begin in time, and otherwise the error of connecting or the work.
        """
        task = _Task(work, asyncio.get_running_loop())
        self._put(task)
        waiting = task.loop.call_later(self._wait_seconds, task.time_out)
        try:
            await task.over
        finally:
            waiting.cancel()
            task.claim()
        if task.error is not None:
            raise task.error
        return cast(Result, task.result)

    async def aclose(self) -> None:
        """Finish the queued work, close the connections and end the threads.

        A thread that does not end in time is left behind: a disk that does not answer must not keep a process alive.
        """
        threads, self._threads = self._threads, []
        for _ in threads:
            self._tasks.put(None)
        if threads:
            ended = in_daemon_thread(partial(_join, threads), name=f"{self._name}-end")
            await asyncio.wait([ended], timeout=CLOSING_SECONDS)

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
            except BaseException as error:  # any error, even an exit: a caller waits for the result
                task.error = error
                if connection is not None:
                    _close(connection)
                    connection = None
            task.wake_waiter()
            del task  # its result must not stay referenced until the next task
        if connection is not None:
            _close(connection)


class _Task(Generic[Result]):
    """Work for a thread. The first to claim it decides: the thread runs it, the waiter drops it."""

    __slots__ = ("_claimed", "error", "loop", "over", "result", "work")

    def __init__(self, work: Work[Result], loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.loop = loop
        self.over: asyncio.Future[None] = loop.create_future()
        self.result: Result | None = None
        self.error: BaseException | None = None
        self._claimed = threading.Lock()

    def claim(self) -> bool:
        """Claim the task. Returns False if it is claimed already."""
        return self._claimed.acquire(blocking=False)

    def time_out(self) -> None:
        """Time out if the task has not begun; called in the waiter's event loop."""
        if self.claim():
            self.error = TimeoutError("it was busy for too long")
            self._finish()

    def wake_waiter(self) -> None:
        """Wake the waiter, whose event loop may be closed by now; called in the thread."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


def _close(connection: Connection) -> None:
    """Close the driver's connection, ignoring all errors: a thread must survive a broken connection."""
    with suppress(Exception):
        connection.invalidate()
        connection.close()


def _join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.join()
