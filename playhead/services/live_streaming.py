"""Delivery of live events from workers to APIs: in one process, over PostgreSQL, or by polling the event log."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from store.database.connection import Database
from store.sessions.event_log import EventLog
from streaming.hub import LiveHub
from streaming.messages import Subscribers
from streaming.polling import poll
from streaming.postgresql import receive_from_workers, remote_subscribers

SQLITE_POLL_SECONDS = 0.25
"""Poll interval of the event log where no notifications exist."""
FALLBACK_POLL_SECONDS = 2.0


@asynccontextmanager
async def api_hub(database: Database, hub: LiveHub | None = None) -> AsyncIterator[LiveHub]:
    """The hub of an API for the duration of the block. A worker in this process publishes to a `hub` that is given."""
    has_own_process = hub is None
    hub = hub or LiveHub()
    interval = SQLITE_POLL_SECONDS if has_own_process and database.is_sqlite else FALLBACK_POLL_SECONDS
    async with AsyncExitStack() as stack:
        if has_own_process and not database.is_sqlite:
            await stack.enter_async_context(receive_from_workers(hub, database))
        polling = asyncio.create_task(poll(hub, EventLog(database), every=interval))
        try:
            yield hub
        finally:
            polling.cancel()
            with suppress(asyncio.CancelledError):
                await polling


@asynccontextmanager
async def worker_subscribers(database: Database, local: Subscribers | None = None) -> AsyncIterator[Subscribers | None]:
    """The subscribers of a worker's sessions for the duration of the block: of its own process, or of any API.

    APIs that share only a SQLite file with the worker poll the event log instead.
    """
    if local is not None or database.is_sqlite:
        yield local
        return
    async with remote_subscribers(database) as subscribers:
        yield subscribers
