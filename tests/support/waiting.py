"""Waiting for a condition, with a deadline: tests never sleep for a fixed time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Seen = TypeVar("Seen")

PATIENCE = 20.0
"""Seconds after which a condition that does not hold yet is a failure."""
PAUSE = 0.02


async def eventually(look: Callable[[], Awaitable[Seen]], *, within: float = PATIENCE) -> Seen:
    """Call `look` until it returns something true, and return that.

    Raises AssertionError with the last result after `within` seconds.
    """
    deadline = asyncio.get_running_loop().time() + within
    while not (seen := await look()):
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"waited {within:g} s in vain; last seen: {seen!r}")
        await asyncio.sleep(PAUSE)
    return seen
