"""Settlement: bills and records a session's turns, at most once each, by itself or along with the next reply."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from temporalio import activity

from activities.heartbeats import heartbeats
from contracts.sessions import RecordState, SettleTurnsInput, SettleTurnsResult

if TYPE_CHECKING:
    from store.sessions.settlement import SettlementStore
    from streaming.messages import Subscribers

SETTLE_BESIDE_A_CALL_AFTER_SECONDS = 0.25
"""A model call that lasts longer does not keep the record waiting: it is settled meanwhile, by itself."""


class Recorder:
    """Settles what sessions have not settled, and wakes those who watch."""

    def __init__(self, store: "SettlementStore", subscribers: "Subscribers | None" = None) -> None:
        self._store = store
        self._subscribers = subscribers

    async def settle(self, input: SettleTurnsInput) -> SettleTurnsResult:
        """Write ledger rows, totals, turns, events and the session's head in one transaction.

        Keyed by session and turn, never by run: continue-as-new and resets change run ids.
        """
        result = await self._store.settle(input)
        self.settled(input.session_id)
        return result

    def settled(self, session_id: str) -> None:
        """Wake those who watch a session: its events were just logged."""
        if self._subscribers is not None:
            self._subscribers.log_appended(session_id)

    def has_watchers(self, session_id: str) -> bool:
        """True if anybody watches this session through this process."""
        return self._subscribers is not None and self._subscribers.is_watched(session_id)


class SettlementActivities:
    """Bills and records turns, at most once each, however often Temporal retries."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    @activity.defn
    async def settle_turns(self, input: SettleTurnsInput) -> SettleTurnsResult:
        """Settle by itself what no reply took along."""
        async with heartbeats():
            return await self._recorder.settle(input)


class TravellingRecord:
    """The unsettled part of a session at the time it asked for a reply: settled along with it, or earlier by itself.

    `state` is how the record compared when it was settled, None while it is not. What is settled twice is so once:
    a worker that dies in between changes nothing.
    """

    def __init__(self, recorder: Recorder | None = None, input: SettleTurnsInput | None = None) -> None:
        self._recorder = recorder
        self._input = input
        self.state: RecordState | None = None

    @property
    def unsettled(self) -> SettleTurnsInput | None:
        """The record for the transaction that saves the reply to settle."""
        return self._input if self.state is None else None

    def note(self, state: RecordState) -> None:
        """Take note that the record was settled along with the reply."""
        self.state = state
        if self._recorder is not None and self._input is not None:
            self._recorder.settled(self._input.session_id)

    async def settle_alone(self) -> None:
        """Settle it now. While the store is down nothing happens: the workflow settles it later."""
        if self._recorder is None or self.unsettled is None:
            return
        try:
            self.state = (await self._recorder.settle(self.unsettled)).record
        except Exception:
            activity.logger.warning("a record that travels with a reply could not be settled yet", exc_info=True)

    @asynccontextmanager
    async def settled_meanwhile(self) -> AsyncIterator[None]:
        """Settle it by itself if the block lasts long, or at once where somebody waits for its events."""
        if self._recorder is None or self._input is None:
            yield
            return
        is_watched = self._recorder.has_watchers(self._input.session_id)
        patience = 0.0 if is_watched else SETTLE_BESIDE_A_CALL_AFTER_SECONDS
        settling: list[asyncio.Task[None]] = []

        def begin() -> None:
            settling.append(asyncio.create_task(self.settle_alone()))

        timer = asyncio.get_running_loop().call_later(patience, begin)
        try:
            yield
        finally:
            timer.cancel()
            if settling:
                await asyncio.wait(settling)


NOTHING_TO_RECORD = TravellingRecord()
"""For calls that take no record along."""
