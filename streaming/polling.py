"""Live delivery from the log alone: it is looked at again and again, for all sessions that are watched at once."""

import asyncio
from contextlib import suppress

from store.database.errors import StoreUnavailable
from store.sessions.event_log import EventLog
from streaming.hub import LiveHub


async def poll(hub: LiveHub, log: EventLog, *, every: float) -> None:
    """Tell the hub, until cancelled, which logs have grown. `every` is in seconds.

    It is the only way on a SQLite file that several processes share, and a safety net everywhere else.
    """
    known: dict[str, int] = {}
    while True:
        await asyncio.sleep(every)
        watched = hub.watched
        if not watched:
            known = {}
            continue
        with suppress(StoreUnavailable):
            lengths = await log.lengths(watched)
            for session_id, length in lengths.items():
                if known.get(session_id) != length:
                    hub.log_appended(session_id)
            known = lengths
