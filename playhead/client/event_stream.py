"""Events of sessions as the client gives them: read from the wire, and taken up again after a lost connection."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from playhead.client.models import Happened, ReplyDelta, ReplyReset, Session, TurnClosed, TurnStarted
from playhead.client.requests import Call

SILENCE_SECONDS = 45.0
"""A stream says something every 15 seconds; one that is silent for this long is lost."""


EventData = Session | TurnStarted | ReplyDelta | ReplyReset | TurnClosed | Happened

_FORMS: Mapping[str, type[EventData]] = {
    "snapshot": Session,
    "turn_started": TurnStarted,
    "reply_delta": ReplyDelta,
    "reply_reset": ReplyReset,
    "turn_completed": TurnClosed,
    "turn_failed": TurnClosed,
    "turn_interrupted": TurnClosed,
}
_LAST = "session_completed"


@dataclass(frozen=True)
class Event:
    """Something that happened. `id` is its number in the session's log; what is only told live has none."""

    type: str
    data: EventData
    id: int | None = None


class EventReader:
    """Reads events from the bytes of a stream, as the standard of server-sent events says."""

    def __init__(self) -> None:
        self._rest = b""
        self._fields: dict[str, str] = {}

    def take(self, received: bytes) -> Iterator[Event]:
        """The events that these bytes complete. Raises ValueError for what is none of the API's."""
        # Lines end with these bytes alone: the text of an event may hold what Python takes for the end of a line, too.
        *lines, self._rest = (self._rest + received).split(b"\n")
        for line in lines:
            event = self._line(line.removesuffix(b"\r").decode())
            if event is not None:
                yield event

    def _line(self, line: str) -> Event | None:
        if line:
            name, _, value = line.partition(":")
            known = f"{self._fields[name]}\n" if name == "data" and name in self._fields else ""
            self._fields[name] = known + value.removeprefix(" ")
            return None
        fields, self._fields = self._fields, {}
        if "data" not in fields:
            return None  # a comment
        kind, number = fields.get("event", "message"), fields.get("id")
        data = _FORMS.get(kind, Happened).model_validate_json(fields["data"])
        return Event(kind, data, int(number) if number else None)


class Following(Protocol):
    """What a client knows of a stream, and so how it goes on after the connection was lost."""

    silence: float | None
    """Seconds without anything after which the connection counts as lost; none: as long as any call may take."""
    look: Call[Session] | None
    """How to find out whether a stream that ended without its last event is over."""
    is_over: bool
    """Whether the last event has come."""

    def begin(self) -> Call[Session]:
        """The request that begins the stream, or goes on with it."""
        ...

    def take(self, event: Event) -> Event | None:
        """An event has come: what the program is told of it, if it was not told before."""
        ...

    def ended(self, session: Session) -> None:
        """The stream has ended without its last event, and this is the session now."""
        ...


class FollowingSession:
    """A session's events from its log: each has a number, and the API goes on after the last that is known."""

    silence: float | None = SILENCE_SECONDS

    def __init__(self, call: Call[Session], look: Call[Session], after: int | None) -> None:
        self.look: Call[Session] | None = look
        self.is_over = False
        self._call = call
        self._after = after
        self._came = False

    def begin(self) -> Call[Session]:
        """The request, with the number of the last event that is known."""
        self._came = False
        return self._call if self._after is None else replace(self._call, headers={"Last-Event-ID": str(self._after)})

    def take(self, event: Event) -> Event:
        """Every event is new."""
        self._came = True
        self._after = event.id if event.id is not None else self._after
        self.is_over = event.type == _LAST
        return event

    def ended(self, session: Session) -> None:
        """A session whose workflow was closed from outside has no last event: nothing comes any more."""
        self.is_over = session.is_completed and not self._came


class FollowingTurn:
    """The events of the turn that a message opens. The message, sent again, tells the turn from its start."""

    silence: float | None = None
    look: Call[Session] | None = None

    def __init__(self, call: Call[Session]) -> None:
        self.is_over = False
        self._call = call
        self._known = 0
        self._again = 0
        self._is_text_stale = False

    def begin(self) -> Call[Session]:
        """The message, under the same id each time."""
        return self._call

    def ended(self, session: Session) -> None:
        """The turn tells by itself when it is over."""

    def take(self, event: Event) -> Event | None:
        """Leave out what was told before the connection was lost, and begin the text of the reply anew."""
        data = event.data
        if isinstance(data, TurnStarted) and self._known:
            self._again, self._is_text_stale = 1, True
            return None
        if isinstance(data, ReplyDelta | ReplyReset):
            return self._words(event, data)
        self.is_over = isinstance(data, TurnClosed)
        if self._again and not self.is_over:
            self._again += 1
            if self._again <= self._known:
                return None
        self._known += 1
        return event

    def _words(self, event: Event, data: ReplyDelta | ReplyReset) -> Event:
        was_stale, self._is_text_stale = self._is_text_stale, False
        if was_stale and isinstance(data, ReplyDelta):
            return Event("reply_reset", ReplyReset(turn_id=data.turn_id, text=data.text))
        return event
