"""Reads the ledger: one row per turn, and the total usage and cost of an organization."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from domain.sessions.timeline import Purpose
from domain.usage import DURATION_CHARGE, Cost, ModelUsage, Usage
from store.billing.money import NO_MODEL, dollars
from store.database.connection import Database
from store.database.pagination import Page, number_after, page_of
from store.database.tables import ledger, usage_totals


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """Usage and cost of one turn, or of a model call outside the turns.

    For the purpose `turn`, `turn_id` is the turn's id; other purposes have ids of their own. `created_at` is the time
    of billing, and decides the day to which the row counts.
    """

    id: str
    number: int
    session_id: str
    turn_id: str
    purpose: Purpose
    agent_id: str
    agent_version: int
    suite_id: str | None
    usage: Usage
    cost: Cost
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OrganizationUsage:
    """The sum of all ledger rows of an organization."""

    turns: int
    usage: Usage
    cost: Cost


_ROWS = select(ledger)
_FIGURES = [name for name, column in usage_totals.columns.items() if name not in ("organization_id", "day", "model")]
_TOTALS = (
    select(usage_totals.c.model, *(func.sum(usage_totals.c[figure]).label(figure) for figure in _FIGURES))
    .where(usage_totals.c.organization_id == bindparam("organization_id"))
    .group_by(usage_totals.c.model)
    .order_by(usage_totals.c.model)
)


class LedgerStore:
    """Reads ledger rows and totals; settlement and erasure write them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def rows(
        self, organization_id: str, *, session_id: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[LedgerRow]:
        """Ledger rows of the organization, or of one of its sessions, newest first.

        Raises ValueError for an invalid cursor.
        """
        statement = select(ledger).where(ledger.c.organization_id == organization_id)
        if session_id is not None:
            statement = statement.where(ledger.c.session_id == session_id)
        if cursor is not None:
            statement = statement.where(ledger.c.number < number_after(cursor))
        statement = statement.order_by(ledger.c.number.desc()).limit(limit + 1)

        def work(connection: Connection) -> list[LedgerRow]:
            return [_ledger_row(row) for row in connection.execute(statement)]

        found = await self._database.read(work)
        return page_of(found, limit, lambda row: (row.number,))

    async def totals(self, organization_id: str) -> OrganizationUsage:
        """Total usage and cost of the organization, exact to the picodollar. Durations are added up."""
        key = {"organization_id": organization_id}
        rows = await self._database.read(lambda connection: connection.execute(_TOTALS, key).all())
        models = [row for row in rows if row.model not in (NO_MODEL, DURATION_CHARGE)]
        breakdown = {row.model: dollars(int(row.picodollars)) for row in rows if _has_a_price(row)}
        return OrganizationUsage(
            turns=sum(int(row.turns) for row in rows),
            usage=Usage(
                llm={row.model: _model_usage(row) for row in models},
                duration_seconds=sum(int(row.milliseconds) for row in rows) / 1000,
                model_seconds=sum(int(row.model_milliseconds) for row in rows) / 1000,
            ),
            cost=Cost(
                total=sum(breakdown.values(), dollars(0)),
                breakdown=breakdown,
                unpriced_models=tuple(row.model for row in models if row.unpriced_requests),
            ),
        )


def _has_a_price(row: Row[*tuple[Any, ...]]) -> bool:
    return bool(row.model == DURATION_CHARGE or row.requests > row.unpriced_requests)


def _model_usage(row: Row[*tuple[Any, ...]]) -> ModelUsage:
    return ModelUsage(**{name: int(row._mapping[name]) for name in ModelUsage.model_fields})


def _ledger_row(row: Row[*tuple[Any, ...]]) -> LedgerRow:
    return LedgerRow(
        id=row.id,
        number=row.number,
        session_id=row.session_id,
        turn_id=row.turn_id,
        purpose=row.purpose,
        agent_id=row.agent_id,
        agent_version=row.agent_version,
        suite_id=row.suite_id,
        usage=Usage.model_validate(row.usage),
        cost=Cost.model_validate(row.cost),
        created_at=row.created_at,
    )
