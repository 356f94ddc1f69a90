"""The log of sessions as it is sent to clients: every event rendered once, however many are watching."""

import asyncio
from dataclasses import dataclass

from api.http.sse import format_event
from api.schemas.events import Happened, TurnClosed, TurnStarted
from api.schemas.responses import Turn
from store.database.errors import StoreUnavailable
from store.sessions.event_log import COMPLETION, EventLog, LogRow

CLOSING = ("turn_completed", "turn_failed", "turn_interrupted")
PAGE = 200


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event of the log, in the form in which it is sent."""

    row: LogRow
    wire: bytes

    @property
    def is_closing(self) -> bool:
        """Whether a turn is over with it."""
        return self.row.type in CLOSING

    @property
    def is_last(self) -> bool:
        """Whether the session is over with it."""
        return self.row.type == COMPLETION


class RenderedLog:
    """Reads logs for many clients at once: those that stand at the same place share what is read and rendered."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._reading: dict[tuple[str, int], asyncio.Task[list[LoggedEvent]]] = {}

    async def after(self, session_id: str, sequence: int) -> list[LoggedEvent]:
        """The events that follow the given number, oldest first, a page of them at most."""
        place = (session_id, sequence)
        reading = self._reading.get(place)
        if reading is None:
            reading = self._reading[place] = asyncio.create_task(self._read(*place))
            reading.add_done_callback(lambda _: self._reading.pop(place))
        return await asyncio.shield(reading)

    async def _read(self, session_id: str, sequence: int) -> list[LoggedEvent]:
        try:
            rows = await self._log.after(session_id, sequence, PAGE)
        except StoreUnavailable:  # nothing is lost: it is read again when there is news, or after a heartbeat
            return []
        return [LoggedEvent(row, _wire(row)) for row in rows]


def _wire(row: LogRow) -> bytes:
    return format_event(row.type, data_of(row), row.sequence)


def data_of(row: LogRow) -> str:
    """The data of an event."""
    turn = row.turn
    if turn is not None and row.type == "turn_started":
        started = TurnStarted(
            turn_id=turn.id,
            created_at=row.created_at,
            parent_id=turn.parent_id,
            index=turn.index,
            user_message=turn.user_message,
        )
        return started.model_dump_json()
    if turn is not None and row.type in CLOSING:
        closed = TurnClosed(turn_id=turn.id, created_at=row.created_at, turn=Turn.model_validate(turn))
        return closed.model_dump_json()
    return Happened.data(row.turn_id, row.created_at, row.payload)
