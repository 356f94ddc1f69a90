"""Billing: ledger rows and totals from saved steps, where each paid model call is billed once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select

from domain.sessions.timeline import Purpose
from domain.turns.engine import ModelReply
from domain.usage import Cost, Usage, cost_beyond, merge_costs, merge_usage, usage_beyond
from store.billing.money import Bill, bill_of, picodollars, totals_of
from store.database.connection import Database
from store.database.ids import derived_id
from store.database.tables import ledger, steps, usage_totals
from store.database.upsert import insert_new, insert_or_add

_REPLIES = (
    select(steps.c.turn_id, steps.c.reply)
    .where(steps.c.session_id == bindparam("session_id"))
    .where(steps.c.turn_id.in_(bindparam("turn_ids", expanding=True)))
    .order_by(steps.c.turn_id, steps.c.step)
)


_ENTRIES = select(ledger.c.usage, ledger.c.cost).where(
    ledger.c.session_id == bindparam("session_id"), ledger.c.turn_id == bindparam("turn_id")
)


@dataclass(frozen=True, slots=True)
class Account:
    """The organization that is billed, and the session, agent and version that it is billed for."""

    organization_id: str
    session_id: str
    agent_id: str
    agent_version: int
    suite_id: str | None


@dataclass(frozen=True, slots=True)
class ChargeItem:
    """One row of the ledger: a turn or an auxiliary model call, with the id under which its steps are saved."""

    id: str
    purpose: Purpose
    bill: Bill


class ChargeWriter:
    """Bills in the caller's transaction. An item that was billed before adds only the model calls made since then."""

    def __init__(self, database: Database) -> None:
        self._insert = insert_new(database, ledger, key=["session_id", "turn_id", "entry"]).returning(ledger.c.turn_id)
        self._add_totals = insert_or_add(database, usage_totals, key=["organization_id", "day", "model"])

    def bill(self, connection: Connection, account: Account, items: Sequence[ChargeItem], now: datetime) -> int:
        """Insert the ledger rows that are missing, and add them to the organization's totals; returns their number.

        Call this last in a transaction: all sessions of an organization update the same totals.
        """
        if not items:
            return 0
        billed = set(connection.execute(self._insert, [_row(account, item, now) for item in items]).scalars())
        new = [item for item in items if item.id in billed]
        again = _called_again(connection, account.session_id, [item for item in items if item.id not in billed])
        if again:
            connection.execute(self._insert, [_row(account, item, now, entry) for item, entry in again]).close()
        totals = totals_of((item.bill, item.purpose) for item in (*new, *(item for item, _ in again)))
        if totals:
            key = {"organization_id": account.organization_id, "day": now.date()}
            # Always in the same order, so that two transactions cannot wait for each other's rows.
            sums = [{**key, "model": model, **totals[model]} for model in sorted(totals)]
            connection.execute(self._add_totals, sums)
        return len(billed) + len(again)


def bills_of(connection: Connection, session_id: str, seconds: Mapping[str, float]) -> dict[str, Bill]:
    """The bill of each of these ids: the sum over its saved steps, with the seconds that it took."""
    if not seconds:
        return {}
    replies: dict[str, list[ModelReply]] = {}
    for turn_id, reply in connection.execute(_REPLIES, {"session_id": session_id, "turn_ids": list(seconds)}):
        replies.setdefault(turn_id, []).append(ModelReply.model_validate_json(reply))
    return {each: bill_of(replies.get(each, ()), duration) for each, duration in seconds.items()}


def _called_again(connection: Connection, session_id: str, items: Sequence[ChargeItem]) -> list[tuple[ChargeItem, int]]:
    """Model calls made for items after they were billed, each with the number of its entry.

    After a reset a turn may be answered again: both replies were paid for.
    """
    again = []
    for item in items:
        key = {"session_id": session_id, "turn_id": item.id}
        entries = connection.execute(_ENTRIES, key).all()
        usage = usage_beyond(item.bill.usage, merge_usage(Usage.model_validate(row.usage) for row in entries))
        if usage.requests:
            cost = cost_beyond(item.bill.cost, merge_costs(Cost.model_validate(row.cost) for row in entries))
            unpriced = {model: used.requests for model, used in usage.llm.items() if model in cost.unpriced_models}
            again.append((ChargeItem(item.id, item.purpose, Bill(usage, cost, unpriced)), len(entries)))
    return again


def _row(account: Account, item: ChargeItem, now: datetime, entry: int = 0) -> dict[str, Any]:
    return {
        "id": derived_id("led", account.session_id, item.id, *([str(entry)] if entry else [])),
        "entry": entry,
        "organization_id": account.organization_id,
        "session_id": account.session_id,
        "turn_id": item.id,
        "purpose": item.purpose,
        "agent_id": account.agent_id,
        "agent_version": account.agent_version,
        "suite_id": account.suite_id,
        "usage": item.bill.usage.model_dump(mode="json"),
        "cost": item.bill.cost.model_dump(mode="json"),
        "picodollars": picodollars(item.bill.cost.total),
        "created_at": now,
    }
