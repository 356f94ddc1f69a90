"""Events of sessions and suites as the client returns them."""

from collections.abc import Mapping
from dataclasses import dataclass

from httpx2 import ServerSentEvent

from playhead_client.models.events import Happened, ReplyDelta, ReplyReset, TurnClosed, TurnStarted
from playhead_client.models.sessions import Session
from playhead_client.models.suites import Suite, SuiteRun

EventData = Session | Suite | SuiteRun | TurnStarted | ReplyDelta | ReplyReset | TurnClosed | Happened

_DATA: Mapping[str, type[EventData]] = {
    "snapshot": Session,
    "suite_updated": Suite,
    "run_updated": SuiteRun,
    "turn_started": TurnStarted,
    "reply_delta": ReplyDelta,
    "reply_reset": ReplyReset,
    "turn_completed": TurnClosed,
    "turn_failed": TurnClosed,
    "turn_interrupted": TurnClosed,
}


@dataclass(frozen=True)
class Event:
    """One event. `id` is its number in the session's log, or a time of a suite; live events have none."""

    type: str
    data: EventData
    id: int | None = None


class EventReader:
    """Reads the events of one connection."""

    def __init__(self) -> None:
        self._last_id = ""

    def read(self, sent: ServerSentEvent) -> Event:
        """The event in a server-sent event. Raises ValueError when it is not one of the API."""
        # By the SSE standard an event without an id of its own carries that of the event before.
        number = int(sent.id) if sent.id != self._last_id else None
        self._last_id = sent.id
        return Event(sent.event, _DATA.get(sent.event, Happened).model_validate_json(sent.data), number)
