"""Chat output for programs: JSON Lines on standard output, notes for people on standard error."""

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TextIO

from pydantic import JsonValue

from domain.turns.turn import Turn
from playhead.chat import text as words
from playhead.chat.commands import View
from playhead.chat.session_view import ChatAgent, ChatSession, number_of
from playhead_client import Event

Kind = Literal["session", "turn", "rewound", "branches", "timeline", "usage", "node", "trouble", "ended", "left"]
"""The member `kind` of every line. A line of kind `turn` is the API's turn plus its `number` for people."""

_NOT_SHOWN = {"turns", "discarded_branches"}


class JsonScreen:
    """Writes one JSON object per event."""

    def __init__(self, out: TextIO, notes: TextIO) -> None:
        self._out = out
        self._notes = notes

    def opened(self, agent: ChatAgent, session: ChatSession) -> None:
        about = session.model_dump(mode="json", exclude=_NOT_SHOWN)
        model = session.model or agent.model
        self._write("session", {**about, "agent": agent.name, "model": model})

    def recalled(self, turns: Iterable[Turn]) -> None:
        for turn in turns:
            self.answered(turn)

    def said(self, text: str) -> None:
        """Writes nothing: the turn has the message."""

    def on_event(self, event: Event) -> None:
        """Writes nothing: the turn has all its events."""

    def answered(self, turn: Turn) -> None:
        self._write("turn", _turn(turn))

    def show(self, view: View, session: ChatSession) -> None:
        match view:
            case "help":
                for line in words.help_lines():
                    self.note(line.text)
            case "timeline":
                self._write(view, {**_place(session), "turns": [_turn(turn) for turn in session.turns]})
            case "branches":
                branches: list[JsonValue] = [
                    {
                        **branch.model_dump(mode="json", exclude={"turns"}),
                        "turns": [_turn(turn) for turn in branch.turns],
                    }
                    for branch in session.discarded_branches
                ]
                self._write(view, {"branches": branches})
            case "usage":
                self._write(view, _bill(session))
            case "node":
                self._write(view, {"node_id": session.current_node_id})

    def rewound(self, session: ChatSession) -> None:
        self._write("rewound", _place(session))

    def note(self, text: str) -> None:
        self._notes.write(f"{text}\n")
        self._notes.flush()

    def error(self, message: str, hint: str | None = None, *, code: str | None = None) -> None:
        self._write("trouble", {"code": code, "message": message, "remedy": hint})

    def ended(self, session: ChatSession) -> None:
        self._write("ended", {"session_id": session.id, "reason": session.completion_reason, **_bill(session)})

    def left(self, session: ChatSession) -> None:
        self._write("left", {"session_id": session.id, "status": session.status})

    def waiting(self) -> AbstractContextManager[object]:
        return nullcontext()

    def _write(self, kind: Kind, value: dict[str, JsonValue]) -> None:
        self._out.write(json.dumps({"kind": kind, **value}) + "\n")
        self._out.flush()


def _turn(turn: Turn) -> dict[str, JsonValue]:
    return {"number": number_of(turn), **turn.model_dump(mode="json", exclude={"checkpoint"})}


def _place(session: ChatSession) -> dict[str, JsonValue]:
    shown = {"id", "status", "revision", "cursor_turn_id", "current_node_id"}
    return session.model_dump(mode="json", include=shown)


def _bill(session: ChatSession) -> dict[str, JsonValue]:
    return session.model_dump(mode="json", include={"usage", "cost"})
