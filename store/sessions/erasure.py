"""Erasure of sessions: their content is deleted, their cost is billed and kept."""

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import Connection, Row, bindparam, delete, select, update

from contracts.sessions import session_workflow_id
from domain.suites.verdicts import Verdict
from domain.turns.engine import ModelReply
from store.billing.charges import Account, ChargeItem, ChargeWriter
from store.billing.money import bill_of
from store.billing.unbilled import unbilled_calls
from store.database.column_types import CleanText
from store.database.connection import Database
from store.database.tables import blobs, erasures, runs, sessions, steps
from store.database.upsert import insert_or_replace

UNKNOWN_DURATION_SECONDS = 0.0
"""Duration of a turn that is billed when its session is erased; the real one is not known."""

_SESSION_ID = bindparam("session_id", type_=CleanText())
_SESSION = (
    select(sessions.c.organization_id, sessions.c.agent_id, sessions.c.agent_version, sessions.c.suite_id)
    .where(sessions.c.id == _SESSION_ID, sessions.c.organization_id == bindparam("organization_id"))
    .with_for_update()
)
_ERASED = select(erasures).where(erasures.c.session_id == _SESSION_ID)
_DELETE_STEPS = delete(steps).where(steps.c.session_id == _SESSION_ID)
_DELETE_BLOBS = delete(blobs).where(blobs.c.workflow_id == bindparam("workflow_id", type_=CleanText()))
_OUTCOME = select(runs.c.outcome).where(runs.c.session_id == _SESSION_ID, runs.c.verdict.is_not(None))
_SET_VERDICT = update(runs).where(runs.c.session_id == bindparam("of_session", type_=CleanText()))
_DELETE_SESSION = delete(sessions).where(sessions.c.id == _SESSION_ID)


class SessionErased(Exception):
    """Raised for a session id that belonged to an erased session and cannot be used again."""


def require_not_erased(connection: Connection, session_id: str) -> None:
    """Raises SessionErased when this session was erased.

    Call it after inserting the session, in the same transaction, so that a concurrent erasure is noticed.
    """
    if connection.execute(_ERASED, {"session_id": session_id}).one_or_none() is not None:
        raise SessionErased(session_id)


class ErasureStore:
    """Erases sessions. Ledger rows and totals stay, since they hold no content."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._billing = ChargeWriter(database)
        self._insert_erasure = insert_or_replace(database, erasures, key=["session_id"])

    async def erase(self, organization_id: str, session_id: str) -> bool:
        """Bill paid calls that are not billed yet and delete the session with all its data, in one transaction.

        Returns False when the organization has no such session, or it is erased already. Raises StoreUnavailable:
        then the transaction has happened as a whole or not at all.
        """
        now = datetime.now(UTC)
        return await self._database.write(lambda connection: self._erase(connection, organization_id, session_id, now))

    async def was_erased(self, organization_id: str, session_id: str) -> bool:
        """True if the organization had this session and erased it."""
        key = {"session_id": session_id}
        row = await self._database.read(lambda connection: connection.execute(_ERASED, key).one_or_none())
        return row is not None and row.organization_id == organization_id

    def _erase(self, connection: Connection, organization_id: str, session_id: str, now: datetime) -> bool:
        key = {"session_id": session_id}
        # Saving a step locks this row too: a step is either saved before and billed here, or finds no session.
        session = connection.execute(_SESSION, {**key, "organization_id": organization_id}).one_or_none()
        if session is None:
            return False
        connection.execute(self._insert_erasure, {**key, **session._mapping, "erased_at": now})
        unbilled = unbilled_calls(connection, session_id)
        connection.execute(_DELETE_STEPS, key)
        connection.execute(_DELETE_BLOBS, {"workflow_id": session_workflow_id(session_id)})
        _remove_verdict_texts(connection, session_id)
        connection.execute(_DELETE_SESSION, key)  # cascades to its turns, branches and events
        items = [_item(calls.id, calls.replies) for calls in unbilled]
        self._billing.bill(connection, _account(session_id, session), items, now)
        return True


class LateReplies:
    """Bills paid replies that arrive after their session was erased. The replies are not stored."""

    def __init__(self, database: Database) -> None:
        self._billing = ChargeWriter(database)

    def bill(self, connection: Connection, session_id: str, item_id: str, reply: ModelReply) -> bool:
        """Bill a reply in a ledger row of its own, at most once per `item_id`. False if no session was erased."""
        erased = connection.execute(_ERASED, {"session_id": session_id}).one_or_none()
        if erased is None:
            return False
        items = [_item(item_id, [reply])]
        self._billing.bill(connection, _account(session_id, erased), items, datetime.now(UTC))
        return True


def _remove_verdict_texts(connection: Connection, session_id: str) -> None:
    """Reduce the verdict on a simulated session to its outcome."""
    outcome = connection.execute(_OUTCOME, {"session_id": session_id}).scalar()
    if outcome is not None:
        verdict = Verdict(outcome=outcome).model_dump_json()
        connection.execute(_SET_VERDICT, {"of_session": session_id, "verdict": verdict})


def _item(item_id: str, replies: Iterable[ModelReply]) -> ChargeItem:
    """The charge for these replies. Their purpose is not known any more: they are billed as a turn."""
    return ChargeItem(item_id, "turn", bill_of(replies, duration_seconds=UNKNOWN_DURATION_SECONDS))


def _account(session_id: str, owner: Row[*tuple[object, ...]]) -> Account:
    return Account(
        organization_id=owner.organization_id,
        session_id=session_id,
        agent_id=owner.agent_id,
        agent_version=owner.agent_version,
        suite_id=owner.suite_id,
    )
