"""How what happens in sessions reaches those who watch: within one process, over PostgreSQL, or by the log alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from store.database.connection import Database
from store.sessions.event_log import EventLog
from streaming.hub import LiveHub
from streaming.messages import Subscribers
from streaming.polling import poll
from streaming.postgresql import heard_from_elsewhere, told_elsewhere

SHARED_FILE_SECONDS = 0.25
"""How often the log is looked at where nothing else tells that it has grown."""
SAFETY_NET_SECONDS = 2.0


@asynccontextmanager
async def watched_at_this_api(database: Database, hub: LiveHub | None = None) -> AsyncIterator[LiveHub]:
    """The hub of an API while the block runs. One that is given is told of everything by a worker in this process."""
    is_alone = hub is None
    hub = hub or LiveHub()
    pause = SHARED_FILE_SECONDS if is_alone and database.is_sqlite else SAFETY_NET_SECONDS
    async with AsyncExitStack() as stack:
        if is_alone and not database.is_sqlite:
            await stack.enter_async_context(heard_from_elsewhere(hub, database))
        polling = asyncio.create_task(poll(hub, EventLog(database), every=pause))
        try:
            yield hub
        finally:
            polling.cancel()
            with suppress(asyncio.CancelledError):
                await polling


@asynccontextmanager
async def watching_this_worker(
    database: Database, here: Subscribers | None = None
) -> AsyncIterator[Subscribers | None]:
    """Those who watch a worker's sessions while the block runs: at the API in its own process, or anywhere.

    Who shares no more than a file with it cannot be told.
    """
    if here is not None or database.is_sqlite:
        yield here
        return
    async with told_elsewhere(database) as audience:
        yield audience
