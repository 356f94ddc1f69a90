"""Recovery: a session's record for its workflow to compare itself with, and the restoring of missing turns."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection, bindparam, select, update

from contracts.recovery import RestoredStep, RestoredTurn, RestoreTurnsInput
from domain.sessions.recovery import SessionRecord
from domain.sessions.views import SessionHead
from domain.turns.call_digest import digest_of
from domain.turns.engine import ModelReply
from domain.turns.turn import Turn
from domain.usage import Cost, Usage, cost_beyond, merge_costs, merge_usage, usage_beyond
from store.billing.charges import Account, ChargeItem, ChargeWriter, bills_of
from store.database.column_types import CleanText
from store.database.connection import Database
from store.database.tables import erasures, ledger, sessions, steps, turns
from store.database.upsert import insert_new
from store.sessions.event_log import append, events_of, known_keys
from store.sessions.steps import SavedStep, step_values
from store.sessions.turn_rows import turn_values

_SESSION_ID = bindparam("session_id", type_=CleanText())
_SESSION = select(sessions).where(
    sessions.c.id == _SESSION_ID, sessions.c.organization_id == bindparam("organization_id")
)
_ERASED = select(erasures.c.session_id).where(erasures.c.session_id == _SESSION_ID)
_TURN_IDS = select(turns.c.id).where(turns.c.session_id == _SESSION_ID).order_by(turns.c.idx)
_DOCUMENTS = select(turns.c.id, turns.c.document).where(
    turns.c.session_id == _SESSION_ID, turns.c.id.in_(bindparam("turn_ids", expanding=True))
)
_BILLED = select(ledger.c.turn_id, ledger.c.usage, ledger.c.cost).where(
    ledger.c.session_id == _SESSION_ID, ledger.c.purpose != "judge"
)
_SAVED = select(steps.c.digest, steps.c.reply).where(
    steps.c.session_id == _SESSION_ID, steps.c.turn_id == bindparam("turn_id", type_=CleanText())
)
_SET_COUNT = update(sessions).where(sessions.c.id == bindparam("of_session"))
IDS_AT_ONCE = 500
"""Ids in one statement; databases limit the number of values in a statement to some thousands."""


class RecoveryStore:
    """Reads and completes what is recorded of sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert_turn = insert_new(database, turns, key=["session_id", "id"])
        self._insert_step = insert_new(database, steps, key=["session_id", "digest"])
        self._charges = ChargeWriter(database)

    async def rejection_of(self, organization_id: str, session_id: str, first_run_id: str) -> str | None:
        """The reason an execution may not begin a session (another one has, or it was erased); None when it may."""
        key = {"session_id": session_id, "organization_id": organization_id}

        def read(connection: Connection) -> str | None:
            row = connection.execute(_SESSION, key).one_or_none()
            if row is not None:
                if row.first_run_id is None or row.first_run_id == first_run_id:
                    return None
                return (
                    f"The session {session_id} was begun before, by run {row.first_run_id}; its record stays as it is."
                )
            erased = connection.execute(_ERASED, {"session_id": session_id}).one_or_none()
            return f"The session {session_id} was erased." if erased is not None else None

        return await self._database.read(read)

    async def record(self, organization_id: str, session_id: str, known_turn_ids: Sequence[str]) -> SessionRecord:
        """The record of a session, compared with the closed turns that its workflow knows of."""
        key = {"session_id": session_id, "organization_id": organization_id}

        def read(connection: Connection) -> SessionRecord:
            row = connection.execute(_SESSION, key).one_or_none()
            if row is None:
                return SessionRecord()
            recorded = list(connection.scalars(_TURN_IDS, {"session_id": session_id}))
            known, head = set(known_turn_ids), SessionHead.model_validate_json(row.head) if row.head else None
            billed = connection.execute(_BILLED, {"session_id": session_id}).all()
            return SessionRecord(
                exists=True,
                revision=head.revision if head else 0,
                version=row.head_version or 0,
                unknown_turns=_turns(connection, session_id, [each for each in recorded if each not in known]),
                missing_turn_ids=tuple(each for each in known_turn_ids if each not in set(recorded)),
                usage=merge_usage(Usage.model_validate(each.usage) for each in billed),
                cost=merge_costs(Cost.model_validate(each.cost) for each in billed),
                billed_ids=tuple({each.turn_id: None for each in billed}),
            )

        return await self._database.read(read)

    async def restore(
        self, input: RestoreTurnsInput, *, turn_messages: Sequence[str], step_messages: Sequence[str]
    ) -> int:
        """Put back the turns and model calls that are not there, bill them, and log what is not in the event log.

        `turn_messages` and `step_messages` are the messages of each turn and step, as they are saved. Returns the
        number of steps that were put back. Raises StoreUnavailable: then nothing has happened, or all of it.
        """
        now = datetime.now(UTC)
        whole = [
            _step_of_turn(input, each, messages) for each, messages in zip(input.turns, turn_messages, strict=True)
        ]
        exact = [_step_of_call(each, messages, now) for each, messages in zip(input.steps, step_messages, strict=True)]
        return await self._database.write(lambda connection: self._restore(connection, input, exact, whole, now))

    def _restore(
        self,
        connection: Connection,
        input: RestoreTurnsInput,
        exact: Sequence[SavedStep],
        whole: Sequence[SavedStep | None],
        now: datetime,
    ) -> int:
        key = {"session_id": input.session_id, "organization_id": input.organization_id}
        session = connection.execute(_SESSION.with_for_update(), key).one_or_none()
        if session is None:
            return 0
        restored = sum(self._put_back(connection, step) for step in exact)
        restored += sum(self._put_back_turn(connection, step) for step in whole if step is not None)
        closed = [each.turn for each in input.turns]
        if closed:
            connection.execute(self._insert_turn, [turn_values(input.session_id, turn) for turn in closed])
            happened = events_of(closed, ())
            known = known_keys(connection, input.session_id, [event.key for event in happened])
            new = [event for event in happened if event.key not in known]
            if new:
                append(connection, input.session_id, session.event_count, new)
                connection.execute(
                    _SET_COUNT, {"of_session": input.session_id, "event_count": session.event_count + len(new)}
                )
        self._bill(connection, input, session.suite_id, now)
        return restored

    def _put_back(self, connection: Connection, step: SavedStep) -> int:
        """Insert a step unless one with its digest is saved. Returns how many were inserted."""
        return connection.execute(self._insert_step, step_values(step)).rowcount

    def _put_back_turn(self, connection: Connection, step: SavedStep) -> int:
        """Insert the step that stands for a turn, with what it used beyond the steps of the turn that are saved."""
        key = {"session_id": step.session_id, "turn_id": step.turn_id}
        saved = {row.digest: ModelReply.model_validate_json(row.reply) for row in connection.execute(_SAVED, key)}
        if step.digest in saved or (saved and step.digest.startswith(WHOLE_TURN)):
            return 0
        missing = step.reply.model_copy(
            update={
                "usage": usage_beyond(step.reply.usage, merge_usage(reply.usage for reply in saved.values())),
                "cost": cost_beyond(step.reply.cost, merge_costs(reply.cost for reply in saved.values())),
            }
        )
        return self._put_back(connection, replace(step, reply=missing))

    def _bill(self, connection: Connection, input: RestoreTurnsInput, suite_id: str | None, now: datetime) -> None:
        own = [each.turn for each in input.turns if each.turn.id not in input.taken_over]
        bills = bills_of(connection, input.session_id, {turn.id: turn.usage.duration_seconds for turn in own})
        account = Account(input.organization_id, input.session_id, input.agent.id, input.agent.version, suite_id)
        self._charges.bill(connection, account, [ChargeItem(turn.id, "turn", bills[turn.id]) for turn in own], now)


WHOLE_TURN = "whole-turn-"
"""Prefix of the digest of a step that stands for a turn without a checkpoint; no later step continues from it."""


def _turns(connection: Connection, session_id: str, turn_ids: Sequence[str]) -> tuple[Turn, ...]:
    found: dict[str, Turn] = {}
    for start in range(0, len(turn_ids), IDS_AT_ONCE):
        key = {"session_id": session_id, "turn_ids": turn_ids[start : start + IDS_AT_ONCE]}
        found |= {row.id: Turn.model_validate_json(row.document) for row in connection.execute(_DOCUMENTS, key)}
    return tuple(found[turn_id] for turn_id in turn_ids)


def _step_of_turn(input: RestoreTurnsInput, restored: RestoredTurn, messages: str) -> SavedStep | None:
    """All model calls of a turn as one; None for a turn that was answered without a model."""
    turn, checkpoint = restored.turn, restored.turn.checkpoint
    if turn.usage.requests == 0 and (checkpoint is None or checkpoint.after == restored.after):
        return None
    has_own = checkpoint is not None and checkpoint.after != restored.after
    digest = checkpoint.after if checkpoint is not None and has_own else f"{WHOLE_TURN}{digest_of(turn.id)}"
    answer = turn.assistant_message
    return SavedStep(
        session_id=input.session_id,
        organization_id=input.organization_id,
        digest=digest,
        after=restored.after,
        turn_id=turn.id,
        step=0,
        node_id=turn.node_id or "",
        model=input.model,
        messages=messages,
        reply=ModelReply(text=answer.text if answer else "", usage=turn.usage, cost=turn.cost),
        created_at=turn.created_at,
    )


def _step_of_call(restored: RestoredStep, messages: str, now: datetime) -> SavedStep:
    call = restored.call
    return SavedStep(
        session_id=call.session_id,
        organization_id=call.organization_id,
        digest=call.digest,
        after=call.after,
        turn_id=call.turn_id,
        step=call.step,
        node_id=call.node_id,
        model=call.model,
        messages=messages,
        reply=restored.reply,
        created_at=now,
    )
