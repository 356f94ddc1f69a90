"""Outcomes of webhook deliveries, as events in the session's log."""

from datetime import datetime

from sqlalchemy import Connection, bindparam, select, update

from contracts.webhooks import DeliverWebhookResult
from store.database.column_types import CleanText
from store.database.connection import Database
from store.database.tables import sessions
from store.sessions.event_log import LoggedEvent, append, known_keys

_COUNT = (
    select(sessions.c.event_count).where(sessions.c.id == bindparam("session_id", type_=CleanText())).with_for_update()
)
_SET_COUNT = update(sessions).where(sessions.c.id == bindparam("of_session"))


class DeliveryLog:
    """Records the outcomes of webhook deliveries, each outcome once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, session_id: str, result: DeliverWebhookResult, at: datetime) -> None:
        """Record the outcome of a delivery, unless the session is erased. Raises StoreUnavailable."""
        kind = "webhook_failed" if result.error else "webhook_delivered"
        outcome = LoggedEvent(
            # The kind is part of the key: a delivery that failed for good can succeed when an operator retries it.
            key=f"{kind}/{result.webhook_id}",
            type=kind,
            turn_id=None,
            created_at=at,
            payload=result.model_dump(mode="json", exclude_none=True),
        )
        await self._database.write(lambda connection: _record(connection, session_id, outcome))


def _record(connection: Connection, session_id: str, outcome: LoggedEvent) -> None:
    count = connection.execute(_COUNT, {"session_id": session_id}).scalar()
    if count is None or known_keys(connection, session_id, [outcome.key]):
        return
    append(connection, session_id, count, [outcome])
    connection.execute(_SET_COUNT, {"of_session": session_id, "event_count": count + 1})
