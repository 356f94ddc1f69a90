"""Model calls that were paid for and not settled: their steps are saved, and no ledger row has them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from domain.sessions.timeline import Purpose
from domain.turns.engine import ModelReply
from store.billing.charges import ChargeItem
from store.billing.money import bill_of
from store.database.column_types import CleanText, UtcDateTime
from store.database.tables import ledger, sessions, steps, turns

_SESSION_ID = bindparam("session_id", type_=CleanText())
# A closed turn is recorded together with its ledger row; a fork has turns that its source was billed for.
_SETTLED = select(turns.c.id).where(turns.c.session_id == _SESSION_ID, turns.c.status != "pending")
_BILLED = select(ledger.c.turn_id).where(ledger.c.session_id == _SESSION_ID)
_UNBILLED = (
    select(steps.c.turn_id, steps.c.node_id, steps.c.reply)
    .where(steps.c.session_id == _SESSION_ID, steps.c.turn_id.not_in(_SETTLED), steps.c.turn_id.not_in(_BILLED))
    .order_by(steps.c.turn_id, steps.c.step, steps.c.created_at)
)
# Turns that a fork shares with its source began before the fork did.
_SHARED = (
    select(turns.c.id)
    .join(sessions, sessions.c.id == turns.c.session_id)
    .where(turns.c.session_id == _SESSION_ID, turns.c.created_at < sessions.c.created_at)
)
_LATE_IDS = select(steps.c.turn_id).where(
    steps.c.session_id == _SESSION_ID, steps.c.created_at >= bindparam("since", type_=UtcDateTime())
)
_LATE = (
    select(steps.c.turn_id, steps.c.node_id, steps.c.reply)
    .where(steps.c.session_id == _SESSION_ID, steps.c.turn_id.in_(_LATE_IDS), steps.c.turn_id.not_in(_SHARED))
    .order_by(steps.c.turn_id, steps.c.step, steps.c.created_at)
)
_AUXILIARY: Mapping[str, Purpose] = {"caller": "caller", "judge": "judge", "summary": "summary"}
"""Purposes of auxiliary model calls, by the name that is saved in place of a node id."""


@dataclass(frozen=True, slots=True)
class UnbilledCalls:
    """The paid replies that are saved under one id: a turn's, or that of an auxiliary model call."""

    id: str
    node_id: str
    replies: tuple[ModelReply, ...]

    def charge(self, *, is_turn: bool) -> ChargeItem:
        """The ledger row that settlement would write; the seconds of a turn that never ended are not known."""
        purpose = "turn" if is_turn else _AUXILIARY.get(self.node_id, "turn")
        return ChargeItem(self.id, purpose, bill_of(self.replies, duration_seconds=0.0))


def unbilled_calls(connection: Connection, session_id: str) -> list[UnbilledCalls]:
    """The calls of a session that no settlement has billed."""
    return _by_id(connection.execute(_UNBILLED, {"session_id": session_id}))


def late_calls(connection: Connection, session_id: str, since: datetime) -> list[UnbilledCalls]:
    """All calls, billed or not, of the ids for which a step was saved at or after `since`."""
    return _by_id(connection.execute(_LATE, {"session_id": session_id, "since": since}))


def _by_id(rows: Iterable[Row[*tuple[Any, ...]]]) -> list[UnbilledCalls]:
    found: dict[str, UnbilledCalls] = {}
    for turn_id, node_id, written in rows:
        before = found.get(turn_id, UnbilledCalls(turn_id, node_id, ()))
        reply = ModelReply.model_validate_json(written)
        found[turn_id] = UnbilledCalls(turn_id, node_id, (*before.replies, reply))
    return list(found.values())
