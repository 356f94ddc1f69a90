"""Activity heartbeats: they detect dead workers and deliver cancellations."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio import activity

from domain.durable import FrozenModel

HEARTBEATS_PER_TIMEOUT = 4
"""Minimum number of heartbeats within one heartbeat timeout."""
MAX_HEARTBEAT_INTERVAL = timedelta(seconds=1)
"""Upper bound on the time between two heartbeats. A cancellation arrives with the response to a heartbeat, so it is
also the delay of a cancellation, where the worker does not hold heartbeats back for longer."""


@asynccontextmanager
async def heartbeats(*details: FrozenModel) -> AsyncIterator[None]:
    """Send heartbeats while the block runs. The next attempt of the activity reads `details`."""
    # The command line runs some activities without Temporal.
    timeout = activity.info().heartbeat_timeout if activity.in_activity() else None
    if timeout is None:
        yield
        return
    interval = min(timeout / HEARTBEATS_PER_TIMEOUT, MAX_HEARTBEAT_INTERVAL)

    async def send_heartbeats() -> None:
        while True:
            # Sleep first: most activities end within one interval, and a heartbeat is a call to the server.
            await asyncio.sleep(interval.total_seconds())
            activity.heartbeat(*details)

    task = asyncio.create_task(send_heartbeats())
    try:
        yield
    finally:
        task.cancel()
