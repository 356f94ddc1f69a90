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
from tests.playhead.chat.chat_api import Clock, FakeApi, drops_after, event, fails_while_spoken, says, told
from tests.playhead.chat.test_text import session, turn
from tests.support.client_events import received

SPOKEN = "The terrace is free at seven, and at eight."


class Wall:
    """A terminal of 40 columns, and what stands on it."""

    def __init__(self) -> None:
        self._written = StringIO()
        console = Console(file=self._written, force_terminal=True, width=40, color_system=None, highlight=False)
        self.screen = TerminalScreen(console, pause=lambda seconds: pytest.fail("what is heard is not delayed"))
        self.screen.opened(
            ChatAgent(name="booking-line", version=1, transition_tools=frozenset({"to_booking"})), session()
        )
        self._begun_at = len(self._written.getvalue())

    def hears(self, *events: str) -> None:
        for heard in received("".join(events).encode()):
            self.screen.on_event(heard)

    @property
    def text(self) -> str:
        return self._written.getvalue()[self._begun_at :]


def delta(text: str, kind: str = "reply_delta") -> str:
    return event(kind, {"turn_id": "t1", "text": text})


def happened(kind: str, **payload: object) -> str:
    return event(kind, {"turn_id": "t1", "created_at": "2026-01-01T12:00:00Z", **payload})


def started() -> str:
    return next(told(turn(1)))


def test_words_stand_on_the_terminal_as_they_come_and_once() -> None:
    wall = Wall()
    wall.hears(started(), delta("The terrace is free at se"))
    assert wall.text == "agent  The terrace is free at"
    wall.hears(delta("ven, and at eight."))
    wall.screen.answered(turn(1, answer=SPOKEN))
    assert wall.text == "agent  The terrace is free at seven, and\n       at eight.\n"


def test_the_last_word_stands_there_as_soon_as_the_turn_is_over() -> None:
    wall = Wall()
    closed = [*told(turn(1, answer="At seven."))][-1]
    wall.hears(started(), delta("At seven."), closed)
    assert wall.text == "agent  At seven.\n"
    wall.screen.answered(turn(1, answer="At seven."))
    assert wall.text == "agent  At seven.\n"


def test_what_happens_between_the_words_stands_between_them() -> None:
    wall = Wall()
    wall.hears(
        started(),
        delta("One moment."),
        happened("tool_call_started", name="to_booking"),
        happened("node_transition", to_node="booking", transition="to booking"),
        happened("tool_call_started", name="find_table"),
        delta("\nAt seven?"),
    )
    wall.screen.answered(turn(1, answer="One moment.\nAt seven?", node_id="booking"))
    assert wall.text.splitlines() == ["agent  One moment.", "→ booking", "· calls find_table", "agent  At seven?"]


def test_a_reply_that_is_begun_anew_is_said_anew() -> None:
    wall = Wall()
    wall.hears(started(), delta("We are closed"), delta("At seven.", "reply_reset"))
    wall.screen.answered(turn(1, answer="At seven."))
    assert wall.text.splitlines() == [
        "agent  We are closed", "(the model starts its reply again)", "agent  At seven.",
    ]  # fmt: skip


def test_a_reset_that_goes_on_from_what_was_heard_is_not_noticed() -> None:
    wall = Wall()
    wall.hears(started(), delta("At "), delta("At seven.", "reply_reset"))
    wall.screen.answered(turn(1, answer="At seven."))
    assert wall.text == "agent  At seven.\n"


def test_a_stopped_reply_says_so() -> None:
    wall = Wall()
    wall.hears(started(), delta("We have a"))
    wall.screen.answered(turn(1, answer="We have a", status="interrupted"))
    assert wall.text.splitlines() == ["agent  We have a", "(interrupted)"]


def test_a_turn_that_was_not_heard_is_shown_whole() -> None:
    wall = Wall()
    wall.hears(started(), delta("Lost on"))
    wall.screen.answered(turn(2, status="failed", answer="", error="The provider is down."))
    assert wall.text.splitlines() == ["agent  Lost on", "This turn failed: The provider is down."]


@pytest.fixture
def retrying_client(httpserver: HTTPServer) -> Callable[[FakeApi], RetryingClient]:
    def make(api: FakeApi) -> RetryingClient:
        clock = Clock()
        client = Playhead(api.url, retries=NO_RETRIES)
        return RetryingClient(client, lambda text: None, limits=RetryLimits(), pause=clock.pause, clock=clock)

    return make


def test_a_reply_is_heard_once_however_often_its_connection_is_lost(
    httpserver: HTTPServer, retrying_client: Callable[[FakeApi], RetryingClient]
) -> None:
    api = FakeApi(httpserver)
    client = retrying_client(api)
    opened = client.create("booking-line")
    api.replies.append(says(SPOKEN))
    api.faults.append(drops_after)
    heard: list[Event] = []
    answered = client.send(opened.id, OutgoingMessage("Hello", "chat_1", None), heard.append)
    assert [found.type for found in heard] == ["turn_started", "reply_delta", "reply_delta", "turn_completed"]
    assert answered.newest is not None
    assert answered.newest.status == "completed"
    assert len({message["message_id"] for message in api.messages}) == 1


def test_a_turn_that_fails_while_it_is_heard_is_told_as_one_that_fails_at_once(
    httpserver: HTTPServer, retrying_client: Callable[[FakeApi], RetryingClient]
) -> None:
    api = FakeApi(httpserver)
    client = retrying_client(api)
    opened = client.create("booking-line")

    api.faults.append(fails_while_spoken(api, "The provider is down."))
    with pytest.raises(ModelFailed, match="The provider is down") as failed:
        client.send(opened.id, OutgoingMessage("Hello", "chat_1", None), lambda _: None)
    assert failed.value.turn is not None
    assert failed.value.turn.status == "failed"


def test_connected_again_is_told_before_the_words_that_prove_it(httpserver: HTTPServer) -> None:
    api, clock, notes = FakeApi(httpserver), Clock(), list[str]()
    playhead = Playhead(api.url, retries=NO_RETRIES)
    client = RetryingClient(playhead, notes.append, limits=RetryLimits(), pause=clock.pause, clock=clock)
    opened = client.create("booking-line")
    api.faults.append(drops_after)
    client.send(opened.id, OutgoingMessage("Hello", "chat_1", None), lambda heard: notes.append(heard.type))
    assert notes[1:3] == ["Connected again.", "turn_started"]
    assert notes.count("Connected again.") == 1
