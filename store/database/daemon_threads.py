"""Functions in daemon threads. Unlike a thread of `asyncio.to_thread`, one that does not end keeps no process alive."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

Result = TypeVar("Result")


def in_daemon_thread(function: Callable[[], Result], *, name: str) -> "asyncio.Future[Result]":
    """Run a function in a thread of its own, and return the future of its result.

    Cancelling the future does not stop the thread, which cannot be stopped. Shield it to learn when the thread ends.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()
    done.add_done_callback(lambda done: done.cancelled() or done.exception())  # retrieved: a waiter may have gone

    def work() -> None:
        outcome: Future[Result] = Future()
        try:
            outcome.set_result(function())
        except BaseException as error:
            outcome.set_exception(error)
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(_finish, outcome, done)

    threading.Thread(target=work, name=name, daemon=True).start()
    return done


def _finish(outcome: "Future[Result]", done: "asyncio.Future[Result]") -> None:
    if done.done():
        return
    error = outcome.exception()
    if error is None:
        done.set_result(outcome.result())
    else:
        done.set_exception(error)
