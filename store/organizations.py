"""The terms of organizations: a price per second, a monthly spending limit, and the month's cost so far."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, TypedDict

from sqlalchemy import Connection, Row, bindparam, func, select, update

from store.billing.money import dollars, picodollars
from store.database.connection import Database
from store.database.tables import organizations, usage_totals

MAX_PRICE_PER_SECOND_USD = Decimal(1_000)
MAX_MONTHLY_LIMIT_USD = Decimal(1_000_000)
"""Sums up to this limit stay far below the range of 64-bit integers in picodollars."""


@dataclass(frozen=True, slots=True)
class Terms:
    """An organization's price per second, monthly limit, and spending in the requested month, in USD.

    A price of None charges no seconds; a limit of None allows any spending.
    """

    price_per_second: Decimal | None = None
    monthly_limit: Decimal | None = None
    spent: Decimal = Decimal(0)

    @property
    def exhausted_limit(self) -> Decimal | None:
        """The monthly limit, if it is used up; otherwise None."""
        return self.monthly_limit if self.monthly_limit is not None and self.spent >= self.monthly_limit else None


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization and its terms."""

    id: str
    name: str
    terms: Terms


class NewTerms(TypedDict, total=False):
    """Terms to set. A missing key leaves the value as it is; None removes the price or the limit."""

    price_per_second: Decimal | None
    monthly_limit: Decimal | None


_SPENT = (
    select(func.coalesce(func.sum(usage_totals.c.picodollars), 0))
    .where(usage_totals.c.organization_id == organizations.c.id)
    .where(usage_totals.c.day >= bindparam("first_day"), usage_totals.c.day < bindparam("first_day_after"))
    .scalar_subquery()
    .label("spent")
)
_ORGANIZATIONS = select(organizations, _SPENT).order_by(organizations.c.id)
_ONE = _ORGANIZATIONS.where(organizations.c.id == bindparam("organization_id"))

Organizations = list[Organization]


class OrganizationStore:
    """Reads and sets the terms of organizations. A month is a calendar month in UTC, as the ledger's days are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def terms(self, organization_id: str, month: date) -> Terms:
        """An organization's terms and its spending in the month of this day; empty terms if it is unknown."""
        key = {"organization_id": organization_id, **_bounds(month)}
        row = await self._database.read(lambda connection: connection.execute(_ONE, key).one_or_none())
        return _organization(row).terms if row is not None else Terms()

    async def list(self, month: date) -> Organizations:
        """Every organization, with its spending in the month of this day."""

        def work(connection: Connection) -> Organizations:
            return [_organization(row) for row in connection.execute(_ORGANIZATIONS, _bounds(month))]

        return await self._database.read(work)

    async def set_terms(self, organization_id: str, terms: NewTerms) -> bool:
        """Set the given terms. Returns False when there is no such organization.

        Raises ValueError for an amount below zero, above MAX_PRICE_PER_SECOND_USD or MAX_MONTHLY_LIMIT_USD, or with
        more than twelve decimals.
        """
        statement = update(organizations).where(organizations.c.id == organization_id).values(_columns(terms))
        return await self._database.write(
            lambda connection: connection.execute(statement).rowcount == 1, autocommit=True
        )


def first_of_next(month: date) -> date:
    """The first day of the following month."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def _bounds(month: date) -> dict[str, date]:
    return {"first_day": month.replace(day=1), "first_day_after": first_of_next(month)}


def _columns(terms: NewTerms) -> dict[str, int | None]:
    columns = {}
    if "price_per_second" in terms:
        columns["picodollars_per_second"] = _stored(terms["price_per_second"], MAX_PRICE_PER_SECOND_USD)
    if "monthly_limit" in terms:
        columns["monthly_limit_picodollars"] = _stored(terms["monthly_limit"], MAX_MONTHLY_LIMIT_USD)
    return columns


def _stored(amount: Decimal | None, highest: Decimal) -> int | None:
    if amount is None:
        return None
    if not amount.is_finite() or not 0 <= amount <= highest:
        raise ValueError(f"{amount} is not between 0 and {highest} dollars")
    if amount != dollars(picodollars(amount)):
        raise ValueError(f"{amount} has more than twelve decimals")
    return picodollars(amount)


def _organization(row: Row[*tuple[Any, ...]]) -> Organization:
    return Organization(
        id=row.id,
        name=row.name,
        terms=Terms(
            price_per_second=_amount(row.picodollars_per_second),
            monthly_limit=_amount(row.monthly_limit_picodollars),
            spent=dollars(int(row.spent)),
        ),
    )


def _amount(stored: int | None) -> Decimal | None:
    return None if stored is None else dollars(stored)
