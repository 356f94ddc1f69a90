"""Publishing a streamed reply: the first words at once, later ones in batches, up to a limit."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import cast

import pytest

from activities.llm import reply_publisher
from activities.llm.reply_publisher import LiveReplyPublisher
from activities.llm.reply_stream import StreamContext
from contracts.sessions import TurnStart
from domain.turns.turn import Turn
from store.database.errors import StoreUnavailable
from store.sessions.event_log import EventLog, Recorded
from streaming.messages import TextDelta
from tests.support.waiting import eventually

OPENING = TurnStart(parent_id=None, index=0, created_at=datetime(2026, 11, 27, tzinfo=UTC))
TURN = OPENING.turn("turn_1", None)


class Listeners:
    """Fake subscribers, switched on by the test, and the deltas they received."""

    def __init__(self, *, watching: bool = True) -> None:
        self.watching = watching
        self.received: list[TextDelta] = []
        self.deltas_before_log_growth: list[int] = []
        self._greet: Callable[[], None] = lambda: None

    @property
    def text(self) -> str:
        """The text they have received."""
        text = ""
        for delta in self.received:
            text = text[: delta.offset] + delta.text
        return text

    def is_watched(self, session_id: str) -> bool:
        return self.watching

    def log_appended(self, session_id: str) -> None:
        self.deltas_before_log_growth.append(len(self.received))

    def publish_delta(self, session_id: str, delta: TextDelta) -> None:
        self.received.append(delta)

    @contextmanager
    def on_subscribe(self, session_id: str, greet: Callable[[], None]) -> Iterator[None]:
        self._greet = greet
        yield

    async def have_received(self) -> bool:
        """True if they have received any delta, even an empty one."""
        return bool(self.received)

    async def know_the_start_is_logged(self) -> bool:
        """True if a delta marked the start of the turn as logged."""
        return any(delta.is_logged for delta in self.received)

    def subscribe(self) -> None:
        """Begin to watch."""
        self.watching = True
        self._greet()


class Log:
    """Records starts of turns when it is allowed to, and keeps the `in_order` of each request."""

    def __init__(self, *answers: Recorded) -> None:
        self._answers = list(answers)
        self.asked: list[bool] = []
        self.allowed = asyncio.Event()
        self.allowed.set()

    async def record_start(self, session_id: str, turn: Turn, *, in_order: bool = True) -> Recorded:
        await self.allowed.wait()
        self.asked.append(in_order)
        return self._answers.pop(0) if self._answers else "recorded"


def stream_context(previous_text: str = "", *, attempt: int = 1) -> StreamContext:
    return StreamContext("ses_1", TURN, OPENING, attempt=(0, attempt), previous_text=previous_text)


def publisher(listeners: Listeners, log: Log) -> LiveReplyPublisher:
    return LiveReplyPublisher(listeners, cast(EventLog, log))


async def wait_for_text(listeners: Listeners, text: str) -> None:
    """Wait until they have received this text."""

    async def have_text() -> bool:
        return listeners.text == text

    await eventually(have_text)


async def test_nothing_is_recorded_or_sent_without_watchers() -> None:
    listeners, log = Listeners(watching=False), Log()
    async with publisher(listeners, log).publish(stream_context()) as on_delta:
        on_delta("Hello")
    assert (listeners.received, listeners.deltas_before_log_growth, log.asked) == ([], [], [])


async def test_words_are_sent_at_once_and_marked_once_the_start_of_their_turn_is_logged() -> None:
    listeners, log = Listeners(), Log()
    log.allowed.clear()
    async with publisher(listeners, log).publish(stream_context()) as on_delta:
        assert listeners.received == [], "there is no word yet"
        on_delta("Hello")
        [first] = listeners.received
        assert (first.text, first.opening, first.is_logged) == ("Hello", OPENING, False)
        log.allowed.set()
        await eventually(listeners.know_the_start_is_logged)
    assert listeners.deltas_before_log_growth == [1], "the log has grown before a delta says so"
    assert [delta.text for delta in listeners.received] == ["Hello", ""]


async def test_words_are_published_while_the_store_is_down() -> None:
    class Down(Log):
        async def record_start(self, session_id: str, turn: Turn, *, in_order: bool = True) -> Recorded:
            raise StoreUnavailable("the store", OSError("down"))

    listeners = Listeners()
    async with publisher(listeners, Down()).publish(stream_context()) as on_delta:
        on_delta("Hello")
        await asyncio.sleep(0)
    assert listeners.text == "Hello"
    assert not await listeners.know_the_start_is_logged()


async def test_the_first_words_are_sent_at_once_and_the_next_ones_in_a_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reply_publisher, "MIN_DELTA_INTERVAL_SECONDS", 3_600)
    listeners = Listeners()
    async with publisher(listeners, Log()).publish(stream_context()) as on_delta:
        await eventually(listeners.have_received)
        on_delta("One")
        assert listeners.text == "One"
        on_delta(" two")
        on_delta(" three")
        assert listeners.text == "One"
    assert listeners.text == "One two three"
    assert [delta.text for delta in listeners.received if delta.text] == ["One", " two three"]


async def test_a_late_subscriber_receives_the_reply_from_its_beginning() -> None:
    listeners, log = Listeners(watching=False), Log()
    async with publisher(listeners, log).publish(stream_context("Before.")) as on_delta:
        on_delta("Hello there")
        listeners.subscribe()
        await wait_for_text(listeners, "Before.\n\nHello there")
        listeners.received.clear()
        listeners.subscribe()
        await wait_for_text(listeners, "Before.\n\nHello there")
        await eventually(listeners.know_the_start_is_logged)
    assert len(log.asked) == 1


async def test_the_text_sent_so_far_is_always_a_prefix_of_the_reply() -> None:
    pieces = ["  ", "Good ", "\ud83d", "\ude00", " day ", "\n\n", "to you", " "]
    listeners = Listeners()
    async with publisher(listeners, Log()).publish(stream_context("Before.")) as on_delta:
        for piece in pieces:
            on_delta(piece)
            assert "Before.\n\nGood \U0001f600 day \n\nto you".startswith(listeners.text)
            await asyncio.sleep(0)
    assert listeners.text == "Before.\n\nGood \U0001f600 day \n\nto you"


async def test_a_later_attempt_first_sends_the_text_of_earlier_steps() -> None:
    listeners = Listeners()
    async with publisher(listeners, Log()).publish(stream_context("Before.", attempt=2)):
        await wait_for_text(listeners, "Before.")
    assert (listeners.received[0].attempt, listeners.received[0].base) == ((0, 2), len("Before."))


async def test_the_start_of_a_turn_waits_for_the_end_of_the_one_before_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reply_publisher, "MAX_ORDER_WAIT_SECONDS", 0.04)
    monkeypatch.setattr(reply_publisher, "ORDER_POLL_SECONDS", 0.01)
    log = Log("too_early", "too_early", "too_early", "too_early")
    await reply_publisher.record_start(cast(EventLog, log), "ses_1", TURN)
    assert log.asked == [True, True, True, True, False]
