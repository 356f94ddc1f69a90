"""Settlement: bills and records a session's turns, at most once each, by itself or beside a model call."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from temporalio import activity

from activities.heartbeats import heartbeats
from contracts.sessions import RecordState, SettleTurnsInput, SettleTurnsResult

if TYPE_CHECKING:
    from store.sessions.settlement import SettlementStore
    from streaming.messages import Subscribers

MAX_WAIT_AFTER_CALL_SECONDS = 0.25
"""Longest time that a reply waits for the settlement beside it, which began before the model call."""


class Recorder:
    """Settles the records of sessions, and notifies watchers."""

    def __init__(self, store: "SettlementStore", subscribers: "Subscribers | None" = None) -> None:
        self._store = store
        self._subscribers = subscribers

    async def settle(self, input: SettleTurnsInput) -> SettleTurnsResult:
        """Write ledger rows, totals, turns, events and the session's head in one transaction.

        Keyed by session and turn, never by run: continue-as-new and resets change run ids.
        """
        result = await self._store.settle(input)
        if self._subscribers is not None:  # its events were just logged
            self._subscribers.log_appended(input.session_id)
        return result

    @asynccontextmanager
    async def settled_beside(self, record: SettleTurnsInput | None) -> AsyncIterator["TravellingRecord"]:
        """Settle the record that a model call carries, while the block makes that call.

        If that fails, or takes longer than the call, the workflow takes the record back and settles it in an activity.
        """
        travelling = TravellingRecord()
        if record is None:
            yield travelling
            return
        settling = asyncio.create_task(self._settle_travelling(record, travelling))
        try:
            yield travelling
        finally:
            # A reply that was paid for is not lost to a cancellation of the activity in this moment.
            with suppress(asyncio.CancelledError):
                await asyncio.wait([settling], timeout=MAX_WAIT_AFTER_CALL_SECONDS)
            settling.cancel()

    async def _settle_travelling(self, record: SettleTurnsInput, travelling: "TravellingRecord") -> None:
        try:
            travelling.state = (await self.settle(record)).record
        except Exception:
            activity.logger.warning("a record that travels with a model call could not be settled yet", exc_info=True)


@dataclass
class TravellingRecord:
    """A record that a model call carries: `state` is how it compared once it is settled, None before."""

    state: RecordState | None = None


class SettlementActivities:
    """Bills and records turns, at most once each, however often Temporal retries."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    @activity.defn
    async def settle_turns(self, input: SettleTurnsInput) -> SettleTurnsResult:
        """Settle a record that no model call has settled."""
        async with heartbeats():
            return await self._recorder.settle(input)
