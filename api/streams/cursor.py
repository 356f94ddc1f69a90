"""What one client has been told of a session, and so what it is told next."""

from collections import deque
from collections.abc import Iterator, Mapping

from api.http.sse import format_event
from api.schemas.events import ReplyDelta, ReplyReset
from api.streams.event_log import LoggedEvent
from domain.turns.turn import Turn

REMEMBERED = 16
"""Turns that are over, lately, and so no longer spoken in."""


class StreamCursor:
    """One client's place in the log, and in what the agent is saying.

    The deltas of a turn, put together, are its text when it is over; where that cannot be, a reset says what the text
    is so far.
    """

    def __init__(self, position: int) -> None:
        self.position = position
        self._told: dict[str, str] = {}
        self._over: deque[str] = deque(maxlen=REMEMBERED)

    def event(self, event: LoggedEvent) -> Iterator[bytes]:
        """Tell an event of the log; before the end of a turn, what is left of its text."""
        row = event.row
        self.position = row.sequence
        if row.type == "turn_started" and row.turn_id:
            self._told[row.turn_id] = ""
        if event.is_closing and row.turn is not None:
            yield from self.rest(row.turn)
        yield event.wire

    def rest(self, turn: Turn) -> Iterator[bytes]:
        """A turn is over: tell what has not been told of its text."""
        told = self._told.pop(turn.id, None)
        self._over.append(turn.id)
        if told is not None and turn.assistant_message is not None:
            yield from _change(turn.id, told, turn.assistant_message.text)

    def began(self, turn_id: str) -> None:
        """A turn was told to have begun, from elsewhere than the log."""
        self._told[turn_id] = ""

    def words(self, voices: Mapping[str, str]) -> Iterator[bytes]:
        """Tell what the agent has said since. Every voice's turn must stand in the log before this is called."""
        for turn_id, text in voices.items():
            if turn_id in self._over:
                continue
            told = self._told.get(turn_id)
            self._told[turn_id] = text
            if told is None:
                yield format_event("reply_reset", ReplyReset(turn_id=turn_id, text=text))
            else:
                yield from _change(turn_id, told, text)


def _change(turn_id: str, told: str, text: str) -> Iterator[bytes]:
    """From what was told to what is so."""
    if not text.startswith(told):
        yield format_event("reply_reset", ReplyReset(turn_id=turn_id, text=text))
    elif len(text) > len(told):
        yield format_event("reply_delta", ReplyDelta(turn_id=turn_id, text=text[len(told) :]))
