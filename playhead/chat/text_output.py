"""Where the chat shows things: what every screen can show, and the plain text one that scripts read."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TextIO

from domain.turns.turn import Turn
from playhead.chat import text as words
from playhead.chat.commands import View
from playhead.chat.session_view import ChatAgent, ChatSession
from playhead.output.events import Line, event_lines, failure_line, printable
from playhead_client import Event

VIEWS: dict[View, Callable[[ChatSession], list[Line]]] = {
    "branches": words.branches,
    "timeline": words.timeline,
    "usage": words.usage,
    "node": words.node,
    "help": lambda _: words.help_lines(),
}
"""What each command that only looks at something shows."""


class Screen(Protocol):
    """Shows a conversation to whoever is there."""

    def opened(self, agent: ChatAgent, session: ChatSession) -> None:
        """The session is open: say who is talking."""

    def recalled(self, turns: Iterable[Turn]) -> None:
        """Turns from before this chat, or by somebody else."""

    def said(self, text: str) -> None:
        """The person said this; a screen that already shows it does nothing."""

    def heard(self, event: Event) -> None:
        """Something of the turn that is being answered. Screens that show whole turns only do nothing."""

    def answered(self, turn: Turn) -> None:
        """A turn was answered, or failed."""

    def show(self, view: View, session: ChatSession) -> None:
        """What a command asked to see."""

    def rewound(self, session: ChatSession) -> None:
        """The session was rewound, or a rewind was undone."""

    def note(self, text: str) -> None:
        """Something worth knowing in passing."""

    def trouble(self, message: str, remedy: str | None = None, *, code: str | None = None) -> None:
        """Something did not work, and what to do about it. `code` is the API's, for programs."""

    def ended(self, session: ChatSession) -> None:
        """The session is over: the reason and the bill."""

    def left(self, session: ChatSession) -> None:
        """The person leaves; the session stays alive."""

    def waiting(self) -> AbstractContextManager[object]:
        """Shown while a reply is waited for."""


class TextScreen(ABC):
    """A screen of lines. What a line looks like, and how a reply appears, is left to the kind of screen."""

    @abstractmethod
    def line(self, line: Line) -> None:
        """Write one line."""

    @abstractmethod
    def aside(self, line: Line) -> None:
        """Write one line that is not part of the conversation."""

    @abstractmethod
    def speech(self, speaker: str, text: str, *, live: bool) -> None:
        """Write what somebody said; `live` when it is being said just now."""

    @abstractmethod
    def waiting(self) -> AbstractContextManager[object]:
        """Shown while a reply is waited for."""

    def opened(self, agent: ChatAgent, session: ChatSession) -> None:
        self._lines(words.header(agent, session))

    def recalled(self, turns: Iterable[Turn]) -> None:
        for turn in turns:
            if turn.user_message:
                self.speech("you", turn.user_message.text, live=False)
            self._answer(turn, live=False)

    def heard(self, event: Event) -> None:  # noqa: B027  # not abstract: most screens of lines wait for the turn
        """Nothing is shown before the turn is answered."""

    def answered(self, turn: Turn) -> None:
        self._answer(turn, live=True)

    def show(self, view: View, session: ChatSession) -> None:
        self._lines(VIEWS[view](session))

    def rewound(self, session: ChatSession) -> None:
        self._lines(words.rewound(session))

    def note(self, text: str) -> None:
        self.aside(Line(printable(text), "dim"))

    def trouble(self, message: str, remedy: str | None = None, *, code: str | None = None) -> None:
        self.aside(Line(printable(message), "trouble"))
        if remedy:
            self.aside(Line(printable(remedy), "dim"))

    def ended(self, session: ChatSession) -> None:
        self._lines(words.ended(session))

    def left(self, session: ChatSession) -> None:
        for line in words.left(session.id):
            self.aside(line)

    def _answer(self, turn: Turn, *, live: bool) -> None:
        self._lines(event_lines(turn))
        if turn.assistant_message:
            self.speech("agent", turn.assistant_message.text, live=live)
        failed = failure_line(turn)
        if failed:
            self.line(failed)

    def _lines(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self.line(line)


class PlainScreen(TextScreen):
    """Text without colours: the conversation on one stream, everything else about it on the other."""

    def __init__(self, out: TextIO, asides: TextIO) -> None:
        self._out = out
        self._asides = asides

    def line(self, line: Line) -> None:
        self._write(self._out, line.text)

    def aside(self, line: Line) -> None:
        self._write(self._asides, line.text)

    def speech(self, speaker: str, text: str, *, live: bool) -> None:
        first, *others = printable(text).split("\n")
        self._write(self._out, f"{speaker}: {first}")
        for other in others:
            self._write(self._out, f"  {other}")

    def said(self, text: str) -> None:
        """Shown too: what is piped in is not on the screen, and a transcript needs both sides."""
        self.speech("you", text, live=False)

    def waiting(self) -> AbstractContextManager[object]:
        return nullcontext()

    @staticmethod
    def _write(stream: TextIO, text: str) -> None:
        stream.write(f"{text}\n")
        stream.flush()
