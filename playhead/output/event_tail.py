"""Output of `playhead sessions tail`: a live conversation for people, or JSON lines."""

from collections.abc import Mapping
from typing import Protocol, TextIO

from pydantic import JsonValue
from pydantic_core import to_json

from domain.turns.turn import Turn
from playhead.output.events import REASONS, describe_event, failure_line
from playhead.output.plain_text import plain_json, printable, unbroken
from playhead_client import Event, Happened, ReplyDelta, ReplyReset, Session, TurnClosed, TurnStarted


class Tail(Protocol):
    """Shows events as they arrive."""

    def show(self, event: Event) -> None:
        """Show one event."""


class JsonTail:
    """One JSON object per line, for programs: `id`, `type` and `data`, as the API sent them."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, event: Event) -> None:
        """Show one event."""
        self._out.write(plain_json(to_json({"id": event.id, "type": event.type, "data": event.data}).decode()) + "\n")
        self._out.flush()


class PlainTail:
    """Lines for people. A reply grows on its line while it is generated."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._in_reply = False

    def show(self, event: Event) -> None:
        """Show one event."""
        match event.data:
            case Session() as session:
                self._line(f"{session.name} {session.id}: {session.status}, revision {session.revision}")
            case TurnStarted(user_message=message) if message:
                self._write(f"you: {message.text}")
            case ReplyDelta(text=text):
                self._append_reply(text)
            case ReplyReset(text=text):
                self._end_reply()
                self._append_reply(text)
            case TurnClosed(turn=turn):
                self._end_reply()
                failed = failure_line(Turn.model_validate(turn, from_attributes=True))
                if failed:
                    self._line(failed.text)
            case Happened(model_extra=payload):
                self._show_event(event.type, payload or {})

    def _show_event(self, kind: str, payload: Mapping[str, JsonValue]) -> None:
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
                line = describe_event(kind, payload)
                if line:
                    self._line(line)

    def _line(self, line: str) -> None:
        """Write names and reasons on one line, whatever is in them."""
        self._write(unbroken(line))

    def _write(self, line: str) -> None:
        self._end_reply()
        self._out.write(f"{printable(line)}\n")
        self._out.flush()

    def _append_reply(self, text: str) -> None:
        if not self._in_reply:
            self._out.write("agent: ")
        self._in_reply = True
        self._out.write(printable(text))
        self._out.flush()

    def _end_reply(self) -> None:
        if self._in_reply:
            self._out.write("\n")
        self._in_reply = False
