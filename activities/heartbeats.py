"""Heartbeats: how Temporal knows that a worker lives, and how a cancellation reaches an activity."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio import activity

from domain.durable import Durable

HEARTBEATS_PER_TIMEOUT = 4
"""A worker reports this often within the time after which it counts as dead."""


@asynccontextmanager
async def heartbeats(*details: Durable) -> AsyncIterator[None]:
    """Tell Temporal while the block runs that this worker lives, with what the next attempt is to know."""
    timeout = activity.info().heartbeat_timeout
    if timeout is None:
        yield
        return

    async def beat() -> None:
        while True:
            # Pause first: most activities are over before anybody would wonder, and a beat is a call to the server.
            await asyncio.sleep(timeout.total_seconds() / HEARTBEATS_PER_TIMEOUT)
            activity.heartbeat(*details)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
