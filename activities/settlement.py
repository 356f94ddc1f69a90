"""Settlement as an activity: bills and records a session's turns, at most once each, after the reply was returned."""

from typing import TYPE_CHECKING

from temporalio import activity

from activities.heartbeats import heartbeats
from contracts.sessions import SettleTurnsInput, SettleTurnsResult

if TYPE_CHECKING:
    from store.sessions.settlement import SettlementStore
    from streaming.messages import Subscribers


class SettlementActivities:
    """Bills and records turns, at most once each, however often Temporal retries."""

    def __init__(self, store: "SettlementStore", subscribers: "Subscribers | None" = None) -> None:
        self._store = store
        self._subscribers = subscribers

    @activity.defn
    async def settle_turns(self, input: SettleTurnsInput) -> SettleTurnsResult:
        """Write ledger rows, totals, turns, events and the session's head in one transaction.

        Keyed by session and turn, never by run: continue-as-new and resets change run ids.
        """
        async with heartbeats():
            result = await self._store.settle(input)
        if self._subscribers is not None:
            self._subscribers.log_appended(input.session_id)
        return result
