"""Billing: ledger rows and the organization's totals, written together, and once for each thing that was bought."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from store.database import Database
from store.identifiers import derived_id
from store.money import Bill, picodollars, totals_of
from store.tables import ledger, usage_totals
from store.upsert import insert_new, insert_or_add


@dataclass(frozen=True, slots=True)
class Account:
    """Who is billed, and for which session with which version of which agent."""

    organization_id: str
    session_id: str
    agent_id: str
    agent_version: int
    suite_id: str | None


class Billing:
    """Writes bills, inside the transaction of whoever calls."""

    def __init__(self, database: Database) -> None:
        self._insert_ledger = insert_new(database, ledger, key=["session_id", "turn_id"]).returning(ledger.c.turn_id)
        self._add_totals = insert_or_add(database, usage_totals, key=["organization_id", "day", "model"])

    def bill(self, connection: Connection, account: Account, bills: Mapping[str, Bill], now: datetime) -> int:
        """Bill turns by their ids. Returns how many had not been billed before; only these count.

        Let it be the last of a transaction: all sessions of an organization add to the same rows of totals.
        """
        if not bills:
            return 0
        rows = [_ledger_values(account, turn_id, bill, now) for turn_id, bill in bills.items()]
        billed = set(connection.execute(self._insert_ledger, rows).scalars())
        totals = totals_of(bill for turn_id, bill in bills.items() if turn_id in billed)
        if totals:
            key = {"organization_id": account.organization_id, "day": now.date()}
            # Always in the same order, so that two settlements cannot wait for each other's rows.
            sums = [{**key, "model": model, **totals[model]} for model in sorted(totals)]
            connection.execute(self._add_totals, sums)
        return len(billed)


def _ledger_values(account: Account, turn_id: str, bill: Bill, now: datetime) -> dict[str, Any]:
    return {
        "id": derived_id("led", account.session_id, turn_id),
        "organization_id": account.organization_id,
        "session_id": account.session_id,
        "turn_id": turn_id,
        "agent_id": account.agent_id,
        "agent_version": account.agent_version,
        "suite_id": account.suite_id,
        "usage": bill.usage.model_dump(mode="json"),
        "cost": bill.cost.model_dump(mode="json"),
        "picodollars": picodollars(bill.cost.total),
        "created_at": now,
    }
