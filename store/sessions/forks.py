"""Creation of sessions that share turns with another session: copies of its turns and steps."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, bindparam, insert, select

from domain.turns.summaries import summary_id
from domain.turns.turn import Turn
from store.database.column_types import CleanText
from store.database.connection import Database
from store.database.tables import sessions, steps, turns
from store.database.upsert import insert_new
from store.sessions.erasure import require_not_erased
from store.sessions.sessions import MAX_CREATE_ATTEMPTS, NewSession, StoredSession, session_of
from store.sessions.turn_rows import turn_values

TURNS_PER_STATEMENT = 500
"""Turns copied in one statement; databases limit the number of values in a statement to some thousands."""

Fork = tuple[StoredSession, Sequence[Turn]]
"""A session, and the turns that it shares with its source; also later ones if it has been settled."""
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
        self._insert_once = insert_new(database, sessions, key=["id"]).returning(sessions.c.number)

    async def create_once(self, session: NewSession, source_id: str, shared: Sequence[Turn]) -> Fork:
        """Store a session with copies of the shared turns, oldest first, in one transaction.

        They are copies, not references, so that either session can be erased without the other. A session that has
        this id is returned with its own turns instead. Raises SessionErased for the id of an erased session.
        """

        def work(connection: Connection) -> Fork | None:
            values = {**asdict(session), "event_count": 0}
            number = connection.execute(self._insert_once, values).scalar_one_or_none()
            require_not_erased(connection, session.id)
            if number is None:
                return _fork(connection, session.id)
            copy_turns(connection, session.id, source_id, shared)
            return StoredSession(**asdict(session), number=number), shared

        for _ in range(MAX_CREATE_ATTEMPTS):
            created = await self._database.write(work)
            if created is not None:
                return created
        raise LookupError(f"session {session.id} was removed while it was created")


def _fork(connection: Connection, session_id: str) -> Fork | None:
    row = connection.execute(select(sessions).where(sessions.c.id == session_id)).one_or_none()
    if row is None:
        return None
    documents = connection.scalars(
        select(turns.c.document).where(turns.c.session_id == session_id).order_by(turns.c.idx)
    )
    return session_of(row), [Turn.model_validate_json(document) for document in documents]


def copy_turns(connection: Connection, fork_id: str, source_id: str, shared: Sequence[Turn]) -> None:
    """Copy turns, oldest first, with their steps and summaries, from one session to another that has none yet."""
    for start in range(0, len(shared), TURNS_PER_STATEMENT):
        batch = shared[start : start + TURNS_PER_STATEMENT]
        connection.execute(insert(turns), [turn_values(fork_id, turn) for turn in batch])
        summaries = [summary_id(turn.checkpoint.after) for turn in batch if turn.checkpoint]
        copied = [*(turn.id for turn in batch), *summaries]
        ids = {"fork_id": fork_id, "source_id": source_id, "turn_ids": copied}
        connection.execute(_COPY_STEPS, ids)
