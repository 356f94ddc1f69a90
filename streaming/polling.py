"""Live delivery by polling the event logs of all watched sessions in one query."""

import asyncio
from contextlib import suppress

from store.database.errors import StoreUnavailable
from store.sessions.event_log import EventLog
from streaming.hub import LiveHub


async def poll(hub: LiveHub, log: EventLog, *, every: float) -> None:
    """Notify the hub of new log events until cancelled. `every` is in seconds.

    On a SQLite file shared by several processes this is the only live delivery; elsewhere it is a safety net.
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
