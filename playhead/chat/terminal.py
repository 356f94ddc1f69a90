"""The chat on a terminal: replies word by word, a spinner, and a prompt with command completion."""

import re
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from rich.status import Status
from rich.text import Text

from domain.turns.turn import Turn
from playhead.chat.commands import HELP
from playhead.chat.session_view import ChatAgent, ChatSession, number_of
from playhead.chat.text import shortened
from playhead.chat.text_output import TextScreen
from playhead.chat.word_wrap import WordWrap
from playhead.output.events import Line, Tone, describe_event, failure_line, money
from playhead.output.plain_text import printable
from playhead_client import Event, Happened, ReplyDelta, ReplyReset, TurnClosed, TurnStarted

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.output import Output
    from rich.console import Console

WORD_SECONDS = 0.03
MAX_REPLY_SECONDS = 4.0
"""Upper bound on the time to show one reply: long ones are shown faster."""
MAX_TEXT_COLUMNS = 100
"""Upper bound on the columns of text: long lines are hard to read."""
SPEAKER_COLUMNS = 7

STYLES: dict[Tone, str] = {"plain": "", "dim": "dim", "strong": "bold", "error": "red"}
SPEAKERS = {"agent": "bold green", "you": "bold cyan"}


class TerminalScreen(TextScreen):
    """Shows the conversation in colour, and replies word by word. Ctrl-C shows the rest of a reply at once."""

    def __init__(
        self,
        console: "Console",
        *,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._pause = pause
        self._clock = clock
        self._spinner: Status | None = None
        self._transition_tools: frozenset[str] = frozenset()
        self._live: _LiveTurn | None = None

    def line(self, line: Line) -> None:
        self._console.print(Text(line.text, STYLES[line.tone]))

    def note_line(self, line: Line) -> None:
        self.line(line)

    def said(self, text: str) -> None:
        """Writes nothing: the prompt shows the message already."""

    def opened(self, agent: ChatAgent, session: ChatSession) -> None:
        self._transition_tools = agent.transition_tools
        super().opened(agent, session)

    def on_event(self, event: Event) -> None:
        """Show the text of a reply as it streams, and the events in between."""
        match event.data:
            case TurnStarted(turn_id=turn_id):
                self._live = _LiveTurn(turn_id)
            case ReplyDelta(text=text) if self._live:
                self._say(self._live, text)
            case ReplyReset(text=text) if self._live:
                if text.startswith(self._live.text):
                    self._say(self._live, text[len(self._live.text) :])
                else:
                    self._end_text(self._live)
                    self.note_line(Line("(the model starts its reply again)", "dim"))
                    self._live.text = ""
                    self._say(self._live, text)
            case TurnClosed(turn=turn) if self._live:
                self._finish(self._live, turn.assistant_message.text if turn.assistant_message else "")
            case Happened(model_extra=payload) if (
                self._live and payload and payload.get("name") not in self._transition_tools
            ):
                description = describe_event(event.type, payload)
                if description:
                    self._end_text(self._live)
                    self.line(Line(printable(description), "dim"))

    def answered(self, turn: Turn) -> None:
        live, self._live = self._live, None
        if live is None or live.turn_id != turn.id:
            if live is not None:
                self._end_text(live)
            super().answered(turn)
            return
        self._finish(live, turn.assistant_message.text if turn.assistant_message else "")
        failed = failure_line(turn)
        if failed:
            self.line(failed)

    def _say(self, live: "_LiveTurn", text: str) -> None:
        live.text += text
        if live.wrap is None:
            text = text.lstrip()
            if not text:
                return
            if self._spinner is not None:
                self._spinner.stop()
            self._console.print(Text("agent".ljust(SPEAKER_COLUMNS), SPEAKERS["agent"]), end="")
            live.wrap = WordWrap(self._write, width=self._width, indent=SPEAKER_COLUMNS)
        live.wrap.write(printable(text))

    def _finish(self, live: "_LiveTurn", text: str) -> None:
        if text.startswith(live.text):
            self._say(live, text[len(live.text) :])
        self._end_text(live)

    def _end_text(self, live: "_LiveTurn") -> None:
        if live.wrap is not None:
            live.wrap.end()
            self._console.print()
        live.wrap = None

    def _write(self, text: str) -> None:
        self._console.print(Text(text), end="", soft_wrap=True)

    @property
    def _width(self) -> int:
        return max(min(self._console.width, MAX_TEXT_COLUMNS) - SPEAKER_COLUMNS, 20)

    def message(self, speaker: str, text: str, *, live: bool) -> None:
        lines = Text(printable(text)).wrap(self._console, self._width)
        pieces = [re.findall(r"\s*\S+", line.plain) for line in lines]
        count = sum(len(words) for words in pieces)
        pace = min(WORD_SECONDS, MAX_REPLY_SECONDS / max(count, 1)) if live else 0.0
        for at, words in enumerate(pieces):
            label = speaker if at == 0 else ""
            self._console.print(Text(label.ljust(SPEAKER_COLUMNS), SPEAKERS.get(speaker, "")), end="")
            pace = self._speak(words, pace)
            self._console.print()

    def _speak(self, words: Iterable[str], pace: float) -> float:
        """Write words with a pause after each; returns the pause for the next line, 0 after Ctrl-C."""
        for word in words:
            self._console.print(Text(word), end="", soft_wrap=True)
            try:
                if pace:
                    self._pause(pace)
            except KeyboardInterrupt:
                pace = 0.0
        return pace

    def waiting(self) -> AbstractContextManager[object]:
        self._spinner = Status(_ElapsedSeconds(self._clock), console=self._console, spinner="dots", spinner_style="dim")
        return self._spinner


@dataclass
class _LiveTurn:
    """A turn that is being answered: its text so far, and the word wrap of the line being written."""

    turn_id: str
    text: str = ""
    wrap: WordWrap | None = None


class _ElapsedSeconds:
    """The text beside the spinner: the seconds since its start."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()

    def __rich__(self) -> Text:
        return Text(f"{self._clock() - self._since:.0f} s", "dim")


class TerminalReader:
    """A prompt with history, editing and completion. Alt-Enter inserts a line break.

    The history holds the messages of this session, in memory only.
    """

    def __init__(
        self, note: Callable[[str], None], *, source: "Input | None" = None, sink: "Output | None" = None
    ) -> None:
        self._note = note
        self._history = InMemoryHistory()
        self._completer = ChatCompleter()
        self._recalled = False
        self._prompt: PromptSession[str] = PromptSession(
            history=self._history,
            completer=self._completer,
            # Only for commands, because completion reserves screen lines for its menu.
            complete_while_typing=Condition(lambda: self._prompt.default_buffer.text.startswith("/")),
            key_bindings=_key_bindings(),
            input=source,
            output=sink,
        )
        self._question: PromptSession[str] = PromptSession(input=source, output=sink)

    def read(self, session: ChatSession, unsent: str) -> str | None:
        """The next line. Ctrl-C clears the line; Ctrl-D ends the input."""
        self._recall(session)
        self._completer.session = session
        while True:
            try:
                return self._prompt.prompt(
                    FormattedText([("", "\n"), ("ansicyan bold", "you".ljust(SPEAKER_COLUMNS))]),
                    default=unsent,
                    bottom_toolbar=lambda: _status_line(session),
                    prompt_continuation=" " * SPEAKER_COLUMNS,
                )
            except KeyboardInterrupt:
                unsent = ""
                self._note("Ctrl-D or /quit leaves; the session stays alive.")
            except EOFError:
                return None

    def ask(self, question: str) -> str | None:
        """The answer to a question; None after Ctrl-C or Ctrl-D."""
        try:
            return self._question.prompt(f"{question} ")
        except (EOFError, KeyboardInterrupt):
            return None

    def _recall(self, session: ChatSession) -> None:
        if self._recalled:
            return
        self._recalled = True
        for turn in session.turns:
            if turn.user_message:
                self._history.append_string(turn.user_message.text)


class ChatCompleter(Completer):
    """Completes slash commands, and turn numbers after `/rewind`."""

    def __init__(self) -> None:
        self.session: ChatSession | None = None

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Completions of the text before the cursor."""
        typed = document.text_before_cursor
        if not typed.startswith("/"):
            return
        command, space, rest = typed.partition(" ")
        if not space:
            for usage, means in HELP.items():
                name = usage.split()[0]
                if name.startswith(command.lower()):
                    yield Completion(name, -len(command), display=usage, display_meta=means)
        elif command.lower() == "/rewind":
            yield from self._places(rest)

    def _places(self, typed: str) -> Iterable[Completion]:
        words = typed.lower().split(" ")
        if len(words) == 1:
            for word, means in (("before", "to before a turn"), ("clear", "undo the rewind")):
                if word.startswith(words[0]):
                    yield Completion(word, -len(words[0]), display_meta=means)
        elif len(words) > 2 or words[0] != "before":
            return
        for turn in reversed(self.session.turns if self.session else ()):
            number = str(number_of(turn))
            if number.startswith(words[-1]):
                said = turn.user_message.text if turn.user_message else "(greeting)"
                yield Completion(number, -len(words[-1]), display_meta=shortened(said))


def _key_bindings() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


def _status_line(session: ChatSession) -> str:
    """The status line at the bottom of the screen: node, turn and cost."""
    turn = f"turn {number_of(session.newest)}" if session.newest else "no turns"
    parts = [
        session.current_node_id,
        f"{turn} (rewound)" if session.is_rewound else turn,
        money(session.cost.total) if session.cost.total else None,
        "/help",
    ]
    return printable(f" {' · '.join(part for part in parts if part)}")
