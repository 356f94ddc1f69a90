"""Timers of the running event loop that do not go off while a test has them stand still."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any
from unittest.mock import patch


@contextmanager
def timers_stand_still(at_least: float) -> Iterator[None]:
    """Whoever begins to wait for so many seconds, in the block, waits until its end; shorter waits are as ever."""
    loop = asyncio.get_running_loop()
    call_at = loop.call_at
    late: list[Callable[[], None]] = []
    stand_still = True

    def held(
        when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if when < loop.time() + at_least:
            return call_at(when, callback, *args, context=context)

        def go_off() -> None:
            if not handle.cancelled():
                callback(*args)

        def due() -> None:
            if stand_still:
                late.append(go_off)
            else:
                go_off()

        handle = call_at(when, due, context=context)
        return handle

    def held_later(
        delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return held(loop.time() + delay, callback, *args, context=context)

    with patch.object(loop, "call_at", held), patch.object(loop, "call_later", held_later):
        try:
            yield
        finally:
            stand_still = False
            for go_off in late:
                loop.call_soon(go_off)
