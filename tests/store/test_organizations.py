"""Prices and limits of organizations, exact to the picodollar, and monthly costs from the ledger."""

from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import update

from store.api_keys import KeyStore
from store.database.connection import Database
from store.database.tables import usage_totals
from store.organizations import NewTerms, OrganizationStore, Terms, first_of_next
from store.sessions.settlement import SettlementStore
from store.sessions.steps import StepStore
from tests.support.stored_conversations import ORGANIZATION, conversation, reply, save_step, session_in, settling

MONTH = date(2099, 11, 23)
"""A month long after the day on which the tests run."""


@pytest.fixture
async def organizations(database: Database) -> OrganizationStore:
    await KeyStore(database).ensure_organization(ORGANIZATION, "Trattoria")
    return OrganizationStore(database)


async def spent_on(database: Database, day: date, *costs: Decimal) -> None:
    """Bill turns of these costs today, and move their sum to another day."""
    session_id = f"ses_{day}"
    await session_in(database, session_id)
    for each, cost in zip(conversation(len(costs)), costs, strict=True):
        await save_step(StepStore(database), each.id, session_id=session_id, model_reply=reply(cost=cost))
        await SettlementStore(database).settle(settling(each, session_id=session_id))
    billed_today = update(usage_totals).where(usage_totals.c.day < MONTH.replace(day=1, month=1)).values(day=day)
    await database.write(lambda connection: connection.execute(billed_today).close())


async def test_a_new_organization_has_no_terms(organizations: OrganizationStore) -> None:
    assert await organizations.terms(ORGANIZATION, MONTH) == Terms()
    assert await organizations.terms("org_nobody", MONTH) == Terms()


async def test_only_the_given_terms_are_changed(organizations: OrganizationStore) -> None:
    price, limit = Decimal("0.000000000001"), Decimal("1000000")
    assert await organizations.set_terms(ORGANIZATION, NewTerms(price_per_second=price))
    assert await organizations.set_terms(ORGANIZATION, NewTerms(monthly_limit=limit))
    assert await organizations.terms(ORGANIZATION, MONTH) == Terms(price_per_second=price, monthly_limit=limit)
    assert await organizations.set_terms(ORGANIZATION, NewTerms(price_per_second=None))
    assert await organizations.terms(ORGANIZATION, MONTH) == Terms(monthly_limit=limit)
    [listed] = await organizations.list(MONTH)
    assert (listed.id, listed.name, listed.terms.monthly_limit) == (ORGANIZATION, "Trattoria", limit)


async def test_an_unknown_organization_is_not_made(organizations: OrganizationStore) -> None:
    assert not await organizations.set_terms("org_nobody", NewTerms(monthly_limit=Decimal(1)))
    assert [each.id for each in await organizations.list(MONTH)] == [ORGANIZATION]


@pytest.mark.parametrize("amount", ["-0.01", "1000001", "NaN", "Infinity", "0.0000000000001"])
async def test_an_amount_that_cannot_be_kept_exactly_is_refused(organizations: OrganizationStore, amount: str) -> None:
    for terms in (NewTerms(monthly_limit=Decimal(amount)), NewTerms(price_per_second=Decimal(amount))):
        with pytest.raises(ValueError, match=r"decimals|not between"):
            await organizations.set_terms(ORGANIZATION, terms)
    assert await organizations.terms(ORGANIZATION, MONTH) == Terms()


async def test_the_cost_of_a_month_is_the_sum_of_its_days(database: Database, organizations: OrganizationStore) -> None:
    await spent_on(database, date(2099, 10, 31), Decimal(7))
    await spent_on(database, date(2099, 11, 1), Decimal(1), Decimal(2))
    await spent_on(database, date(2099, 11, 30), Decimal("0.000000000001"))
    await spent_on(database, date(2099, 12, 1), Decimal(9))
    assert (await organizations.terms(ORGANIZATION, MONTH)).spent == Decimal("3.000000000001")
    assert [each.terms.spent for each in await organizations.list(date(2099, 10, 1))] == [Decimal(7)]


@pytest.mark.parametrize(
    ("day", "first"), [("2026-11-01", "2026-12-01"), ("2026-12-31", "2027-01-01"), ("2028-02-29", "2028-03-01")]
)
def test_a_month_ends_with_the_first_of_the_next(day: str, first: str) -> None:
    assert first_of_next(date.fromisoformat(day)) == date.fromisoformat(first)
