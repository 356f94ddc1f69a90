"""Streams of whole sessions: a snapshot, then every event until the session ends."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress

from api.http.problems import invalid
from api.http.sse import KEEPALIVE, format_event
from api.sessions.reader import SessionReader
from api.sessions.rendering import SessionRenderer
from api.streams.cursor import StreamCursor
from api.streams.event_log import EventLogReader
from api.streams.joining import StreamStart, StreamStarts
from store.database.errors import StoreUnavailable
from store.sessions.event_log import EventLog
from store.sessions.sessions import StoredSession
from streaming.hub import LiveHub, Watch


class SessionStreams:
    """Streams the events of sessions. Temporal is queried only at the start and at each keepalive."""

    def __init__(
        self,
        hub: LiveHub,
        log: EventLog,
        session_reader: SessionReader,
        renderer: SessionRenderer,
        *,
        keepalive_seconds: float,
    ) -> None:
        self._hub = hub
        self._log = log
        self._log_reader = EventLogReader(log)
        self._session_reader = session_reader
        self._starts = StreamStarts(hub, log, session_reader)
        self._renderer = renderer
        self._keepalive_seconds = keepalive_seconds

    async def events(self, session: StoredSession, last_event_id: str | None) -> AsyncGenerator[bytes]:
        """A snapshot, unless the client resumes after an event that it has, and the events after it.

        Raises Problem for an id that is not a number, before anything is sent.
        """
        after = _sequence_of(last_event_id)
        with self._hub.watch(session.id) as watch:
            start = await self._start(session, after, watch)
            if start.snapshot is None:
                yield KEEPALIVE
            else:
                yield format_event("snapshot", self._renderer.body(session, start.snapshot), start.position)
            cursor = StreamCursor(start.position)
            for turn_id in start.pending_ids:
                cursor.start_turn(turn_id)
            if await self._is_over(session, cursor.position):
                return
            while True:
                replies = watch.streamed_texts()
                if watch.take_log_growth():
                    async for encoded, is_last in self._logged(session, cursor, watch):
                        yield encoded
                        if is_last and await self._is_final(session, cursor.position):
                            return
                for event in cursor.replies(replies):
                    yield event.encoded
                if start.is_closed or watch.is_closed:
                    return
                if not await watch.wait(within=self._keepalive_seconds):
                    if await self._is_erased(session) or await self._session_reader.was_closed_abnormally(session):
                        return
                    yield KEEPALIVE

    async def has_everything(self, session: StoredSession, last_event_id: str | None) -> bool:
        """True when no event follows the one that a client has: the session ended with it, or was closed abnormally.

        Raises Problem for an id that is not a number.
        """
        after = _sequence_of(last_event_id)
        if after is None or after != await self._log.length(session.id):
            return False
        return await self._is_over(session, after) or await self._session_reader.was_closed_abnormally(session)

    async def _logged(
        self, session: StoredSession, cursor: StreamCursor, watch: Watch
    ) -> AsyncIterator[tuple[bytes, bool]]:
        """The events that were logged since the last call, each with True if it is the last of the session."""
        while events := await self._log_reader.after(session.id, cursor.position):
            for logged in events:
                if logged.closes_turn and logged.row.turn_id:
                    watch.drop_text(logged.row.turn_id)
                for event in cursor.logged(logged):
                    yield event.encoded, logged.completes_session

    async def _start(self, session: StoredSession, after: int | None, watch: Watch) -> StreamStart:
        """The point at which a client joins: after an event that it has, else with a snapshot."""
        resumed = None if after is None else await self._starts.resumed(session, after)
        return resumed or await self._starts.with_snapshot(session, watch)

    async def _is_erased(self, session: StoredSession) -> bool:
        with suppress(StoreUnavailable):
            return session.id not in await self._log.lengths([session.id])
        return False

    async def _is_final(self, session: StoredSession, position: int) -> bool:
        """True unless the session went on after the end that was just sent, as it does after a reset."""
        try:
            return await self._is_over(session, position)
        except StoreUnavailable:
            return True

    async def _is_over(self, session: StoredSession, position: int) -> bool:
        completed_at = await self._log.completed_at(session.id)
        return completed_at is not None and completed_at <= position


def _sequence_of(last_event_id: str | None) -> int | None:
    if not last_event_id:
        return None
    if not (last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) <= 9):
        raise invalid(
            "invalid_request",
            "Last-Event-ID is not an id of this stream. Send the id of the last event you received, or omit the header "
            "to start with a snapshot.",
            [("header.last-event-id", "is not the number of an event")],
        )
    return int(last_event_id)
