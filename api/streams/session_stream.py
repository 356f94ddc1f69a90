"""Watching a session: what it is now, and then everything that happens, until it is over."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

from api.http.problems import invalid
from api.http.sse import HEARTBEAT, format_event
from api.sessions.reader import SessionReader
from api.sessions.rendering import SessionRenderer
from api.sessions.snapshots import Snapshot
from api.streams.cursor import StreamCursor
from api.streams.event_log import RenderedLog
from store.database.errors import StoreUnavailable
from store.sessions.event_log import EventLog
from store.sessions.sessions import StoredSession
from streaming.hub import LiveHub, Watch


@dataclass(frozen=True)
class Joined:
    """Where a client joins: the number up to which it knows everything, and the snapshot it needs for that."""

    position: int
    snapshot: Snapshot | None
    is_closed: bool
    """Whether nothing more can happen, although the log does not end with `session_completed`."""


class SessionStreams:
    """Streams of a session's events. Of Temporal they take a question at the start, and one in each silence."""

    def __init__(
        self,
        hub: LiveHub,
        log: EventLog,
        session_reader: SessionReader,
        renderer: SessionRenderer,
        *,
        heartbeat_seconds: float,
    ) -> None:
        self._hub = hub
        self._log = log
        self._rendered = RenderedLog(log)
        self._session_reader = session_reader
        self._renderer = renderer
        self._heartbeat_seconds = heartbeat_seconds

    async def events(self, session: StoredSession, last_event_id: str | None) -> AsyncGenerator[bytes]:
        """A snapshot, unless the client knows where it was, and the events after it.

        Raises Problem for an id that is no number, before anything is sent.
        """
        after = _number(last_event_id)
        with self._hub.watch(session.id) as watch:
            joined = await self._join(session, after)
            if joined.snapshot is None:
                yield HEARTBEAT
            else:
                yield format_event("snapshot", self._renderer.body(session, joined.snapshot), joined.position)
            telling = StreamCursor(joined.position)
            if await self._is_over(session, telling.position):
                return
            while True:
                voices = watch.voices()
                if watch.takes_log_news():
                    async for piece, is_last in self._tail(session, telling, watch):
                        yield piece
                        if is_last:
                            return
                for piece in telling.words(voices):
                    yield piece
                if joined.is_closed or watch.is_closed:
                    return
                if not await watch.news(within=self._heartbeat_seconds):
                    if await self._is_erased(session) or await self._session_reader.was_closed_abnormally(session):
                        return
                    yield HEARTBEAT

    async def _tail(
        self, session: StoredSession, telling: StreamCursor, watch: Watch
    ) -> AsyncIterator[tuple[bytes, bool]]:
        """What has been logged since, each piece with whether it is the last of all."""
        while events := await self._rendered.after(session.id, telling.position):
            for event in events:
                if event.is_closing and event.row.turn_id:
                    watch.forget(event.row.turn_id)
                for piece in telling.event(event):
                    yield piece, event.is_last

    async def _join(self, session: StoredSession, after: int | None) -> Joined:
        """The place at which a client joins. A snapshot shows everything that was logged before it was asked for.

        Of a turn that is under way it may show less than is logged: the client is told that turn from its start.
        """
        length = await self._log.length(session.id)
        snapshot = await self._session_reader.now(session)
        is_closed = snapshot.head.is_completed and (snapshot.head.completion_reason or "").startswith("workflow_")
        if after is not None and after <= length:
            return Joined(after, None, is_closed)
        start = await self._log.first_start(session.id, snapshot.pending_ids)
        return Joined(min(length, start - 1) if start else length, snapshot, is_closed)

    async def _is_erased(self, session: StoredSession) -> bool:
        with suppress(StoreUnavailable):
            return session.id not in await self._log.lengths([session.id])
        return False

    async def _is_over(self, session: StoredSession, position: int) -> bool:
        completed_at = await self._log.completed_at(session.id)
        return completed_at is not None and completed_at <= position


def _number(last_event_id: str | None) -> int | None:
    if not last_event_id:
        return None
    if not (last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) <= 9):
        raise invalid(
            "invalid_request",
            "Last-Event-ID is none of this stream. Send the id of the last event you have, or none for a snapshot.",
            [("header.last-event-id", "is not the number of an event")],
        )
    return int(last_event_id)
