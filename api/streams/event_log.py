"""A session's event log as stream events: each is built and encoded once, however many clients watch."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

from api.http.sse import format_event
from api.schemas.events import EventData, Happened, TurnClosed, TurnStarted
from api.schemas.responses import Turn as TurnResponse
from domain.turns.turn import Turn
from store.database.errors import StoreUnavailable
from store.sessions.event_log import COMPLETION, EventLog, LogRow

CLOSING: Final = ("turn_completed", "turn_failed", "turn_interrupted")
PAGE_SIZE: Final = 200


@dataclass(frozen=True)
class StreamEvent:
    """One event of a stream. Durable events carry their sequence number in the session's log."""

    type: str
    data: EventData
    sequence: int | None = None

    @cached_property
    def encoded(self) -> bytes:
        """The event in the text format of server-sent events."""
        return format_event(self.type, self.data, self.sequence)


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """A row of the log with the event that is sent for it."""

    row: LogRow
    event: StreamEvent

    @property
    def closes_turn(self) -> bool:
        """True for the last event of a turn."""
        return self.row.type in CLOSING

    @property
    def completes_session(self) -> bool:
        """True for the last event of a session."""
        return self.row.type == COMPLETION


class EventLogReader:
    """Reads event logs for many clients at once: clients at the same position share one read and its events."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._reads: dict[tuple[str, int], asyncio.Task[list[LoggedEvent]]] = {}

    async def after(self, session_id: str, sequence: int) -> list[LoggedEvent]:
        """The events after the given sequence number, oldest first, at most one page.

        Empty while the store cannot be reached: the log is read again on the next change or keepalive.
        """
        position = (session_id, sequence)
        read = self._reads.get(position)
        if read is None:
            read = self._reads[position] = asyncio.create_task(self._read(*position))
            read.add_done_callback(lambda _: self._reads.pop(position))
        return await asyncio.shield(read)

    async def _read(self, session_id: str, sequence: int) -> list[LoggedEvent]:
        try:
            rows = await self._log.after(session_id, sequence, PAGE_SIZE)
        except StoreUnavailable:
            return []
        return [LoggedEvent(row, StreamEvent(row.type, _data_of(row), row.sequence)) for row in rows]


def turn_started(turn: Turn) -> TurnStarted:
    """The data of a turn's first event."""
    return TurnStarted(
        turn_id=turn.id,
        created_at=turn.created_at,
        parent_id=turn.parent_id,
        index=turn.index,
        user_message=turn.user_message,
    )


def turn_closed(turn: Turn, at: datetime, revision: int | None = None) -> TurnClosed:
    """The data of a turn's last event."""
    return TurnClosed(turn_id=turn.id, created_at=at, turn=TurnResponse.model_validate(turn), revision=revision)


def _data_of(row: LogRow) -> EventData:
    turn, known = row.turn, row.payload.get("revision")
    revision = known if isinstance(known, int) else None
    if turn is not None and row.type == "turn_started":
        return turn_started(turn).model_copy(update={"created_at": row.created_at, "revision": revision})
    if turn is not None and row.type in CLOSING:
        return turn_closed(turn, row.created_at, revision)
    return Happened.of(row.turn_id, row.created_at, row.payload)
