"""The point at which a client joins a session's stream: a snapshot, and the number of the last event it includes."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from api.sessions.reader import SessionReader
from api.sessions.snapshots import Snapshot
from api.temporal.session_client import LiveQueryFailed
from domain.sessions.views import TimelineView
from domain.turns.turn import Turn
from store.sessions.event_log import EventLog
from store.sessions.sessions import StoredSession
from streaming.hub import LiveHub, Watch

AGREEMENT_SECONDS: Final = 1.5
"""Maximum time to wait for a snapshot that agrees with the log."""
ATTEMPT_SECONDS: Final = 0.05
"""Pause between two attempts when there is no news of the session."""

MAX_READS: Final = 20
"""Maximum attempts to read the recorded session without an event being logged in between."""


@dataclass(frozen=True)
class StreamStart:
    """The point at which a client joins: the sequence number after which its events begin, and its snapshot if any."""

    position: int
    snapshot: Snapshot | None
    is_closed: bool
    """True when nothing more can happen although the log does not end with `session_completed`."""
    pending_ids: tuple[str, ...] = ()
    """Turns that the snapshot shows as pending: the client has no text of them yet."""


class StreamStarts:
    """Finds the points at which clients join streams.

    A snapshot agrees with its number when it shows exactly the events that the log has up to it. When the workflow's
    view has changes that are not recorded yet, the workflow records them at once, and the snapshot is taken again.
    """

    def __init__(self, hub: LiveHub, log: EventLog, session_reader: SessionReader) -> None:
        self._hub = hub
        self._log = log
        self._session_reader = session_reader

    async def resumed(self, session: StoredSession, after: int) -> StreamStart | None:
        """The point after an event that a client has; None when the log does not have that event."""
        length = await self._log.length(session.id)
        if after > length:
            return None
        return StreamStart(after, None, _is_closed(await self._session_reader.now(session)))

    async def with_snapshot(self, session: StoredSession, watch: Watch) -> StreamStart:
        """The present point, with a snapshot.

        If snapshot and log do not agree in time, the snapshot is the recorded session, and events follow as they are
        recorded.
        """
        deadline = asyncio.get_running_loop().time() + AGREEMENT_SECONDS
        while True:
            start = await self._agreed(session)
            if start is not None:
                return start
            if asyncio.get_running_loop().time() >= deadline:
                return await self._as_recorded(session)
            await watch.wait(within=ATTEMPT_SECONDS)

    async def _agreed(self, session: StoredSession) -> StreamStart | None:
        """A snapshot and its number if they agree just now."""
        length = await self._log.length(session.id)
        try:
            view = await self._session_reader.live(session)
        except LiveQueryFailed as error:
            return await self._recorded(session, await self._session_reader.recorded(session, error.status), length)
        as_of = datetime.now(UTC)
        if view.is_unrecorded:
            await self._session_reader.settle(session)
            return None
        if view.recording_version is not None:
            recorded = await self._log.head_version(session.id)
            if recorded is None or recorded < view.recording_version:
                return None
        pending = sorted(
            (turn for turn in view.all_turns if turn.status == "pending"), key=lambda turn: turn.created_at
        )
        opened = await self._log.open_turns(session.id) if pending else {}
        if missing := [turn for turn in pending if turn.id not in opened]:
            await self._record_starts(session, missing)
            return None
        if await self._log.length(session.id) != length:
            return None
        snapshot = Snapshot.of(_as_logged(view, opened), as_of)
        return StreamStart(length, snapshot, _is_closed(snapshot), tuple(turn.id for turn in pending))

    async def _recorded(self, session: StoredSession, snapshot: Snapshot, length: int) -> StreamStart | None:
        """A snapshot from the store, which lacks the turn that is being answered: its start is sent again."""
        opened = () if snapshot.head.is_completed else (await self._log.open_turns(session.id)).values()
        answered = [turn.id for turn in opened if turn.parent_id == snapshot.head.head_turn_id]
        first = await self._log.first_start(session.id, answered)
        if await self._log.length(session.id) != length:
            return None
        return StreamStart(min(length, first - 1) if first else length, snapshot, _is_closed(snapshot))

    async def _as_recorded(self, session: StoredSession) -> StreamStart:
        """The point according to the store. Raises Problem("not_found") for a session that was erased meanwhile."""
        for _ in range(MAX_READS):
            length = await self._log.length(session.id)
            snapshot = await self._session_reader.recorded(session)
            start = await self._recorded(session, snapshot, length)
            if start is not None:
                return start
        # Each time an event was logged between the reads. Events that the snapshot may show already are sent again.
        return StreamStart(length, snapshot, _is_closed(snapshot))

    async def _record_starts(self, session: StoredSession, turns: list[Turn]) -> None:
        """Record the starts of turns that are not recorded yet, as a worker does for watched turns.

        All earlier events are recorded already.
        """
        for turn in turns:
            await self._log.record_start(session.id, turn.model_copy(update={"events": ()}), in_order=False)
        self._hub.log_appended(session.id)


def _as_logged(view: TimelineView, opened: dict[str, Turn]) -> TimelineView:
    """The view with its pending turns as the log has them: with their logged events only."""

    def logged(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
        return tuple(opened[turn.id] if turn.status == "pending" else turn for turn in turns)

    branches = tuple(branch.model_copy(update={"turns": logged(branch.turns)}) for branch in view.discarded_branches)
    return view.model_copy(
        update={"turns": logged(view.turns), "future": logged(view.future), "discarded_branches": branches}
    )


def _is_closed(snapshot: Snapshot) -> bool:
    """True for a session that was closed in Temporal, so that the log has no end of it."""
    return snapshot.head.is_completed and (snapshot.head.completion_reason or "").startswith("workflow_")
