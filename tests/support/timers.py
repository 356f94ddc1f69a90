"""Long timers of the running event loop that do not fire while a test holds them back."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any
from unittest.mock import patch


@contextmanager
def timers_stand_still(at_least: float) -> Iterator[None]:
    """Timers of `at_least` seconds set in the block do not fire before its end; shorter ones are unaffected."""
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
