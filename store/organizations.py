"""What organizations pay and may spend: a price for a second, a limit for a month, and what the month has cost."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, TypedDict

from sqlalchemy import Connection, Row, bindparam, func, select, update

from store.billing.money import dollars, picodollars
from store.database.connection import Database
from store.database.tables import organizations, usage_totals

MAX_PRICE = Decimal(1_000)
MAX_LIMIT = Decimal(1_000_000)
"""What it adds up to stays far from what 64 bits hold in picodollars."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What an organization pays for a second, may spend in a month, and has spent in the month asked about, in USD.

    None means that seconds are not charged, and that spending has no limit.
    """

    price_per_second: Decimal | None = None
    monthly_limit: Decimal | None = None
    spent: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization and its terms."""

    id: str
    name: str
    terms: Terms


class NewTerms(TypedDict, total=False):
    """Terms to set. What is not named stays; None takes a price or a limit away."""

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
        """An organization's terms, with what it spent in the month of this day. Nobody knows it: nothing applies."""
        key = {"organization_id": organization_id, **_bounds(month)}
        row = await self._database.read(lambda connection: connection.execute(_ONE, key).one_or_none())
        return _organization(row).terms if row is not None else Terms()

    async def list(self, month: date) -> Organizations:
        """Every organization, with what it spent in the month of this day."""

        def work(connection: Connection) -> Organizations:
            return [_organization(row) for row in connection.execute(_ORGANIZATIONS, _bounds(month))]

        return await self._database.read(work)

    async def set_terms(self, organization_id: str, terms: NewTerms) -> bool:
        """Set what is named. False when there is no such organization.

        Raises ValueError for an amount below zero, above the highest price or limit, or finer than a picodollar.
        """
        statement = update(organizations).where(organizations.c.id == organization_id).values(_columns(terms))
        return await self._database.write(
            lambda connection: connection.execute(statement).rowcount == 1, one_by_one=True
        )


def first_of_next(month: date) -> date:
    """The day on which the month of this day is over."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def _bounds(month: date) -> dict[str, date]:
    return {"first_day": month.replace(day=1), "first_day_after": first_of_next(month)}


def _columns(terms: NewTerms) -> dict[str, int | None]:
    columns = {}
    if "price_per_second" in terms:
        columns["picodollars_per_second"] = _stored(terms["price_per_second"], MAX_PRICE)
    if "monthly_limit" in terms:
        columns["monthly_limit_picodollars"] = _stored(terms["monthly_limit"], MAX_LIMIT)
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
