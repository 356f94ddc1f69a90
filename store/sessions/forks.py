"""Creation of sessions that share turns with another session: copies of its turns and steps."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, bindparam, insert, select

from domain.turns.turn import Turn
from store.database.column_types import CleanText
from store.database.connection import Database
from store.database.tables import sessions, steps, turns
from store.sessions.sessions import NewSession, StoredSession
from store.sessions.turn_rows import turn_values

TURNS_PER_STATEMENT = 500
"""Turns copied in one statement; databases limit the number of values in a statement to some thousands."""

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
    """Creates forks of sessions. Copied turns are billed in the source session only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, session: NewSession, source_id: str, shared: Sequence[Turn]) -> StoredSession:
        """Store a session with copies of the shared turns, oldest first, in one transaction.

        They are copies, not references, so that either session can be erased without the other.
        """
        number = await self._database.write(lambda connection: _create(connection, session, source_id, shared))
        return StoredSession(**asdict(session), number=number)


def _create(connection: Connection, session: NewSession, source_id: str, shared: Sequence[Turn]) -> int:
    number: int = connection.execute(_INSERT_SESSION, {**asdict(session), "event_count": 0}).scalar_one()
    copy_turns(connection, session.id, source_id, shared)
    return number


def copy_turns(connection: Connection, fork_id: str, source_id: str, shared: Sequence[Turn]) -> None:
    """Copy turns, oldest first, and their steps from one session to another that has none yet."""
    for start in range(0, len(shared), TURNS_PER_STATEMENT):
        batch = shared[start : start + TURNS_PER_STATEMENT]
        connection.execute(insert(turns), [turn_values(fork_id, turn) for turn in batch])
        ids = {"fork_id": fork_id, "source_id": source_id, "turn_ids": [turn.id for turn in batch]}
        connection.execute(_COPY_STEPS, ids)
