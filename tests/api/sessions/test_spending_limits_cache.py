"""The cache of organizations' spending: one second, so that messages do not wait for the store."""

import asyncio
from datetime import date
from decimal import Decimal

import pytest

from api.http.problems import Problem
from api.sessions import spending_limits
from api.sessions.spending_limits import SpendingLimits
from store.organizations import OrganizationStore, Terms

SPENT_ALL = Terms(monthly_limit=Decimal(5), spent=Decimal(5))


class ScriptedTerms(OrganizationStore):
    """A store that answers what the test says, and counts how often it is asked."""

    def __init__(self, *answers: Terms | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, date]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def terms(self, organization_id: str, month: date) -> Terms:
        self.asked.append((organization_id, month))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await self.open.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer


class Clock:
    """A clock that tests advance."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(spending_limits, "monotonic", clock)
    return clock


async def test_a_thousand_messages_of_a_second_ask_the_store_once(clock: Clock) -> None:
    terms_store = ScriptedTerms(Terms(price_per_second=Decimal(1)))
    asked = SpendingLimits(terms_store)
    for _ in range(1000):
        assert (await asked.require("org")).price_per_second == 1
    assert len(terms_store.asked) == 1
    clock.now += spending_limits.CACHE_SECONDS
    await asked.require("org")
    assert len(terms_store.asked) == 2


async def test_while_one_call_reads_the_store_the_others_use_the_cached_terms(clock: Clock) -> None:
    terms_store = ScriptedTerms(Terms(), SPENT_ALL)
    asked = SpendingLimits(terms_store)
    await asked.require("org")
    clock.now += spending_limits.CACHE_SECONDS
    terms_store.open.clear()
    waiting = asyncio.create_task(asked.require("org"))
    await asyncio.sleep(0)
    assert await asked.require("org") == Terms()
    terms_store.open.set()
    with pytest.raises(Problem, match="has spent 5 of the 5 USD"):
        await waiting
    with pytest.raises(Problem):
        await asked.require("org")
    assert len(terms_store.asked) == 2


async def test_a_failed_read_is_raised_and_repeated(clock: Clock) -> None:
    terms_store = ScriptedTerms(Terms(), OSError("away"), SPENT_ALL)
    asked = SpendingLimits(terms_store)
    await asked.require("org")
    clock.now += spending_limits.CACHE_SECONDS
    with pytest.raises(OSError, match="away"):
        await asked.require("org")
    clock.now += spending_limits.CACHE_SECONDS
    with pytest.raises(Problem):
        await asked.require("org")


async def test_a_new_month_is_asked_about_at_once(clock: Clock) -> None:
    today = [date(2026, 12, 31)]
    terms_store = ScriptedTerms(SPENT_ALL, Terms(monthly_limit=Decimal(5)))
    asked = SpendingLimits(terms_store, today=lambda: today[0])
    with pytest.raises(Problem) as refused:
        await asked.require("org")
    assert refused.value.code == "quota_exceeded"
    assert refused.value.figures == {"limit": "5", "spent": "5", "currency": "USD", "month": "2026-12"}
    assert "December 2026" in refused.value.detail
    assert "from 2027-01-01 on" in refused.value.detail
    today[0] = date(2027, 1, 1)
    await asked.require("org")
    assert [month for _, month in terms_store.asked] == [date(2026, 12, 1), date(2027, 1, 1)]


@pytest.mark.parametrize(
    ("limit", "spent", "is_allowed"), [("5", "4.999999999999", True), ("5", "5", False), ("0", "0", False)]
)
async def test_the_limit_is_reached_when_it_is_spent(limit: str, spent: str, is_allowed: bool) -> None:
    asked = SpendingLimits(ScriptedTerms(Terms(monthly_limit=Decimal(limit), spent=Decimal(spent))))
    if is_allowed:
        await asked.require("org")
    else:
        with pytest.raises(Problem):
            await asked.require("org")
