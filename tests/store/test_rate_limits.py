"""Rate limits: exact at any moment, shared by processes, and deleted once they have no effect."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from store.database.connection import Database
from store.database.tables import rate_limits
from store.rate_limits import PURGE_PAUSE, Rate, RateExceeded, RateLimit, RateLimitStore

NOW = datetime(2026, 11, 29, 2, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ADDRESS = RateLimit("openings", "203.0.113.7", Rate(burst=3, interval=SECOND))
OTHER = RateLimit("openings", "203.0.113.8", Rate(burst=3, interval=SECOND))
TOKEN = RateLimit("openings of a token", "emb_1", Rate(burst=5, interval=SECOND))


@pytest.fixture
def limits(database: Database) -> RateLimitStore:
    return RateLimitStore(database)


async def is_refused(limits: RateLimitStore, at: datetime, *wanted: RateLimit) -> timedelta:
    with pytest.raises(RateExceeded) as exceeded:
        await limits.take(wanted, at)
    return exceeded.value.retry_after


async def test_allowance_is_used_up_and_comes_back(limits: RateLimitStore) -> None:
    for _ in range(3):
        await limits.take([ADDRESS], NOW)
    assert await is_refused(limits, NOW, ADDRESS) == SECOND
    assert await is_refused(limits, NOW + SECOND / 4, ADDRESS) == SECOND * 3 / 4
    await limits.take([OTHER], NOW)
    await limits.take([ADDRESS], NOW + SECOND)
    assert await is_refused(limits, NOW + SECOND, ADDRESS) == SECOND
    later = NOW + 60 * SECOND
    for _ in range(3):
        await limits.take([ADDRESS], later)
    assert await is_refused(limits, later, ADDRESS) == SECOND


async def test_nothing_is_taken_when_one_allowance_is_used_up(limits: RateLimitStore) -> None:
    for _ in range(3):
        await limits.take([ADDRESS, TOKEN], NOW)
    for _ in range(10):
        await is_refused(limits, NOW, ADDRESS, TOKEN)
    for _ in range(2):
        await limits.take([OTHER, TOKEN], NOW)
    await is_refused(limits, NOW, OTHER, TOKEN)
    await limits.take([OTHER], NOW)


async def test_processes_share_an_allowance(limits: RateLimitStore, other_process: Database) -> None:
    both = (limits, RateLimitStore(other_process))

    async def take(turn: int) -> bool:
        try:
            await both[turn % 2].take([TOKEN, ADDRESS] if turn % 3 else [ADDRESS, TOKEN], NOW)
        except RateExceeded:
            return False
        return True

    assert sum(await asyncio.gather(*map(take, range(20)))) == 3


async def test_a_clock_that_is_behind_grants_nothing_extra(limits: RateLimitStore, other_process: Database) -> None:
    for _ in range(3):
        await limits.take([ADDRESS], NOW)
    assert await is_refused(RateLimitStore(other_process), NOW - 5 * SECOND, ADDRESS) == 6 * SECOND


async def test_rows_without_effect_are_removed_and_no_subject_is_stored(
    limits: RateLimitStore, database: Database
) -> None:
    async def rows() -> list[str]:
        return await database.read(lambda connection: list(connection.scalars(select(rate_limits.c.key))))

    await limits.take([ADDRESS, OTHER, TOKEN], NOW)
    assert len(await rows()) == 3
    assert not [key for key in await rows() if "203.0.113" in key or "emb_" in key]
    await limits.take([TOKEN], NOW + PURGE_PAUSE)
    assert await rows() == [TOKEN.key]
