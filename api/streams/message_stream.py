"""Streams of single turns: sends a message or opens a session, and yields the events of the turn that follows."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing, suppress
from functools import partial
from typing import Final, get_args

from api.http.problems import Problem
from api.http.sse import KEEPALIVE
from api.schemas.events import HandedOver, Happened
from api.schemas.responses import ClientCall
from api.sessions.messages import Answer, MessageService, failure_of
from api.sessions.reader import SessionReader
from api.streams.cursor import StreamCursor
from api.streams.event_log import EventLogReader, LoggedEvent, StreamEvent, turn_closed, turn_started
from domain.sessions.commands import ReturnResults, SendMessage
from domain.turns.turn import EventType, Turn
from store.database.errors import StoreUnavailable
from store.sessions.event_log import EventLog
from store.sessions.sessions import StoredSession
from streaming.hub import LiveHub, StreamState, Watch

Open = Callable[[], Coroutine[None, None, Turn | Answer]]
"""Opens a turn and returns it at its end, or when it waits for its client."""
TURN_EVENTS: Final = frozenset(get_args(EventType))
"""Types of the events in a turn's own `events`; events of waiting tool calls carry its id too."""


class MessageStreams:
    """Sends messages and streams the turns that answer them."""

    def __init__(
        self,
        hub: LiveHub,
        log: EventLog,
        messages: MessageService,
        session_reader: SessionReader,
        *,
        keepalive_seconds: float,
    ) -> None:
        self._hub = hub
        self._session_reader = session_reader
        self._log = log
        self._log_reader = EventLogReader(log)
        self._messages = messages
        self._keepalive_seconds = keepalive_seconds
        self._sending: set[asyncio.Task[Turn | Answer]] = set()

    async def encoded(self, session: StoredSession, command: SendMessage) -> AsyncGenerator[bytes]:
        """The events of `events` in the text format of server-sent events."""
        async with aclosing(self.events(session, command)) as events:
            async for event in events:
                yield KEEPALIVE if event is None else event.encoded

    async def events(self, session: StoredSession, command: SendMessage) -> AsyncGenerator[StreamEvent | None]:
        """Send a message and yield the events of its turn, up to the last; None when a keepalive is due.

        Raises Problem instead of yielding a first event when the message is rejected, the turn fails, or the wait
        ends before the turn has begun. The message stays sent when the client disconnects.
        """
        position = await self._log.length(session.id)
        stream = _TurnStream(position, lambda turn: _answers(turn, command), command.text)
        async with aclosing(self._events(session, stream, lambda: self._messages.turn(session, command))) as events:
            async for event in events:
                yield event

    async def events_or_calls(self, session: StoredSession, command: SendMessage) -> AsyncGenerator[StreamEvent | None]:
        """The events of `events`, up to the last or to the calls that the client is to carry out."""
        position = await self._log.length(session.id)
        stream = _TurnStream(position, lambda turn: _answers(turn, command))
        answer = partial(self._messages.reply_or_calls, session, command)
        async with aclosing(self._events(session, stream, answer)) as events:
            async for event in events:
                yield event

    async def rest(
        self, session: StoredSession, turn: Turn, command: ReturnResults
    ) -> AsyncGenerator[StreamEvent | None]:
        """The events of a turn whose client has returned results, as in `events_or_calls`, with all its text again."""
        stream = _TurnStream(await self._log.length(session.id), lambda _: False)
        yield stream.join(turn)

        async def answer() -> Answer:
            return (await self._messages.return_results(session, command))[0]

        async with aclosing(self._events(session, stream, answer)) as events:
            async for event in events:
                yield event

    async def opening(self, session: StoredSession, open_session: Open) -> AsyncGenerator[StreamEvent | None]:
        """Open a session and yield the events of its first turn, as `events` does for a message."""
        async with aclosing(self._events(session, _TurnStream(0, _is_opening), open_session)) as events:
            async for event in events:
                yield event

    async def _events(
        self, session: StoredSession, stream: "_TurnStream", open_turn: Open
    ) -> AsyncGenerator[StreamEvent | None]:
        with self._hub.watch(session.id) as watch:
            sending = self._send(open_turn, watch)
            is_abandoned = False
            while not is_abandoned and not _has_result(sending, stream):
                replies = watch.streams()
                for event in await self._logged(session, stream, watch):
                    yield event
                if stream.is_closed:
                    return
                for event in stream.replies(replies):
                    yield event
                if not await watch.wait(within=self._keepalive_seconds) and stream.has_begun:
                    is_abandoned = sending.done() and await self._is_completed(session)
                    yield None
            if not is_abandoned:
                for event in stream.finish(_streamable(sending.result(), stream)):
                    yield event

    def _send(self, open_turn: Open, watch: Watch) -> "asyncio.Task[Turn | Answer]":
        """Open the turn and wait for its end in a task that outlives the stream."""
        sending = asyncio.create_task(open_turn())
        self._sending.add(sending)

        def finished(task: "asyncio.Task[Turn | Answer]") -> None:
            self._sending.discard(task)
            if not task.cancelled():
                task.exception()  # retrieved, so that asyncio does not report it when the client has disconnected
            watch.wake()

        sending.add_done_callback(finished)
        return sending

    async def _is_completed(self, session: StoredSession) -> bool:
        """True when the session has ended, so that no more events of the turn will be logged."""
        with suppress(StoreUnavailable, Problem):
            return (await self._session_reader.now(session)).head.is_completed
        return False

    async def _logged(self, session: StoredSession, stream: "_TurnStream", watch: Watch) -> list[StreamEvent]:
        """The events of the turn that were logged since the last call."""
        found: list[StreamEvent] = []
        if not watch.take_log_growth():
            return found
        while not stream.is_closed and (events := await self._log_reader.after(session.id, stream.position)):
            for event in events:
                if event.closes_turn and event.row.turn_id:
                    watch.drop_text(event.row.turn_id)
                found += stream.logged(event)
        return found


class _TurnStream:
    """State of one stream: the turn that is streamed, and the part of it that was sent.

    The stream begins with the turn's first reply text or its start in the log, whichever comes first.
    """

    def __init__(self, position: int, is_own: Callable[[Turn], bool], text: str | None = None) -> None:
        self._cursor = StreamCursor(position)
        self._is_own = is_own
        self._text = text
        self._turn_id: str | None = None
        self._sent_events = 0
        self.position = position
        self.is_closed = False

    @property
    def has_begun(self) -> bool:
        """True once the start of the turn was sent."""
        return self._turn_id is not None

    def join(self, turn: Turn) -> StreamEvent:
        """Begin in the middle of a turn, with its start and no text of it."""
        self._turn_id = turn.id
        self._cursor.start_turn(turn.id)
        return StreamEvent("turn_started", turn_started(turn))

    def logged(self, event: LoggedEvent) -> Iterator[StreamEvent]:
        """The events to send for an event of the log; none when it belongs to another turn."""
        row = event.row
        self.position = row.sequence
        if row.type == "turn_started":
            if self.has_begun:
                return  # its start was sent already, maybe with text: the log is late
            if row.turn is not None and self._is_own(row.turn):
                self._turn_id = row.turn_id
        if self.is_closed or not self.has_begun or row.turn_id != self._turn_id:
            return
        if row.type in TURN_EVENTS:
            self._sent_events += 1
        self.is_closed = event.closes_turn
        yield from self._cursor.logged(event)

    def replies(self, replies: dict[str, StreamState]) -> Iterator[StreamEvent]:
        """The text that was added to the reply since the last call."""
        if not self.has_begun:
            yield from self._begin(replies)
        if self._turn_id in replies:
            yield from self._cursor.replies({self._turn_id: replies[self._turn_id].text})

    def _begin(self, replies: dict[str, StreamState]) -> Iterator[StreamEvent]:
        """The start of the turn, when reply text arrived before its start was logged."""
        for turn_id, reply in replies.items():
            if reply.opening is None or not reply.text:
                continue
            turn = reply.opening.turn(turn_id, self._text)
            if self._is_own(turn):
                self._turn_id = turn_id
                self._cursor.start_turn(turn_id)
                yield StreamEvent("turn_started", turn_started(turn))
                return

    def finish(self, result: Turn | Answer) -> Iterator[StreamEvent]:
        """The remaining events, from the turn itself: its result arrives before the log has recorded it."""
        turn = result if isinstance(result, Turn) else result.turn
        if not self.has_begun:
            yield self.join(turn)
        if isinstance(result, Answer) and result.calls:
            first = result.calls[0]
            yield from self._cursor.replies({turn.id: first.said})
            calls = [ClientCall.model_validate(call) for call in result.calls]
            yield StreamEvent("handed_over", HandedOver(turn_id=turn.id, calls=calls, used=first.used))
            return
        for event in turn.events[self._sent_events :]:
            yield StreamEvent(event.type, Happened.of(turn.id, event.created_at, event.payload))
        yield from self._cursor.close_turn(turn)
        closed_at = turn.assistant_message.created_at if turn.assistant_message else turn.created_at
        yield StreamEvent(f"turn_{turn.status}", turn_closed(turn, closed_at))


def _answers(turn: Turn, command: SendMessage) -> bool:
    return turn.user_message is not None and turn.user_message.message_id == command.message_id


def _is_opening(turn: Turn) -> bool:
    return turn.parent_id is None and turn.user_message is None


def _streamable(result: Turn | Answer, stream: _TurnStream) -> Turn | Answer:
    """The turn. Raises Problem for one that failed before anything was sent: the response is then an error."""
    turn = result if isinstance(result, Turn) else result.turn
    if turn.status == "failed" and not stream.has_begun:
        raise failure_of(turn)
    return result


def _has_result(sending: "asyncio.Task[Turn | Answer]", stream: _TurnStream) -> bool:
    """True once the message has its result, which may be a rejection.

    A turn that has begun goes on when the wait for it ends or is lost: its end is then read from the log.
    """
    is_lost = sending.done() and stream.has_begun and isinstance(sending.exception(), Problem)
    return sending.done() and not is_lost
