"""What came of reporting a session's end, as the last event of the session's log."""

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
    """Records what came of deliveries, each outcome once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, session_id: str, result: DeliverWebhookResult, at: datetime) -> None:
        """Write down what came of a delivery; of one of an erased session nothing. Raises StoreUnavailable."""
        kind = "webhook_failed" if result.error else "webhook_delivered"
        happened = LoggedEvent(
            # One that was given up can be delivered later, when somebody has it tried anew.
            key=f"{kind}/{result.webhook_id}",
            type=kind,
            turn_id=None,
            created_at=at,
            payload=result.model_dump(mode="json", exclude_none=True),
        )
        await self._database.write(lambda connection: _record(connection, session_id, happened))


def _record(connection: Connection, session_id: str, happened: LoggedEvent) -> None:
    count = connection.execute(_COUNT, {"session_id": session_id}).scalar()
    if count is None or known_keys(connection, session_id, [happened.key]):
        return
    append(connection, session_id, count, [happened])
    connection.execute(_SET_COUNT, {"of_session": session_id, "event_count": count + 1})
