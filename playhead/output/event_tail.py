"""How `playhead sessions tail` tells events: as a conversation that goes on, or as JSON lines."""

from collections.abc import Mapping
from typing import Protocol, TextIO

from pydantic import JsonValue
from pydantic_core import to_json

from domain.turns.turn import Turn
from playhead.output.events import REASONS, failure, happening, printable
from playhead_client import Event, Happened, ReplyDelta, ReplyReset, Session, TurnClosed, TurnStarted


class Tail(Protocol):
    """Tells events as they come."""

    def tell(self, event: Event) -> None:
        """Something has happened."""


class JsonTail:
    """One JSON object a line, for programs: `id`, `type` and `data`, as the API sent them."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def tell(self, event: Event) -> None:
        """Something has happened."""
        self._out.write(to_json({"id": event.id, "type": event.type, "data": event.data}).decode() + "\n")
        self._out.flush()


class PlainTail:
    """Lines for people; a reply appears on its line while it is spoken."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_speaking = False

    def tell(self, event: Event) -> None:
        """Something has happened."""
        match event.data:
            case Session() as session:
                self._line(f"{session.name} {session.id}: {session.status}, revision {session.revision}")
            case TurnStarted(user_message=message) if message:
                self._line(f"you: {message.text}")
            case ReplyDelta(text=text):
                self._speak(text)
            case ReplyReset(text=text):
                self._end_speech()
                self._speak(text)
            case TurnClosed(turn=turn):
                self._end_speech()
                failed = failure(Turn.model_validate(turn, from_attributes=True))
                if failed:
                    self._line(failed.text)
            case Happened(model_extra=payload):
                self._happened(event.type, payload or {})

    def _happened(self, kind: str, payload: Mapping[str, JsonValue]) -> None:
        match kind:
            case "session_completed":
                reason = str(payload.get("reason"))
                self._line(f"The session has ended: {REASONS.get(reason, reason)}.")
            case "rewound" if payload.get("cleared"):
                self._line("· the rewind was undone")
            case "rewound":
                self._line(f"· rewound to {payload.get('cursor_turn_id') or 'before the first turn'}")
            case "branch_restored":
                self._line("· a branch was restored")
            case _:
                told = happening(kind, payload)
                if told:
                    self._line(told)

    def _line(self, line: str) -> None:
        self._end_speech()
        self._out.write(f"{printable(line)}\n")
        self._out.flush()

    def _speak(self, text: str) -> None:
        if not self._is_speaking:
            self._out.write("agent: ")
        self._is_speaking = True
        self._out.write(printable(text))
        self._out.flush()

    def _end_speech(self) -> None:
        if self._is_speaking:
            self._out.write("\n")
        self._is_speaking = False
