"""The store's side of reconciliation: lists what is open, closes sessions that are over, and records what was done."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, literal, select, text, update

from contracts.reconciliation import Difference
from contracts.sessions import StartSession
from domain.sessions.views import SessionHead
from domain.turns.engine import ModelReply
from domain.turns.turn import AssistantMessage, Turn
from domain.usage import Cost, Usage, merge_costs, merge_usage
from store.billing.charges import Account, ChargeItem, ChargeWriter
from store.billing.money import bill_of
from store.billing.unbilled import UnbilledCalls, late_calls, unbilled_calls
from store.database.column_types import CleanText, UtcDateTime
from store.database.connection import Database
from store.database.tables import (
    IS_OPEN,
    agent_versions,
    agents,
    erasures,
    ledger,
    organizations,
    reconcilers,
    reconciliations,
    sessions,
    steps,
    suites,
    turns,
)
from store.database.upsert import insert_new, insert_or_replace
from store.sessions.event_log import LoggedEvent, append, events_of, known_keys
from store.sessions.turn_rows import turn_values

LATE_CALLS = timedelta(hours=2)
"""Time after the end of a workflow in which its model calls may still be saved: an attempt lasts an hour at most."""
LATE_MARGIN = timedelta(minutes=15)
"""A paid reply may be saved this long after it arrived, by which time its session may have been closed."""
MAX_LATELY_CLOSED = 1_000
"""Closed sessions, the newest first, that are checked for late calls."""

_SESSION_ID = bindparam("session_id", type_=CleanText())
_COLUMNS = (
    sessions.c.number,
    sessions.c.id,
    sessions.c.organization_id,
    sessions.c.agent_id,
    sessions.c.agent_version,
    sessions.c.suite_id,
    sessions.c.created_at,
    sessions.c.status,
    sessions.c.head,
    sessions.c.head_version,
    sessions.c.first_run_id,
    sessions.c.event_count,
)
_OPEN_SESSIONS = (
    select(*_COLUMNS)
    .where(
        text(f"({IS_OPEN})"),
        sessions.c.number > bindparam("after"),
    )
    .order_by(sessions.c.number)
    .limit(bindparam("limit"))
)
_SESSION = select(*_COLUMNS).where(sessions.c.id == _SESSION_ID)
_OPEN_SUITES = (
    select(suites.c.number, suites.c.id, suites.c.organization_id, suites.c.created_at)
    .where(suites.c.outcome.is_(None), suites.c.number > bindparam("after"))
    .order_by(suites.c.number)
    .limit(bindparam("limit"))
)
_NUMBER_OPEN = select(func.count()).select_from(sessions).where(text(f"({IS_OPEN})"))
_RECORDED = (
    select(turns.c.id)
    .where(turns.c.session_id == _SESSION_ID, turns.c.status != "pending")
    .order_by(turns.c.idx, turns.c.id)
)
_PENDING = (
    select(turns.c.document)
    .where(turns.c.session_id == _SESSION_ID, turns.c.status == "pending")
    .order_by(turns.c.idx, turns.c.id)
)
_SET_TURN = update(turns).where(turns.c.session_id == bindparam("of_session"), turns.c.id == bindparam("of_turn"))
_REPLIES = (
    select(steps.c.reply)
    .where(steps.c.session_id == _SESSION_ID, steps.c.turn_id == bindparam("turn_id", type_=CleanText()))
    .order_by(steps.c.step, steps.c.created_at)
)
_SPENT = select(ledger.c.usage, ledger.c.cost).where(ledger.c.session_id == _SESSION_ID, ledger.c.purpose != "judge")
_LEDGER_ROWS = select(func.count()).select_from(ledger).where(ledger.c.session_id == _SESSION_ID)
_TURN_IDS = select(turns.c.id).where(turns.c.session_id == _SESSION_ID)
_NEWEST_STEP = select(
    func.coalesce(func.max(steps.c.created_at), literal(datetime(1970, 1, 1, tzinfo=UTC), UtcDateTime()))
).where(steps.c.session_id == _SESSION_ID)
_SET_SESSION = update(sessions).where(sessions.c.id == bindparam("of_session"))
_GENERATION = select(reconcilers.c.generation).where(reconcilers.c.name == bindparam("of_name"))
_LATELY_CLOSED = (
    select(reconciliations.c.subject_id, func.max(reconciliations.c.created_at))
    .where(
        reconciliations.c.created_at >= bindparam("since", type_=UtcDateTime()),
        reconciliations.c.subject == "session",
        reconciliations.c.done == "closed",
    )
    .group_by(reconciliations.c.subject_id)
    .order_by(func.max(reconciliations.c.number).desc())
    .limit(MAX_LATELY_CLOSED)
)
_NEWEST = select(reconciliations).order_by(reconciliations.c.number.desc()).limit(bindparam("limit"))
_AGENT_NUMBER = (
    select(agents.c.number, agents.c.name)
    .join(agent_versions, agent_versions.c.agent_id == agents.c.id)
    .where(
        agents.c.id == bindparam("agent_id", type_=CleanText()),
        agents.c.organization_id == bindparam("organization_id", type_=CleanText()),
        agent_versions.c.version == bindparam("version"),
    )
)
_ORGANIZATION = select(organizations.c.id).where(organizations.c.id == bindparam("organization_id", type_=CleanText()))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """A session as the store has it. `head` is None before the first settlement."""

    number: int
    id: str
    organization_id: str
    agent_id: str
    agent_version: int
    suite_id: str | None
    created_at: datetime
    is_completed: bool
    head: SessionHead | None
    version: int | None
    first_run_id: str | None


@dataclass(frozen=True, slots=True)
class OpenSuite:
    """A suite without an outcome."""

    number: int
    id: str
    organization_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Closing:
    """The end of a session: its reason, its time, and the key of its event, which is logged once."""

    reason: str
    at: datetime
    key: str


class ReconciliationStore:
    """Reads what is open, records the end of what is over, and bills what was paid for. All of it can be repeated."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._charges = ChargeWriter(database)
        self._insert_session = insert_new(database, sessions, key=["id"])
        self._set_generation = insert_or_replace(database, reconcilers, key=["name"])

    async def open_sessions(self, *, after: int, limit: int) -> list[OpenSession]:
        """Sessions that have not ended as far as the store knows, by their number."""
        key = {"after": after, "limit": limit}
        return await self._database.read(
            lambda connection: [_open(row) for row in connection.execute(_OPEN_SESSIONS, key)]
        )

    async def open_suites(self, *, after: int, limit: int) -> list[OpenSuite]:
        """Suites without an outcome, by their number."""
        key = {"after": after, "limit": limit}
        return await self._database.read(
            lambda connection: [OpenSuite(*row) for row in connection.execute(_OPEN_SUITES, key)]
        )

    async def number_open(self) -> int:
        """The number of sessions that have not ended."""
        return await self._database.read(lambda connection: connection.execute(_NUMBER_OPEN).scalar_one())

    async def find(self, session_id: str) -> OpenSession | None:
        """The session of this id, of any organization, open or not."""
        key = {"session_id": session_id}
        row = await self._database.read(lambda connection: connection.execute(_SESSION, key).one_or_none())
        return _open(row) if row is not None else None

    async def known(self, session_ids: Sequence[str]) -> dict[str, bool]:
        """Those of the ids that the store knows: true for a session that is open, false for an ended or erased one."""
        stored = select(sessions.c.id, sessions.c.status).where(sessions.c.id.in_(session_ids))
        erased = select(erasures.c.session_id).where(erasures.c.session_id.in_(session_ids))

        def read(connection: Connection) -> dict[str, bool]:
            found = dict.fromkeys(connection.scalars(erased), False)
            return found | {row.id: row.status != "completed" for row in connection.execute(stored)}

        return await self._database.read(read)

    async def recorded_turns(self, session_id: str) -> tuple[str, ...]:
        """The ids of the closed turns of a session."""
        key = {"session_id": session_id}
        return tuple(await self._database.read(lambda connection: connection.scalars(_RECORDED, key).all()))

    async def ledger_rows(self, session_id: str) -> int:
        """The number of ledger rows of a session."""
        key = {"session_id": session_id}
        return await self._database.read(lambda connection: connection.execute(_LEDGER_ROWS, key).scalar_one())

    async def close_session(self, session: OpenSession, head: SessionHead, closing: Closing) -> int | None:
        """Record the end of a session whose workflow is over, and bill the calls that are not billed yet.

        `head` is the session's recorded head, or an initial one if it was never settled.
        Returns the number of new ledger rows; None when the session was settled or closed meanwhile, so that nothing
        was changed.
        """
        now = datetime.now(UTC)
        return await self._database.write(lambda connection: self._close(connection, session, head, closing, now))

    async def bill_late_calls(self, session_id: str) -> int:
        """Bill model calls that were saved after a session was closed. Returns the number of new ledger rows."""

        def work(connection: Connection) -> int:
            row = connection.execute(_SESSION.with_for_update(), {"session_id": session_id}).one_or_none()
            if row is None or row.status != "completed":
                return 0
            now = datetime.now(UTC)
            calls = late_calls(connection, session_id, now - LATE_CALLS)
            billed = self._bill(connection, _open(row), calls, (), now)
            if billed and row.head is not None:
                head = _with_spent(connection, session_id, SessionHead.model_validate_json(row.head))
                connection.execute(_SET_SESSION, {"of_session": session_id, "head": head.model_dump_json()})
            return billed

        return await self._database.write(work)

    async def lately_closed(self) -> list[str]:
        """Sessions that a reconciliation closed within `LATE_CALLS`, with steps saved since (less `LATE_MARGIN`)."""
        key = {"since": datetime.now(UTC) - LATE_CALLS}

        def read(connection: Connection) -> list[str]:
            closed = connection.execute(_LATELY_CLOSED, key).all()
            return [session_id for session_id, at in closed if _saved_since(connection, session_id, at - LATE_MARGIN)]

        return await self._database.read(read)

    async def recreate(self, start: StartSession, created_at: datetime) -> bool:
        """Recreate the row of a session that the store has lost. Annotations are not restored.

        Returns False when its organization or agent version is not in this store, or the session exists.
        """
        of_agent = {
            "agent_id": start.agent.id,
            "version": start.agent.version,
            "organization_id": start.organization_id,
        }

        def work(connection: Connection) -> bool:
            agent = connection.execute(_AGENT_NUMBER, of_agent).one_or_none()
            organization = connection.execute(_ORGANIZATION, {"organization_id": start.organization_id}).one_or_none()
            if agent is None or organization is None:
                return False
            values = _session_values(start, agent.number, agent.name, created_at)
            return connection.execute(self._insert_session, values).rowcount > 0

        return await self._database.write(work)

    async def generation(self, name: str) -> int:
        """The number of runs of a schedule, as the store has counted them."""
        key = {"of_name": name}
        return await self._database.read(lambda connection: connection.execute(_GENERATION, key).scalar()) or 0

    async def finish(self, name: str | None, generation: int, findings: Iterable[Difference]) -> None:
        """Record what a reconciliation did, and store the generation under its name."""
        now = datetime.now(UTC)
        rows = [_finding_values(each, now) for each in findings if each.done != "left"]

        def work(connection: Connection) -> None:
            if rows:
                connection.execute(insert(reconciliations), rows)
            if name is not None:
                values = {"name": name, "generation": generation, "updated_at": now}
                connection.execute(self._set_generation, values)

        await self._database.write(work)

    async def newest(self, limit: int) -> list[tuple[datetime, Difference]]:
        """The newest findings on record, newest first."""
        rows = await self._database.read(lambda connection: connection.execute(_NEWEST, {"limit": limit}).all())
        return [(row.created_at, _finding(row)) for row in rows]

    def _close(
        self, connection: Connection, session: OpenSession, head: SessionHead, closing: Closing, now: datetime
    ) -> int | None:
        key = {"session_id": session.id}
        row = connection.execute(_SESSION.with_for_update(), key).one_or_none()
        if row is None or row.status == "completed" or row.head_version != session.version:
            return None
        pending = [Turn.model_validate_json(each) for each in connection.scalars(_PENDING, key)]
        billed = self._bill(connection, session, unbilled_calls(connection, session.id), pending, now)
        closed = [_closed(connection, session.id, turn, closing.at) for turn in pending]
        for turn in closed:
            values = turn_values(session.id, turn)
            changes = {"status": turn.status, "document": values["document"]}
            connection.execute(_SET_TURN, {"of_session": session.id, "of_turn": turn.id, **changes})
        ended = _ended(_with_spent(connection, session.id, head), closed, closing)
        happened = [
            *events_of(closed, ()),
            LoggedEvent(closing.key, "session_completed", None, closing.at, {"reason": closing.reason}),
        ]
        known = known_keys(connection, session.id, [event.key for event in happened])
        new = [event for event in happened if event.key not in known]
        if new:
            append(connection, session.id, row.event_count, new)
        changes = {
            "status": "completed",
            "head": ended.model_dump_json(),
            "head_version": ended.version,
            "updated_at": ended.updated_at,
            "recorded_at": now,
            "event_count": row.event_count + len(new),
        }
        connection.execute(_SET_SESSION, {"of_session": session.id, **changes})
        return billed

    def _bill(
        self,
        connection: Connection,
        session: OpenSession,
        calls: Sequence[UnbilledCalls],
        closing: Sequence[Turn],
        now: datetime,
    ) -> int:
        """Write the rows that settlement would write: for these calls, and for turns that close without one."""
        turn_ids = set(connection.scalars(_TURN_IDS, {"session_id": session.id}))
        account = Account(
            session.organization_id, session.id, session.agent_id, session.agent_version, session.suite_id
        )
        charges = [each.charge(is_turn=each.id in turn_ids) for each in calls]
        paid = {each.id for each in calls}
        charges += [ChargeItem(turn.id, "turn", bill_of((), 0.0)) for turn in closing if turn.id not in paid]
        return self._charges.bill(connection, account, charges, now)


def _saved_since(connection: Connection, session_id: str, since: datetime) -> bool:
    newest: datetime = connection.execute(_NEWEST_STEP, {"session_id": session_id}).scalar_one()
    return newest >= since


def _open(row: Row[*tuple[Any, ...]]) -> OpenSession:
    return OpenSession(
        number=row.number,
        id=row.id,
        organization_id=row.organization_id,
        agent_id=row.agent_id,
        agent_version=row.agent_version,
        suite_id=row.suite_id,
        created_at=row.created_at,
        is_completed=row.status == "completed",
        head=SessionHead.model_validate_json(row.head) if row.head is not None else None,
        version=row.head_version,
        first_run_id=row.first_run_id,
    )


def _closed(connection: Connection, session_id: str, turn: Turn, at: datetime) -> Turn:
    """The closed form of an open turn: interrupted, with the text of its paid replies, or failed if there is none."""
    key = {"session_id": session_id, "turn_id": turn.id}
    replies = [ModelReply.model_validate_json(each) for each in connection.scalars(_REPLIES, key)]
    spent = {
        "usage": merge_usage(reply.usage for reply in replies),
        "cost": merge_costs(reply.cost for reply in replies),
    }
    said = "\n".join(reply.text for reply in replies if reply.text.strip())
    if not said:
        return turn.model_copy(update={**spent, "status": "failed", "error": LOST_REPLY_OF_CLOSED})
    answer = AssistantMessage(text=said, created_at=at)
    return turn.model_copy(update={**spent, "status": "interrupted", "assistant_message": answer})


LOST_REPLY_OF_CLOSED = "The workflow of the session was closed while this turn was answered."
"""The error of a turn without a reply in a session that was closed by a reconciliation."""


def _ended(head: SessionHead, closed: Sequence[Turn], closing: Closing) -> SessionHead:
    """The head of a session that is over, with the turns that were closed with it."""
    changes: dict[str, object] = {}
    for turn in closed:
        is_newest = head.cursor_turn_id is None and turn.parent_id == (changes.get("head_turn_id") or head.head_turn_id)
        if is_newest:
            changes |= {"head_turn_id": turn.id, "leaf_turn_id": turn.id}
    return head.model_copy(
        update={
            **changes,
            "status": "completed",
            "is_completed": True,
            "completion_reason": closing.reason,
            "approvals": (),
            "client_calls": (),
            # Counts as a change, so that a session that continues after all, as after a reset, detects it.
            "version": head.version + 1,
            "revision": head.revision + 1,
            "updated_at": max(head.updated_at, closing.at),
        }
    )


def _with_spent(connection: Connection, session_id: str, head: SessionHead) -> SessionHead:
    """The head with the sums of the session's ledger rows."""
    rows = connection.execute(_SPENT, {"session_id": session_id}).all()
    usage = merge_usage(Usage.model_validate(row.usage) for row in rows)
    cost = merge_costs(Cost.model_validate(row.cost) for row in rows)
    elapsed = head.usage.duration_seconds
    return head.model_copy(update={"usage": usage.model_copy(update={"duration_seconds": elapsed}), "cost": cost})


def _session_values(start: StartSession, agent_number: int, agent_name: str, created_at: datetime) -> dict[str, Any]:
    simulator = start.simulator
    return {
        "id": start.session_id,
        "organization_id": start.organization_id,
        "agent_id": start.agent.id,
        "agent_version": start.agent.version,
        "agent_name": agent_name,
        "agent_number": agent_number,
        "name": start.name,
        "model": start.model,
        "initial_context": start.initial_context,
        "annotations": {},
        "simulator": {"enabled": True, "config": simulator.model_dump(mode="json")} if simulator else None,
        "suite_id": start.suite_id,
        "created_at": created_at,
        "event_count": 0,
    }


def _finding_values(finding: Difference, now: datetime) -> dict[str, Any]:
    return {
        "created_at": now,
        "subject": finding.subject,
        "subject_id": finding.id,
        "organization_id": finding.organization_id,
        "found": finding.found,
        "done": finding.done,
        "billed": finding.billed,
        "turns_in_store": finding.turns_in_store,
        "turns_in_temporal": finding.turns_in_temporal,
    }


def _finding(row: Row[*tuple[Any, ...]]) -> Difference:
    return Difference(
        subject=row.subject,
        id=row.subject_id,
        organization_id=row.organization_id,
        found=row.found,
        done=row.done,
        billed=row.billed,
        turns_in_store=row.turns_in_store,
        turns_in_temporal=row.turns_in_temporal,
    )
