"""Input of the chat: the interface of line readers, and the reader of piped lines."""

from typing import Protocol, TextIO

from playhead.chat.session_view import ChatSession


class Reader(Protocol):
    """Reads lines from a user or a script."""

    def read(self, session: ChatSession, unsent: str) -> str | None:
        """The next line, or None at the end. `unsent` is offered for editing where that is possible."""

    def ask(self, question: str) -> str | None:
        """The answer to a question, or None at the end."""


class LineReader:
    """Reads lines from a stream, and writes prompts to `prompts` if given."""

    def __init__(self, lines: TextIO, prompts: TextIO | None = None) -> None:
        self._lines = lines
        self._prompts = prompts

    def read(self, session: ChatSession, unsent: str) -> str | None:
        return self._next("you: ")

    def ask(self, question: str) -> str | None:
        return self._next(f"{question} ")

    def _next(self, prompt: str) -> str | None:
        if self._prompts is not None:
            self._prompts.write(prompt)
            self._prompts.flush()
        return self._lines.readline() or None
