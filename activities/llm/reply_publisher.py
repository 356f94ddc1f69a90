"""Telling those who watch a session what the model says, while it says it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio import activity

from activities.llm.interface import OnDelta
from activities.llm.messages import whole_text
from activities.llm.reply_stream import StreamContext
from domain.turns.turn import Turn
from store.database.errors import StoreUnavailable
from store.sessions.event_log import EventLog
from streaming.messages import Subscribers, TextDelta

FRAME_SECONDS = 0.05
"""The least time between two pieces of one reply; what is said meanwhile goes together. The first goes at once."""
ORDER_SECONDS = 2.0
"""How long a turn's start may wait for the end of the turn before it to be recorded."""
ORDER_PAUSE = 0.02
FIRST_HALVES = frozenset(map(chr, range(0xD800, 0xDC00)))
"""First halves of characters that take two in UTF-16: some providers cut their stream between them."""


class LiveReplyPublisher:
    """Tells live what is said in model calls. Nothing is recorded or told in a session that nobody watches."""

    def __init__(self, audience: Subscribers, log: EventLog) -> None:
        self._audience = audience
        self._log = log

    def is_heard(self, session_id: str) -> bool:
        """Whether anybody watches this session."""
        return self._audience.is_watched(session_id)

    @asynccontextmanager
    async def narrate(self, script: StreamContext) -> AsyncIterator[OnDelta]:
        """Tell what the function that is given hears, as the words of this call."""
        telling = _PublishedCall(self._audience, self._log, script)
        with self._audience.on_arrival(script.session_id, telling.begin):
            if self._audience.is_watched(script.session_id):
                telling.begin()
            try:
                yield telling.hear
            finally:
                telling.end()


class _PublishedCall:
    """One model call, told: silent until somebody watches, and until the start of the turn stands in the log."""

    def __init__(self, audience: Subscribers, log: EventLog, script: StreamContext) -> None:
        self._audience = audience
        self._log = log
        self._script = script
        self._heard = ""
        self._told = 0
        self._starting: asyncio.Task[None] | None = None
        self._is_open = False
        self._next_frame: asyncio.TimerHandle | None = None
        self._not_before = 0.0

    def begin(self) -> None:
        """Somebody has come: tell everything from the beginning."""
        self._told = 0
        if self._is_open:
            self._tell()
        elif self._starting is None:
            self._starting = asyncio.create_task(self._record_start())

    def hear(self, text: str) -> None:
        """The model has said more."""
        self._heard += text
        if not self._is_open or self._next_frame is not None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= self._not_before:
            self._tell()
        else:
            self._next_frame = loop.call_at(self._not_before, self._tell)

    def end(self) -> None:
        """The call is over: tell what is left."""
        if self._starting is not None:
            self._starting.cancel()
        if self._next_frame is not None:
            self._next_frame.cancel()
            self._next_frame = None
        if self._is_open:
            self._tell()

    async def _record_start(self) -> None:
        try:
            await record_start(self._log, self._script.session_id, self._script.turn)
        except StoreUnavailable:
            activity.logger.warning("a reply is not told live: the store cannot be reached")
            return
        self._audience.log_grew(self._script.session_id)
        self._is_open = True
        self._tell()

    def _tell(self) -> None:
        """Tell what has not been told, if that is anything; nothing at all is told once, at the beginning."""
        self._next_frame = None
        text = self._text()
        if self._told and len(text) <= self._told:
            return
        script = self._script
        spoken = TextDelta(script.turn.id, script.take, len(script.said), self._told, text[self._told :])
        self._audience.speak(script.session_id, spoken)
        self._told = len(text)
        if spoken.text:
            self._not_before = asyncio.get_running_loop().time() + FRAME_SECONDS

    def _text(self) -> str:
        """The turn's text so far, as far as it is sure to be the beginning of what it will be."""
        words = _settled(self._heard)
        said = self._script.said
        return f"{said}\n{words}" if said and words else said + words


async def record_start(log: EventLog, session_id: str, turn: Turn) -> None:
    """Write the start of a turn into the log, after the end of the turn before it. Raises StoreUnavailable."""
    patience = ORDER_SECONDS
    while await log.record_start(session_id, turn, in_order=patience > 0) == "too_early":
        await asyncio.sleep(ORDER_PAUSE)
        patience -= ORDER_PAUSE


def _settled(heard: str) -> str:
    """A reply without the white space around it, and without half a character at its end."""
    words = heard.strip()
    return whole_text(words[:-1] if words[-1:] in FIRST_HALVES else words)
