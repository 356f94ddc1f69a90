"""Position of one client in a session's stream: which events and how much of each reply were sent to it."""

from collections import deque
from collections.abc import Iterator, Mapping

from api.schemas.events import ReplyDelta, ReplyReset
from api.streams.event_log import LoggedEvent, StreamEvent
from domain.turns.turn import Turn

MAX_CLOSED_TURNS = 16
"""Number of recently closed turns whose late reply text is ignored."""


class StreamCursor:
    """One client's position in the event log, and the reply text that was sent to it.

    The deltas of a turn, concatenated, are the text of its reply; where the text no longer continues what was sent,
    a `reply_reset` carries the whole text so far.
    """

    def __init__(self, position: int) -> None:
        self.position = position
        """Sequence number of the last durable event that was sent."""
        self._sent_text: dict[str, str] = {}
        self._closed_turns: deque[str] = deque(maxlen=MAX_CLOSED_TURNS)

    def logged(self, event: LoggedEvent) -> Iterator[StreamEvent]:
        """The events to send for an event of the log: before the end of a turn, the rest of its reply."""
        row = event.row
        self.position = row.sequence
        if row.type == "turn_started" and row.turn_id:
            self.start_turn(row.turn_id)
        if event.closes_turn and row.turn is not None:
            yield from self.close_turn(row.turn)
        yield event.event

    def start_turn(self, turn_id: str) -> None:
        """Record that the client was sent the start of a turn, and no text of it yet."""
        self._sent_text[turn_id] = ""

    def close_turn(self, turn: Turn) -> Iterator[StreamEvent]:
        """The rest of the reply of a turn that has closed."""
        sent = self._sent_text.pop(turn.id, None)
        self._closed_turns.append(turn.id)
        if sent is not None and turn.assistant_message is not None:
            yield from _text_change(turn.id, sent, turn.assistant_message.text)

    def replies(self, replies: Mapping[str, str]) -> Iterator[StreamEvent]:
        """The text that was added to pending replies, by turn. The log must hold the start of each of these turns."""
        for turn_id, text in replies.items():
            if turn_id in self._closed_turns:
                continue
            sent = self._sent_text.get(turn_id)
            self._sent_text[turn_id] = text
            if sent is None:
                yield StreamEvent("reply_reset", ReplyReset(turn_id=turn_id, text=text))
            else:
                yield from _text_change(turn_id, sent, text)


def _text_change(turn_id: str, sent: str, text: str) -> Iterator[StreamEvent]:
    """The event that turns the text that was sent into the present text; none when they are equal."""
    if not text.startswith(sent):
        yield StreamEvent("reply_reset", ReplyReset(turn_id=turn_id, text=text))
    elif len(text) > len(sent):
        yield StreamEvent("reply_delta", ReplyDelta(turn_id=turn_id, text=text[len(sent) :]))
