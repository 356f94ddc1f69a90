"""Output of the chat: the interface of screens, and the plain-text screen for scripts."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TextIO

from domain.turns.turn import Turn
from playhead.chat import text as words
from playhead.chat.commands import View
from playhead.chat.session_view import ChatAgent, ChatSession
from playhead.output.events import Line, event_lines, failure_line
from playhead.output.plain_text import printable
from playhead_client import Event

VIEWS: dict[View, Callable[[ChatSession], list[Line]]] = {
    "branches": words.branches,
    "timeline": words.timeline,
    "usage": words.usage,
    "node": words.node,
    "help": lambda _: words.help_lines(),
}
"""The text of each view."""


class Screen(Protocol):
    """Shows a conversation to a user or a program."""

    def opened(self, agent: ChatAgent, session: ChatSession) -> None:
        """Show the agent and the session that was opened."""

    def recalled(self, turns: Iterable[Turn]) -> None:
        """Show turns from before this chat or of another client."""

    def said(self, text: str) -> None:
        """Show a message of the user, unless the screen shows it already."""

    def on_event(self, event: Event) -> None:
        """Show an event of the turn that is being answered. Screens that show whole turns do nothing."""

    def answered(self, turn: Turn) -> None:
        """Show a turn that was answered or failed."""

    def show(self, view: View, session: ChatSession) -> None:
        """Show the requested view."""

    def rewound(self, session: ChatSession) -> None:
        """Show that the session was rewound, or a rewind was undone."""

    def note(self, text: str) -> None:
        """Show a note that is not part of the conversation."""

    def error(self, message: str, hint: str | None = None, *, code: str | None = None) -> None:
        """Show an error and what to do about it. `code` is the API's error code, for programs."""

    def ended(self, session: ChatSession) -> None:
        """Show that the session has ended: the reason and the bill."""

    def left(self, session: ChatSession) -> None:
        """Show that the user leaves and the session stays alive."""

    def waiting(self) -> AbstractContextManager[object]:
        """A context manager that shows a spinner, or nothing, while a reply is awaited."""


class TextScreen(ABC):
    """A screen of lines. Subclasses define the look of lines and messages."""

    @abstractmethod
    def line(self, line: Line) -> None:
        """Write one line."""

    @abstractmethod
    def note_line(self, line: Line) -> None:
        """Write one line that is not part of the conversation."""

    @abstractmethod
    def message(self, speaker: str, text: str, *, live: bool) -> None:
        """Write a message; `live` if it is new."""

    @abstractmethod
    def waiting(self) -> AbstractContextManager[object]:
        """A context manager that shows a spinner, or nothing, while a reply is awaited."""

    def opened(self, agent: ChatAgent, session: ChatSession) -> None:
        self._lines(words.header(agent, session))

    def recalled(self, turns: Iterable[Turn]) -> None:
        for turn in turns:
            if turn.user_message:
                self.message("you", turn.user_message.text, live=False)
            self._answer(turn, live=False)

    def on_event(self, event: Event) -> None:  # noqa: B027  # optional: a screen may show no events
        """Shows nothing: the turn is shown once it is answered."""

    def answered(self, turn: Turn) -> None:
        self._answer(turn, live=True)

    def show(self, view: View, session: ChatSession) -> None:
        self._lines(VIEWS[view](session))

    def rewound(self, session: ChatSession) -> None:
        self._lines(words.rewound(session))

    def note(self, text: str) -> None:
        self.note_line(Line(printable(text), "dim"))

    def error(self, message: str, hint: str | None = None, *, code: str | None = None) -> None:
        self.note_line(Line(printable(message), "error"))
        if hint:
            self.note_line(Line(printable(hint), "dim"))

    def ended(self, session: ChatSession) -> None:
        self._lines(words.ended(session))

    def left(self, session: ChatSession) -> None:
        for line in words.left(session.id):
            self.note_line(line)

    def _answer(self, turn: Turn, *, live: bool) -> None:
        self._lines(event_lines(turn))
        if turn.assistant_message:
            self.message("agent", turn.assistant_message.text, live=live)
        failed = failure_line(turn)
        if failed:
            self.line(failed)

    def _lines(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self.line(line)


class PlainScreen(TextScreen):
    """Text without colours: the conversation on one stream, notes on the other."""

    def __init__(self, out: TextIO, notes: TextIO) -> None:
        self._out = out
        self._notes = notes

    def line(self, line: Line) -> None:
        self._write(self._out, line.text)

    def note_line(self, line: Line) -> None:
        self._write(self._notes, line.text)

    def message(self, speaker: str, text: str, *, live: bool) -> None:
        first, *others = printable(text).split("\n")
        self._write(self._out, f"{speaker}: {first}")
        for other in others:
            self._write(self._out, f"  {other}")

    def said(self, text: str) -> None:
        """Write the message: piped input is not on the screen, and a transcript needs both sides."""
        self.message("you", text, live=False)

    def waiting(self) -> AbstractContextManager[object]:
        return nullcontext()

    @staticmethod
    def _write(stream: TextIO, text: str) -> None:
        stream.write(f"{text}\n")
        stream.flush()
