"""Settling: one transaction that bills turns by their saved steps and records what happened, at most once each."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, select, update

from contracts.sessions import RecordState, SettleTurnsInput, SettleTurnsResult
from domain.sessions.timeline import DiscardedBranch
from domain.turns.turn import Turn
from store.billing.charges import Account, ChargeItem, ChargeWriter, bills_of
from store.database.connection import Database
from store.database.tables import branches, sessions, turns
from store.database.upsert import insert_new, insert_or_replace
from store.sessions.event_log import LoggedEvent, append, events_of, known_keys, with_revision
from store.sessions.turn_rows import turn_values

_SESSION = (
    select(
        sessions.c.suite_id,
        sessions.c.event_count,
        sessions.c.updated_at,
        sessions.c.head_version,
        sessions.c.first_run_id,
    )
    .where(sessions.c.id == bindparam("session_id"), sessions.c.organization_id == bindparam("organization_id"))
    .with_for_update()
)
_DELETE_BRANCHES = delete(branches).where(
    branches.c.session_id == bindparam("session_id"),
    branches.c.id.in_(bindparam("branch_ids", expanding=True)),
)
_UPDATE_SESSION = update(sessions).where(sessions.c.id == bindparam("of_session"))

SessionRow = Row[str | None, int, datetime | None, int | None, str | None]


class SettlementStore:
    """Bills and records, idempotent by session and turn.

    The cost of a turn is the sum over its saved steps, whatever the turn itself says: those are the model calls that
    were paid for. The first settlement of a turn bills it; later ones update its record, and bill model calls that were
    made since then. A turn that is still pending is recorded and not billed. Auxiliary model calls are billed in the
    same way. When a session was erased meanwhile, its turns are billed and nothing else is recorded.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert_turns = insert_new(database, turns, key=["session_id", "id"])
        self._replace_turns = insert_or_replace(database, turns, key=["session_id", "id"])
        self._insert_branches = insert_new(database, branches, key=["session_id", "id"])
        self._billing = ChargeWriter(database)

    async def settle(self, input: SettleTurnsInput) -> SettleTurnsResult:
        """Bill and record in one transaction, and compare the earlier record with what the session expects.

        The record of another execution is left as it is; the model calls are billed all the same.

        Raises StoreUnavailable: then nothing has happened, or all of it, and it is safe to settle again.
        """
        return await self._database.write(lambda connection: self.settle_in(connection, input))

    def settle_in(self, connection: Connection, input: SettleTurnsInput) -> SettleTurnsResult:
        """Settle within the caller's transaction, which keeps the session's row locked until it ends."""
        now = datetime.now(UTC)
        session = _lock_session(connection, input)
        settled, items = _with_bills(connection, input)
        state: RecordState = "agrees" if session is None else _compared(session, input)
        if session is not None and state != "is_another":
            self._record(connection, session, input, settled, now, keeps_head=state == "is_ahead")
        suite_id = session.suite_id if session is not None else None
        account = Account(input.organization_id, input.session_id, input.agent.id, input.agent.version, suite_id)
        return SettleTurnsResult(billed=self._billing.bill(connection, account, items, now), record=state)

    def _record(
        self,
        connection: Connection,
        session: SessionRow,
        input: SettleTurnsInput,
        settled: Sequence[Turn],
        now: datetime,
        *,
        keeps_head: bool,
    ) -> None:
        """Write what happened. A head that the session has not seen yet is kept: the session will continue from it."""
        is_late = _is_late(session, input)
        if settled:
            write_turns = self._insert_turns if is_late else self._replace_turns
            connection.execute(write_turns, [turn_values(input.session_id, turn) for turn in settled])
        if not is_late:
            self._record_branches(connection, input)
        logged = _unknown(connection, input.session_id, events_of(settled, input.facts))
        if logged:
            log_entries = logged if is_late or keeps_head else with_revision(logged, input.head.revision)
            append(connection, input.session_id, session.event_count, log_entries)
        head = {} if is_late or keeps_head else _head_values(input, now)
        changes = {**head, "event_count": session.event_count + len(logged)}
        connection.execute(_UPDATE_SESSION, {"of_session": input.session_id, **changes})

    def _record_branches(self, connection: Connection, input: SettleTurnsInput) -> None:
        if input.restored_branch_ids:
            key = {"session_id": input.session_id, "branch_ids": input.restored_branch_ids}
            connection.execute(_DELETE_BRANCHES, key)
        if input.branches:
            values = [_branch_values(input.session_id, branch) for branch in input.branches]
            connection.execute(self._insert_branches, values)


def _lock_session(connection: Connection, input: SettleTurnsInput) -> SessionRow | None:
    """The session's row, held until the transaction ends: settlements of one session run one after another."""
    key = {"session_id": input.session_id, "organization_id": input.organization_id}
    return connection.execute(_SESSION, key).one_or_none()


def _with_bills(connection: Connection, input: SettleTurnsInput) -> tuple[list[Turn], list[ChargeItem]]:
    """The turns with their usage and cost by their saved steps, and the items to bill."""
    auxiliary_calls = {call.id: call for call in input.auxiliary_calls}
    own = [turn for turn in input.turns if turn.id not in input.taken_over]
    seconds = {turn.id: turn.usage.duration_seconds for turn in own}
    seconds |= {each: call.usage.duration_seconds for each, call in auxiliary_calls.items()}
    bills = bills_of(connection, input.session_id, seconds)
    settled = [
        turn.model_copy(update={"usage": bills[turn.id].usage, "cost": bills[turn.id].cost})
        if turn.id in bills
        else turn
        for turn in input.turns
    ]
    items = [ChargeItem(turn.id, "turn", bills[turn.id]) for turn in own if turn.status != "pending"]
    return settled, [*items, *(ChargeItem(each, call.purpose, bills[each]) for each, call in auxiliary_calls.items())]


def _is_late(session: SessionRow, input: SettleTurnsInput) -> bool:
    """True when the store has a newer state: an attempt that timed out can still arrive after its successor.

    Time goes before version, because a workflow that was reset counts its versions anew from an earlier one.
    """
    if session.updated_at is None or session.head_version is None:
        return False
    return (input.head.updated_at, input.head.version) < (session.updated_at, session.head_version)


def _compared(session: SessionRow, input: SettleTurnsInput) -> RecordState:
    """The record before this settlement, compared to the versions that the session believes were recorded."""
    if None not in (session.first_run_id, input.first_run_id) and session.first_run_id != input.first_run_id:
        return "is_another"
    recorded = session.head_version
    if input.follows is None or recorded in input.follows:
        return "agrees"
    if recorded is None:
        return "is_behind" if input.follows else "agrees"
    if (session.updated_at, recorded) == (input.head.updated_at, input.head.version):
        return "agrees"  # settled by an earlier attempt
    return "is_behind" if input.follows and recorded < max(input.follows) else "is_ahead"


def _unknown(connection: Connection, session_id: str, happened: list[LoggedEvent]) -> list[LoggedEvent]:
    """The events that are not in the log yet."""
    if not happened:
        return []
    known = known_keys(connection, session_id, [event.key for event in happened])
    return [event for event in happened if event.key not in known]


def _branch_values(session_id: str, branch: DiscardedBranch) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "id": branch.id,
        "rewound_from_turn_id": branch.rewound_from_turn_id,
        "leaf_turn_id": branch.leaf_turn_id,
        "discarded_at": branch.discarded_at,
    }


def _head_values(input: SettleTurnsInput, now: datetime) -> dict[str, Any]:
    owner = {} if input.first_run_id is None else {"first_run_id": input.first_run_id}
    return {
        **owner,
        "status": input.head.status,
        "head": input.head.model_dump_json(),
        "head_version": input.head.version,
        "updated_at": input.head.updated_at,
        "recorded_at": now,
    }
