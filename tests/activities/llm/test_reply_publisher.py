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
        self.told: list[TextDelta] = []
        self.log_grew_after: list[int] = []
        self._greet: Callable[[], None] = lambda: None

    @property
    def text(self) -> str:
        """The text they have received."""
        heard = ""
        for spoken in self.told:
            heard = heard[: spoken.offset] + spoken.text
        return heard

    def is_watched(self, session_id: str) -> bool:
        return self.watching

    def log_appended(self, session_id: str) -> None:
        self.log_grew_after.append(len(self.told))

    def publish_delta(self, session_id: str, spoken: TextDelta) -> None:
        self.told.append(spoken)

    @contextmanager
    def on_subscribe(self, session_id: str, greet: Callable[[], None]) -> Iterator[None]:
        self._greet = greet
        yield

    async def are_told(self) -> bool:
        """True if they have received any delta, even an empty one."""
        return bool(self.told)

    async def know_the_log(self) -> bool:
        """True if a delta marked the start of the turn as logged."""
        return any(spoken.is_logged for spoken in self.told)

    def come(self) -> None:
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


def script(said: str = "", *, attempt: int = 1) -> StreamContext:
    return StreamContext("ses_1", TURN, OPENING, attempt=(0, attempt), previous_text=said)


def publisher(listeners: Listeners, log: Log) -> LiveReplyPublisher:
    return LiveReplyPublisher(listeners, cast(EventLog, log))


async def heard(listeners: Listeners, text: str) -> None:
    """Wait until they have received this text."""

    async def have_heard() -> bool:
        return listeners.text == text

    await eventually(have_heard)


async def test_nothing_is_recorded_or_told_when_nobody_watches() -> None:
    listeners, log = Listeners(watching=False), Log()
    async with publisher(listeners, log).publish(script()) as hear:
        hear("Hello")
    assert (listeners.told, listeners.log_grew_after, log.asked) == ([], [], [])


async def test_words_wait_for_nothing_and_say_when_the_log_has_the_start_of_their_turn() -> None:
    listeners, log = Listeners(), Log()
    log.allowed.clear()
    async with publisher(listeners, log).publish(script()) as hear:
        assert listeners.told == [], "there is no word yet"
        hear("Hello")
        [first] = listeners.told
        assert (first.text, first.opening, first.is_logged) == ("Hello", OPENING, False)
        log.allowed.set()
        await eventually(listeners.know_the_log)
    assert listeners.log_grew_after == [1], "those who watch look at the log before they hear that it has the start"
    assert [spoken.text for spoken in listeners.told] == ["Hello", ""]


async def test_words_are_published_while_the_store_is_down() -> None:
    class Down(Log):
        async def record_start(self, session_id: str, turn: Turn, *, in_order: bool = True) -> Recorded:
            raise StoreUnavailable("the store", OSError("down"))

    listeners = Listeners()
    async with publisher(listeners, Down()).publish(script()) as hear:
        hear("Hello")
        await asyncio.sleep(0)
    assert listeners.text == "Hello"
    assert not await listeners.know_the_log()


async def test_the_first_words_are_told_at_once_and_those_of_the_next_moment_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reply_publisher, "MIN_DELTA_INTERVAL_SECONDS", 3_600)
    listeners = Listeners()
    async with publisher(listeners, Log()).publish(script()) as hear:
        await eventually(listeners.are_told)
        hear("One")
        assert listeners.text == "One"
        hear(" two")
        hear(" three")
        assert listeners.text == "One"
    assert listeners.text == "One two three"
    assert [spoken.text for spoken in listeners.told if spoken.text] == ["One", " two three"]


async def test_who_comes_in_the_middle_is_told_everything_from_the_beginning() -> None:
    listeners, log = Listeners(watching=False), Log()
    async with publisher(listeners, log).publish(script("Before.")) as hear:
        hear("Hello there")
        listeners.come()
        await heard(listeners, "Before.\n\nHello there")
        listeners.told.clear()
        listeners.come()
        await heard(listeners, "Before.\n\nHello there")
        await eventually(listeners.know_the_log)
    assert len(log.asked) == 1


async def test_what_is_told_is_always_the_beginning_of_what_is_said() -> None:
    pieces = ["  ", "Good ", "\ud83d", "\ude00", " day ", "\n\n", "to you", " "]
    listeners = Listeners()
    async with publisher(listeners, Log()).publish(script("Before.")) as hear:
        for piece in pieces:
            hear(piece)
            assert "Before.\n\nGood \U0001f600 day \n\nto you".startswith(listeners.text)
            await asyncio.sleep(0)
    assert listeners.text == "Before.\n\nGood \U0001f600 day \n\nto you"


async def test_a_later_attempt_says_first_what_stands() -> None:
    listeners = Listeners()
    async with publisher(listeners, Log()).publish(script("Before.", attempt=2)):
        await heard(listeners, "Before.")
    assert (listeners.told[0].attempt, listeners.told[0].base) == ((0, 2), len("Before."))


async def test_the_start_of_a_turn_waits_for_the_end_of_the_one_before_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reply_publisher, "MAX_ORDER_WAIT_SECONDS", 0.04)
    monkeypatch.setattr(reply_publisher, "ORDER_POLL_SECONDS", 0.01)
    log = Log("too_early", "too_early", "too_early", "too_early")
    await reply_publisher.record_start(cast(EventLog, log), "ses_1", TURN)
    assert log.asked == [True, True, True, True, False]
