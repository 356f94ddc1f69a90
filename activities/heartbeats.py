"""Heartbeats: how Temporal knows that a worker lives, and how a cancellation reaches an activity."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio import activity

from domain.durable import FrozenModel

HEARTBEATS_PER_TIMEOUT = 4
"""A worker reports this often within the time after which it counts as dead, or more often."""
MAX_PAUSE = timedelta(seconds=1)
"""Temporal tells of a cancellation in its answer to a heartbeat, so this is how long an activity goes on after it.
Workers must not hold heartbeats back for longer."""


@asynccontextmanager
async def heartbeats(*details: FrozenModel) -> AsyncIterator[None]:
    """Tell Temporal while the block runs that this worker lives, with what the next attempt is to know."""
    timeout = activity.info().heartbeat_timeout
    if timeout is None:
        yield
        return
    pause = min(timeout / HEARTBEATS_PER_TIMEOUT, MAX_PAUSE)

    async def beat() -> None:
        while True:
            # Pause first: most activities are over before anybody would wonder, and a beat is a call to the server.
            await asyncio.sleep(pause.total_seconds())
            activity.heartbeat(*details)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
