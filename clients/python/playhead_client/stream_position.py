"""Positions in event streams: which events are known, and which request resumes after them."""

from dataclasses import replace
from typing import Protocol

from playhead_client.calls import Call
from playhead_client.events import Event
from playhead_client.models.events import ReplyDelta, ReplyReset, TurnClosed, TurnStarted
from playhead_client.models.sessions import Session
from playhead_client.models.suites import Suite

SILENCE_SECONDS = 45.0
"""The API sends something every 15 seconds; a connection that is silent for this long is lost."""
_LAST = "session_completed"


class StreamPosition(Protocol):
    """The position in one stream."""

    read_timeout: float | None
    """Seconds of silence after which the connection counts as lost; None for the timeout of any other call."""
    session_call: Call[Session] | None
    """The call that shows whether a stream that ended without its last event is over."""
    is_over: bool
    """True once the last event has arrived."""

    def request(self) -> Call[Session]:
        """The request that starts or resumes the stream."""
        ...

    def take(self, event: Event) -> Event | None:
        """Record an event. Returns the event for the program; None for one that it already has."""
        ...

    def stream_ended(self, session: Session) -> None:
        """Record that the stream ended without its last event while the session was in this state."""
        ...


class SessionPosition:
    """A position in a session's log: each event has a number, and the API resumes after the last known one."""

    read_timeout: float | None = SILENCE_SECONDS

    def __init__(self, call: Call[Session], session_call: Call[Session], after: int | None) -> None:
        self.session_call: Call[Session] | None = session_call
        self.is_over = False
        self._call = call
        self._after = after
        self._received = False

    def request(self) -> Call[Session]:
        """The request, with the number of the last known event."""
        self._received = False
        return self._call if self._after is None else replace(self._call, headers={"Last-Event-ID": str(self._after)})

    def take(self, event: Event) -> Event:
        """Record an event; each is new."""
        self._received = True
        self._after = event.id if event.id is not None else self._after
        self.is_over = event.type == _LAST
        return event

    def stream_ended(self, session: Session) -> None:
        """End the stream if the session has ended and nothing arrived: closed from outside, it has no last event."""
        self.is_over = session.is_completed and not self._received


class SuitePosition:
    """A position in the records of a suite: the API resumes a little before the last known one."""

    read_timeout: float | None = SILENCE_SECONDS
    session_call: Call[Session] | None = None

    def __init__(self, call: Call[Session]) -> None:
        self.is_over = False
        self._call = call
        self._after: int | None = None

    def request(self) -> Call[Session]:
        """The request, with the id of the last known event."""
        return self._call if self._after is None else replace(self._call, headers={"Last-Event-ID": str(self._after)})

    def take(self, event: Event) -> Event:
        """Record an event. The suite, once it has its outcome, is the last."""
        self._after = event.id if event.id is not None else self._after
        self.is_over = isinstance(event.data, Suite) and event.data.outcome is not None
        return event

    def stream_ended(self, session: Session) -> None:
        """Does nothing: a suite has a last event of its own."""


class TurnPosition:
    """A position in the turn that a message opens. Sending the message again streams the turn from its start."""

    read_timeout: float | None = None
    session_call: Call[Session] | None = None

    def __init__(self, call: Call[Session]) -> None:
        self.is_over = False
        self._call = call
        self._known = 0
        self._repeated = 0
        self._is_text_stale = False

    def request(self) -> Call[Session]:
        """The message, under the same id each time."""
        return self._call

    def stream_ended(self, session: Session) -> None:
        """Does nothing: the turn has a last event of its own."""

    def take(self, event: Event) -> Event | None:
        """Leave out events known from an earlier connection, and restart the text of the reply."""
        data = event.data
        if isinstance(data, TurnStarted) and self._known:
            self._repeated, self._is_text_stale = 1, True
            return None
        if isinstance(data, ReplyDelta | ReplyReset):
            return self._text(event, data)
        self.is_over = isinstance(data, TurnClosed)
        if self._repeated and not self.is_over:
            self._repeated += 1
            if self._repeated <= self._known:
                return None
        self._known += 1
        return event

    def _text(self, event: Event, data: ReplyDelta | ReplyReset) -> Event:
        was_stale, self._is_text_stale = self._is_text_stale, False
        if was_stale and isinstance(data, ReplyDelta):
            return Event("reply_reset", ReplyReset(turn_id=data.turn_id, text=data.text))
        return event
