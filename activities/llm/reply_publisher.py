"""Publishes the text of a model call to a session's subscribers while it streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio import activity

from activities.llm.interface import OnDelta
from activities.llm.messages import repair_text
from activities.llm.reply_stream import StreamContext
from domain.turns.engine import PART_SEPARATOR
from domain.turns.recordings import certain_text
from domain.turns.turn import Turn
from store.database.errors import StoreUnavailable
from store.sessions.event_log import EventLog
from streaming.messages import Subscribers, TextDelta

MIN_DELTA_INTERVAL_SECONDS = 0.05
"""Text that arrives within this time of the last delta is sent with the next one. The first is sent at once."""
MAX_ORDER_WAIT_SECONDS = 2.0
"""Upper bound on the time that a turn's start waits for the previous turn to be recorded."""
ORDER_POLL_SECONDS = 0.02
HIGH_SURROGATES = frozenset(map(chr, range(0xD800, 0xDC00)))
"""First halves of UTF-16 surrogate pairs: some providers split their stream between the halves."""


class LiveReplyPublisher:
    """Publishes model calls live. Nothing is recorded or published in a session without subscribers."""

    def __init__(self, subscribers: Subscribers, log: EventLog) -> None:
        self._subscribers = subscribers
        self._log = log

    def has_subscribers(self, session_id: str) -> bool:
        """True if anybody watches this session."""
        return self._subscribers.is_watched(session_id)

    @asynccontextmanager
    async def publish(self, context: StreamContext) -> AsyncIterator[OnDelta]:
        """Yield a callback for the call's text, which is published to the subscribers."""
        call = _CallPublisher(self._subscribers, self._log, context)
        with self._subscribers.on_subscribe(context.session_id, call.restart):
            if self._subscribers.is_watched(context.session_id):
                call.restart()
            try:
                yield call.on_delta
            finally:
                call.end()


class _CallPublisher:
    """Publishes one model call, once it has a subscriber.

    Its text waits for nothing else. The turn's start is recorded meanwhile, and subscribers get notice of that.
    """

    def __init__(self, subscribers: Subscribers, log: EventLog, context: StreamContext) -> None:
        self._subscribers = subscribers
        self._log = log
        self._context = context
        self._received = ""
        self._sent = 0
        self._starting: asyncio.Task[None] | None = None
        self._has_subscribers = False
        self._is_logged = False
        self._is_logged_sent = False
        self._next_delta: asyncio.TimerHandle | None = None
        self._not_before = 0.0

    def restart(self) -> None:
        """Publish the text from its beginning, for new subscribers."""
        self._sent = 0
        self._has_subscribers, self._is_logged_sent = True, False
        if self._starting is None:
            self._starting = asyncio.create_task(self._record_start())
        self._publish()

    def on_delta(self, text: str) -> None:
        """Add text from the model, and publish it now or with the next delta."""
        self._received += text
        if not self._has_subscribers or self._next_delta is not None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= self._not_before:
            self._publish()
        else:
            self._next_delta = loop.call_at(self._not_before, self._publish)

    def end(self) -> None:
        """Publish the remaining text at the end of the call."""
        if self._starting is not None:
            self._starting.cancel()
        if self._next_delta is not None:
            self._next_delta.cancel()
            self._next_delta = None
        if self._has_subscribers:
            self._publish()

    async def _record_start(self) -> None:
        try:
            await record_start(self._log, self._context.session_id, self._context.turn)
        except StoreUnavailable:
            activity.logger.warning("the start of a reply is not recorded: the store cannot be reached")
            return
        self._subscribers.log_appended(self._context.session_id)
        self._is_logged = True
        self._publish()

    def _publish(self) -> None:
        """Publish the text that is not sent yet, if any. Without text the start of a turn is published once logged."""
        self._next_delta = None
        text = self._text()
        if len(text) <= self._sent and self._is_logged_sent >= self._is_logged:
            return
        context = self._context
        delta = TextDelta(
            context.turn.id,
            context.attempt,
            len(context.previous_text),
            self._sent,
            text[self._sent :],
            opening=None if self._sent else context.opening,
            is_logged=self._is_logged,
        )
        self._subscribers.publish_delta(context.session_id, delta)
        self._sent, self._is_logged_sent = max(len(text), self._sent), self._is_logged
        if delta.text:
            self._not_before = asyncio.get_running_loop().time() + MIN_DELTA_INTERVAL_SECONDS

    def _text(self) -> str:
        """The longest prefix of the turn's final text that is certain by now."""
        text = _stable_text(self._received)
        if self._context.hides_recordings:
            text = certain_text(text).strip()
        previous = self._context.previous_text
        return f"{previous}{PART_SEPARATOR}{text}" if previous and text else previous + text


async def record_start(log: EventLog, session_id: str, turn: Turn) -> None:
    """Append the start of a turn to the event log, after the end of the previous turn. Raises StoreUnavailable."""
    seconds_left = MAX_ORDER_WAIT_SECONDS
    while await log.record_start(session_id, turn, in_order=seconds_left > 0) == "too_early":
        await asyncio.sleep(ORDER_POLL_SECONDS)
        seconds_left -= ORDER_POLL_SECONDS


def _stable_text(received: str) -> str:
    """The received text without surrounding white space and without a lone high surrogate at its end."""
    text = received.strip()
    return repair_text(text[:-1] if text[-1:] in HIGH_SURROGATES else text)
