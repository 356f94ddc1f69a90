"""The chat on a terminal: replies word by word, completion and keys."""

from collections.abc import Iterator
from io import StringIO

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.console import Console

from playhead.chat.session_view import ChatSession
from playhead.chat.terminal import MAX_REPLY_SECONDS, WORD_SECONDS, ChatCompleter, TerminalReader, TerminalScreen
from playhead.output.events import Line
from tests.playhead.chat.test_text import session, turn

CTRL_C = "\x03"
CTRL_D = "\x04"
ENTER = "\r"
ESCAPE = "\x1b"
UP = "\x1b[A"


class PacedTerminal:
    """A terminal of 60 columns that records its text at each pause; Ctrl-C comes at pause number `interrupted_at`."""

    def __init__(self, *, interrupted_at: int | None = None) -> None:
        self.written = StringIO()
        self.pauses: list[float] = []
        self.seen: list[str] = []
        self._interrupted_at = interrupted_at
        console = Console(file=self.written, force_terminal=True, width=60, color_system=None, highlight=False)
        self.screen = TerminalScreen(console, pause=self._pause)

    @property
    def text(self) -> str:
        return self.written.getvalue()

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.seen.append(self.text)
        if len(self.pauses) == self._interrupted_at:
            raise KeyboardInterrupt


def test_live_reply_appears_word_by_word() -> None:
    terminal = PacedTerminal()
    terminal.screen.answered(turn(1, answer="Good evening to you."))
    assert [len(seen.split()) for seen in terminal.seen] == [2, 3, 4, 5]
    assert terminal.text == "agent  Good evening to you.\n"
    assert set(terminal.pauses) == {WORD_SECONDS}


def test_ctrl_c_shows_the_rest_of_a_reply_at_once() -> None:
    terminal = PacedTerminal(interrupted_at=2)
    terminal.screen.answered(turn(1, answer="Good evening to you. " * 10))
    assert len(terminal.pauses) == 2
    assert terminal.text.count("you.") == 10


def test_long_reply_takes_no_longer_than_a_few_seconds() -> None:
    terminal = PacedTerminal()
    terminal.screen.answered(turn(1, answer="word " * 2_000))
    assert sum(terminal.pauses) <= MAX_REPLY_SECONDS * 1.01


def test_earlier_turns_are_shown_at_once() -> None:
    terminal = PacedTerminal()
    terminal.screen.recalled([turn(0), turn(1, "For two")])
    assert terminal.pauses == []
    assert "you    For two" in terminal.text


def test_long_lines_are_wrapped_with_an_indent_and_paragraphs_are_kept() -> None:
    terminal = PacedTerminal()
    terminal.screen.answered(turn(1, answer=f"{'word ' * 20}\n\nA second paragraph, [bold]as written[/bold]."))
    first, *others = terminal.text.splitlines()
    assert first.startswith("agent  word")
    assert all(line.startswith(" " * 7) or not line.strip() for line in others)
    assert max(len(line) for line in terminal.text.splitlines()) <= 60
    assert "" in [line.strip() for line in others]
    assert "[bold]as written[/bold]." in terminal.text


def test_lines_are_shown_as_they_are() -> None:
    terminal = PacedTerminal()
    terminal.screen.line(Line("[red]not markup[/red]", "error"))
    assert terminal.text == "[red]not markup[/red]\n"


def test_spinner_counts_seconds() -> None:
    times = iter([10.0, 13.4])
    written = StringIO()
    console = Console(file=written, force_terminal=True, width=60)
    screen = TerminalScreen(console, clock=lambda: next(times, 13.4))
    with screen.waiting():
        pass
    assert "3 s" in written.getvalue()


def completions(typed: str, seen: ChatSession | None = None) -> list[str]:
    completer = ChatCompleter()
    completer.session = seen
    return [found.text for found in completer.get_completions(Document(typed), CompleteEvent())]


TALK = session(turns=(turn(0), turn(1, "For two"), turn(2, "On Friday")))


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("/re", ["/rewind"]),
        ("/", ["/rewind", "/timeline", "/branches", "/usage", "/node", "/end", "/help", "/quit"]),
        ("/rewind ", ["before", "clear", "3", "2", "1"]),
        ("/rewind b", ["before"]),
        ("/rewind before ", ["3", "2", "1"]),
        ("/rewind before 2", ["2"]),
        ("/rewind before 2 ", []),
        ("/rewind clear ", []),
        ("/usage ", []),
        ("For two", []),
    ],
)
def test_commands_and_turn_numbers_are_completed(typed: str, offered: list[str]) -> None:
    assert completions(typed, TALK) == offered


def test_completions_of_turns_show_their_messages() -> None:
    completer = ChatCompleter()
    completer.session = TALK
    offered = list(completer.get_completions(Document("/rewind 3"), CompleteEvent()))
    assert [found.display_meta_text for found in offered] == ["On Friday"]


@pytest.fixture
def keyboard() -> Iterator[PipeInput]:
    with create_pipe_input() as keys:
        yield keys


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def reader(keyboard: PipeInput, notes: list[str]) -> TerminalReader:
    return TerminalReader(notes.append, source=keyboard, sink=DummyOutput())


def test_line_is_read(reader: TerminalReader, keyboard: PipeInput) -> None:
    keyboard.send_text(f"For two{ENTER}")
    assert reader.read(TALK, "") == "For two"


def test_unsent_words_are_offered_again(reader: TerminalReader, keyboard: PipeInput) -> None:
    keyboard.send_text(f", please{ENTER}")
    assert reader.read(TALK, "For two") == "For two, please"


def test_earlier_messages_of_the_session_are_in_the_history(reader: TerminalReader, keyboard: PipeInput) -> None:
    keyboard.send_text(f"{UP}{UP}{ENTER}")
    assert reader.read(TALK, "") == "For two"


def test_alt_enter_begins_a_new_line(reader: TerminalReader, keyboard: PipeInput) -> None:
    keyboard.send_text(f"first{ESCAPE}{ENTER}second{ENTER}")
    assert reader.read(TALK, "") == "first\nsecond"


def test_ctrl_c_empties_the_line_and_says_how_to_leave(
    reader: TerminalReader, keyboard: PipeInput, notes: list[str]
) -> None:
    keyboard.send_text(f"never mind{CTRL_C}For two{ENTER}")
    assert reader.read(TALK, "") == "For two"
    assert notes == ["Ctrl-D or /quit leaves; the session stays alive."]


def test_ctrl_d_is_the_end(reader: TerminalReader, keyboard: PipeInput) -> None:
    keyboard.send_text(CTRL_D)
    assert reader.read(TALK, "") is None


@pytest.mark.parametrize(("keys", "answer"), [(f"2{ENTER}", "2"), (CTRL_C, None), (CTRL_D, None)])
def test_question_is_answered_or_not(
    reader: TerminalReader, keyboard: PipeInput, keys: str, answer: str | None
) -> None:
    keyboard.send_text(keys)
    assert reader.ask("Which turn?") == answer
