"""Saying something and hearing the reply as it is spoken: the events of one turn."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress

from api.http.problems import Problem
from api.http.sse import HEARTBEAT, format_event
from api.schemas.events import Happened, TurnClosed, TurnStarted
from api.schemas.responses import Turn as ShownTurn
from api.sessions.messages import MessageService, failure_of
from api.sessions.reader import SessionReader
from api.streams.cursor import StreamCursor
from api.streams.event_log import LoggedEvent, RenderedLog
from domain.sessions.commands import SendMessage
from domain.turns.turn import Turn
from store.database.errors import StoreUnavailable
from store.sessions.event_log import EventLog
from store.sessions.sessions import StoredSession
from streaming.hub import LiveHub, Watch


class MessageStreams:
    """Streams of single turns."""

    def __init__(
        self,
        hub: LiveHub,
        log: EventLog,
        messages: MessageService,
        session_reader: SessionReader,
        *,
        heartbeat_seconds: float,
    ) -> None:
        self._hub = hub
        self._session_reader = session_reader
        self._log = log
        self._rendered = RenderedLog(log)
        self._messages = messages
        self._heartbeat_seconds = heartbeat_seconds
        self._sending: set[asyncio.Task[Turn]] = set()

    async def events(self, session: StoredSession, command: SendMessage) -> AsyncGenerator[bytes]:
        """The events of the turn that the message opens, up to its end.

        Raises Problem instead of the first event when the message is refused, the turn fails, or the wait for it
        ends before it has begun. A client that goes away takes nothing back.
        """
        position = await self._log.length(session.id)
        with self._hub.watch(session.id) as watch:
            told = _OneTurn(position, command)
            answering = self._send(session, command, watch)
            is_given_up = False
            while not is_given_up and not _is_answered(answering, told):
                voices = watch.voices()
                for piece in await self._logged(session, told, watch):
                    yield piece
                if told.is_over:
                    return
                for piece in told.words(voices):
                    yield piece
                if not await watch.news(within=self._heartbeat_seconds) and told.has_begun:
                    is_given_up = answering.done() and await self._is_completed(session)
                    yield HEARTBEAT
            if not is_given_up:
                for piece in told.ending(_unless_unheard(answering.result(), told)):
                    yield piece

    def _send(self, session: StoredSession, command: SendMessage, watch: Watch) -> "asyncio.Task[Turn]":
        """Send the message. It goes on when the client goes away, as if it had not been streamed."""
        answering = asyncio.create_task(self._messages.turn(session, command))
        self._sending.add(answering)

        def over(task: "asyncio.Task[Turn]") -> None:
            self._sending.discard(task)
            if not task.cancelled():
                task.exception()  # looked at, whoever is still there to be told
            watch.wake()

        answering.add_done_callback(over)
        return answering

    async def _is_completed(self, session: StoredSession) -> bool:
        """Whether the session is over, so that nothing more will be logged of the turn."""
        with suppress(StoreUnavailable, Problem):
            return (await self._session_reader.now(session)).head.is_completed
        return False

    async def _logged(self, session: StoredSession, told: "_OneTurn", watch: Watch) -> list[bytes]:
        """What has been logged of the turn since."""
        pieces: list[bytes] = []
        if not watch.takes_log_news():
            return pieces
        while not told.is_over and (events := await self._rendered.after(session.id, told.position)):
            for event in events:
                if event.is_closing and event.row.turn_id:
                    watch.forget(event.row.turn_id)
                pieces += told.event(event)
        return pieces


class _OneTurn:
    """What a client has been told of the turn that its message opened."""

    def __init__(self, position: int, command: SendMessage) -> None:
        self._telling = StreamCursor(position)
        self._command = command
        self._turn_id: str | None = None
        self._happened = 0
        self.position = position
        self.is_over = False

    @property
    def has_begun(self) -> bool:
        """Whether anything has been told."""
        return self._turn_id is not None

    def event(self, event: LoggedEvent) -> Iterator[bytes]:
        """Tell an event of the log, if it belongs to the turn."""
        row = event.row
        self.position = row.sequence
        if row.type == "turn_started" and row.turn is not None and self._is_own(row.turn):
            self._turn_id = row.turn_id
        if self.is_over or not self.has_begun or row.turn_id != self._turn_id:
            return
        if row.type != "turn_started" and not event.is_closing:
            self._happened += 1
        self.is_over = event.is_closing
        yield from self._telling.event(event)

    def words(self, voices: dict[str, str]) -> Iterator[bytes]:
        """Tell what the agent has said since."""
        if self._turn_id in voices:
            yield from self._telling.words({self._turn_id: voices[self._turn_id]})

    def ending(self, turn: Turn) -> Iterator[bytes]:
        """Tell the rest, from the turn itself: it is there before the log has it."""
        if not self.has_begun:
            self._telling.began(turn.id)
            started = TurnStarted(
                turn_id=turn.id,
                created_at=turn.created_at,
                parent_id=turn.parent_id,
                index=turn.index,
                user_message=turn.user_message,
            )
            yield format_event("turn_started", started)
        for happened in turn.events[self._happened :]:
            yield format_event(happened.type, Happened.data(turn.id, happened.created_at, happened.payload))
        yield from self._telling.rest(turn)
        over_at = turn.assistant_message.created_at if turn.assistant_message else turn.created_at
        closed = TurnClosed(turn_id=turn.id, created_at=over_at, turn=ShownTurn.model_validate(turn))
        yield format_event(f"turn_{turn.status}", closed)

    def _is_own(self, turn: Turn) -> bool:
        message = turn.user_message
        return message is not None and message.message_id == self._command.message_id


def _unless_unheard(turn: Turn, told: _OneTurn) -> Turn:
    """The turn; one that failed before anything was sent is answered as an error."""
    if turn.status == "failed" and not told.has_begun:
        raise failure_of(turn)
    return turn


def _is_answered(answering: "asyncio.Task[Turn]", told: _OneTurn) -> bool:
    """Whether the message has its answer, be it a refusal.

    A turn that has begun goes on when the wait for it ends, or is lost: then the log tells how it ends.
    """
    is_lost = answering.done() and told.has_begun and isinstance(answering.exception(), Problem)
    return answering.done() and not is_lost
