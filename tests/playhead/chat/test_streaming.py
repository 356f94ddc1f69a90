"""Streamed replies in the chat: on the terminal, after reconnects, and stopped by Ctrl-C."""

from collections.abc import Callable
from io import StringIO

import pytest
from pytest_httpserver import HTTPServer
from rich.console import Console

from playhead.chat.delivery import OutgoingMessage, RetryingClient, RetryLimits
from playhead.chat.session_view import ChatAgent
from playhead.chat.terminal import TerminalScreen
from playhead_client import NO_RETRIES, Event, ModelFailed, Playhead
from tests.playhead.chat.chat_api import Clock, FakeApi, drops_after, event, events_of, fails_while_streaming, says
from tests.playhead.chat.test_text import session, turn
from tests.support.client_events import received

REPLY = "The terrace is free at seven, and at eight."


class Terminal:
    """A terminal of 40 columns, and what stands on it."""

    def __init__(self) -> None:
        self._written = StringIO()
        console = Console(file=self._written, force_terminal=True, width=40, color_system=None, highlight=False)
        self.screen = TerminalScreen(console, pause=lambda seconds: pytest.fail("a streamed reply is not delayed"))
        self.screen.opened(
            ChatAgent(name="booking-line", version=1, transition_tools=frozenset({"to_booking"})), session()
        )
        self._begun_at = len(self._written.getvalue())

    def receives(self, *events: str) -> None:
        for each in received("".join(events).encode()):
            self.screen.on_event(each)

    @property
    def text(self) -> str:
        return self._written.getvalue()[self._begun_at :]


def delta(text: str, kind: str = "reply_delta") -> str:
    return event(kind, {"turn_id": "t1", "text": text})


def happened(kind: str, **payload: object) -> str:
    return event(kind, {"turn_id": "t1", "created_at": "2026-01-01T12:00:00Z", **payload})


def started() -> str:
    return next(events_of(turn(1)))


def test_words_appear_on_the_terminal_as_they_arrive_and_once() -> None:
    terminal = Terminal()
    terminal.receives(started(), delta("The terrace is free at se"))
    assert terminal.text == "agent  The terrace is free at"
    terminal.receives(delta("ven, and at eight."))
    terminal.screen.answered(turn(1, answer=REPLY))
    assert terminal.text == "agent  The terrace is free at seven, and\n       at eight.\n"


def test_the_last_word_appears_as_soon_as_the_turn_is_over() -> None:
    terminal = Terminal()
    closed = [*events_of(turn(1, answer="At seven."))][-1]
    terminal.receives(started(), delta("At seven."), closed)
    assert terminal.text == "agent  At seven.\n"
    terminal.screen.answered(turn(1, answer="At seven."))
    assert terminal.text == "agent  At seven.\n"


def test_events_between_words_are_shown_between_them() -> None:
    terminal = Terminal()
    terminal.receives(
        started(),
        delta("One moment."),
        happened("tool_call_started", name="to_booking"),
        happened("node_transition", to_node="booking", transition="to booking"),
        happened("tool_call_started", name="find_table"),
        delta("\nAt seven?"),
    )
    terminal.screen.answered(turn(1, answer="One moment.\nAt seven?", node_id="booking"))
    assert terminal.text.splitlines() == ["agent  One moment.", "→ booking", "· calls find_table", "agent  At seven?"]


def test_a_restarted_reply_is_shown_from_its_beginning() -> None:
    terminal = Terminal()
    terminal.receives(started(), delta("We are closed"), delta("At seven.", "reply_reset"))
    terminal.screen.answered(turn(1, answer="At seven."))
    assert terminal.text.splitlines() == [
        "agent  We are closed", "(the model starts its reply again)", "agent  At seven.",
    ]  # fmt: skip


def test_a_reset_that_extends_the_streamed_text_shows_only_the_new_text() -> None:
    terminal = Terminal()
    terminal.receives(started(), delta("At "), delta("At seven.", "reply_reset"))
    terminal.screen.answered(turn(1, answer="At seven."))
    assert terminal.text == "agent  At seven.\n"


def test_a_stopped_reply_says_so() -> None:
    terminal = Terminal()
    terminal.receives(started(), delta("We have a"))
    terminal.screen.answered(turn(1, answer="We have a", status="interrupted"))
    assert terminal.text.splitlines() == ["agent  We have a", "(interrupted)"]


def test_a_turn_that_was_not_streamed_is_shown_whole() -> None:
    terminal = Terminal()
    terminal.receives(started(), delta("Lost on"))
    terminal.screen.answered(turn(2, status="failed", answer="", error="The provider is down."))
    assert terminal.text.splitlines() == ["agent  Lost on", "This turn failed: The provider is down."]


@pytest.fixture
def retrying_client(httpserver: HTTPServer) -> Callable[[FakeApi], RetryingClient]:
    def make(api: FakeApi) -> RetryingClient:
        clock = Clock()
        client = Playhead(api.url, retries=NO_RETRIES)
        return RetryingClient(client, lambda text: None, limits=RetryLimits(), pause=clock.pause, clock=clock)

    return make


def test_events_of_a_reply_are_received_once_after_a_lost_connection(
    httpserver: HTTPServer, retrying_client: Callable[[FakeApi], RetryingClient]
) -> None:
    api = FakeApi(httpserver)
    client = retrying_client(api)
    opened = client.create("booking-line")
    api.replies.append(says(REPLY))
    api.faults.append(drops_after)
    events: list[Event] = []
    answered = client.send(opened.id, OutgoingMessage("Hello", "chat_1", None), events.append)
    assert [found.type for found in events] == ["turn_started", "reply_delta", "reply_delta", "turn_completed"]
    assert answered.newest is not None
    assert answered.newest.status == "completed"
    assert len({message["message_id"] for message in api.messages}) == 1


def test_a_turn_that_fails_while_streaming_raises_the_same_error_as_one_that_fails_at_once(
    httpserver: HTTPServer, retrying_client: Callable[[FakeApi], RetryingClient]
) -> None:
    api = FakeApi(httpserver)
    client = retrying_client(api)
    opened = client.create("booking-line")

    api.faults.append(fails_while_streaming(api, "The provider is down."))
    with pytest.raises(ModelFailed, match="The provider is down") as failed:
        client.send(opened.id, OutgoingMessage("Hello", "chat_1", None), lambda _: None)
    assert failed.value.turn is not None
    assert failed.value.turn.status == "failed"


def test_the_reconnection_is_noted_before_the_first_event_after_it(httpserver: HTTPServer) -> None:
    api, clock, notes = FakeApi(httpserver), Clock(), list[str]()
    playhead = Playhead(api.url, retries=NO_RETRIES)
    client = RetryingClient(playhead, notes.append, limits=RetryLimits(), pause=clock.pause, clock=clock)
    opened = client.create("booking-line")
    api.faults.append(drops_after)
    client.send(opened.id, OutgoingMessage("Hello", "chat_1", None), lambda each: notes.append(each.type))
    assert notes[1:3] == ["Connected again.", "turn_started"]
    assert notes.count("Connected again.") == 1
