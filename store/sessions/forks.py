"""Writing down a session that goes on from the past of another one: its turns and the messages that a model reads."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, bindparam, insert, select

from domain.turns.turn import Turn
from store.database.column_types import CleanText
from store.database.connection import Database
from store.database.tables import sessions, steps, turns
from store.sessions.sessions import NewSession, StoredSession
from store.sessions.turn_rows import turn_values

TURNS_AT_ONCE = 500
"""Databases take some thousands of values in one statement."""

_INSERT_SESSION = insert(sessions).returning(sessions.c.number)
_COPIED = [column.name for column in steps.columns if column.name != "session_id"]
_COPY_STEPS = insert(steps).from_select(
    ["session_id", *_COPIED],
    select(bindparam("fork_id", type_=CleanText()), *(steps.c[name] for name in _COPIED)).where(
        steps.c.session_id == bindparam("source_id", type_=CleanText()),
        steps.c.turn_id.in_(bindparam("turn_ids", expanding=True)),
    ),
)


class ForkStore:
    """Creates sessions that share turns with others. What these turns cost was billed where they were spoken."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, session: NewSession, source_id: str, shared: Sequence[Turn]) -> StoredSession:
        """Write the session down with the turns it takes over, oldest first, in one transaction.

        Copies, not references: either session can be erased without the other.
        """
        number = await self._database.write(lambda connection: _create(connection, session, source_id, shared))
        return StoredSession(**asdict(session), number=number)


def _create(connection: Connection, session: NewSession, source_id: str, shared: Sequence[Turn]) -> int:
    number: int = connection.execute(_INSERT_SESSION, {**asdict(session), "event_count": 0}).scalar_one()
    copy_past(connection, session.id, source_id, shared)
    return number


def copy_past(connection: Connection, fork_id: str, source_id: str, shared: Sequence[Turn]) -> None:
    """Give a session that was just written down the turns of another one, oldest first, and their steps."""
    for start in range(0, len(shared), TURNS_AT_ONCE):
        batch = shared[start : start + TURNS_AT_ONCE]
        connection.execute(insert(turns), [turn_values(fork_id, turn) for turn in batch])
        ids = {"fork_id": fork_id, "source_id": source_id, "turn_ids": [turn.id for turn in batch]}
        connection.execute(_COPY_STEPS, ids)
