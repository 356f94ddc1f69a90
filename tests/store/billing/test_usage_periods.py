"""Usage in a range of time: exact, by day in a time zone, agent, model and purpose, within one organization."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import insert

from store.billing.usage_periods import Dimension, PeriodUsage, UsageKey
from store.database.connection import Database
from store.database.tables import ledger
from tests.support.stored_conversations import ORGANIZATION, agent_in, ledger_row

ROME = ZoneInfo("Europe/Rome")
KATHMANDU = ZoneInfo("Asia/Kathmandu")
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
BY_MODEL: tuple[Dimension, ...] = ("model",)
BY_DAY: tuple[Dimension, ...] = ("day",)
BY_ALL: tuple[Dimension, ...] = ("day", "agent", "model", "purpose")
SMALL, LARGE = "openai:small", "openai:large"


async def test_sums_are_exact_and_divided_by_every_dimension(database: Database) -> None:
    await agent_in(database)
    unpriced = {"currency": "USD", "breakdown": {}, "unpriced_models": [LARGE], "total": "0"}
    rows = [
        ledger_row(1, NOON, {SMALL: "0.100000000001", "duration": "2"}),
        ledger_row(2, NOON, {SMALL: "8999.999999999999", LARGE: "0.2"}),
        ledger_row(3, NOON, {SMALL: "0.3"}, purpose="judge", agent_id="agt_2"),
        ledger_row(4, NOON + timedelta(days=1), {LARGE: "0"}, cost=unpriced),
        ledger_row(5, NOON, {SMALL: "77"}, organization_id="org_other"),
        ledger_row(6, NOON - timedelta(days=9), {SMALL: "77"}),
    ]
    await database.write(lambda connection: connection.execute(insert(ledger), rows).close())
    usage = PeriodUsage(database)
    start, end = NOON - timedelta(days=1), NOON + timedelta(days=2)
    total = (await usage.sums(ORGANIZATION, start, end, (), ROME))[UsageKey()]
    assert total.turns == 3, "a verdict is no turn"
    assert total.cost.breakdown == {
        "duration": Decimal(2),
        LARGE: Decimal("0.2"),
        SMALL: Decimal("9000.400000000000"),
    }
    assert total.cost.total == sum(total.cost.breakdown.values())
    assert total.cost.unpriced_models == (LARGE,)
    assert (total.usage.duration_seconds, total.usage.model_seconds) == (5.0, 2.0)
    assert total.usage.llm[SMALL].total_tokens == 45
    assert total.usage.llm[LARGE].requests == 2

    by_model = await usage.sums(ORGANIZATION, start, end, BY_MODEL, ROME)
    assert {key.model: (found.turns, found.cost.total) for key, found in by_model.items()} == {
        SMALL: (2, Decimal("9000.4")),
        LARGE: (2, Decimal("0.2")),
        "duration": (0, Decimal(2)),
    }
    by_all = await usage.sums(ORGANIZATION, start, end, BY_ALL, ROME)
    assert by_all[UsageKey(date(2026, 11, 23), "agt_2", SMALL, "judge")].cost.total == Decimal("0.3")
    assert by_all[UsageKey(date(2026, 11, 24), "agt_1", LARGE, "turn")].cost.unpriced_models == (LARGE,)
    assert sum(found.cost.total for found in by_all.values()) == total.cost.total
    assert await usage.sums(ORGANIZATION, end, end + timedelta(days=1), (), ROME) == {}


async def test_days_are_those_of_the_time_zone(database: Database) -> None:
    await agent_in(database)
    late = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)
    early = datetime(2026, 11, 23, 18, 14, 59, tzinfo=UTC)
    rows = [
        ledger_row(1, late, {SMALL: "1"}),
        ledger_row(2, early, {SMALL: "2"}),
        ledger_row(3, early + timedelta(seconds=1), {SMALL: "4"}),
    ]
    await database.write(lambda connection: connection.execute(insert(ledger), rows).close())
    usage = PeriodUsage(database)

    async def days(zone: ZoneInfo) -> dict[date | None, Decimal]:
        sums = await usage.sums(ORGANIZATION, NOON, NOON + timedelta(days=2), BY_DAY, zone)
        return {key.day: found.cost.total for key, found in sums.items()}

    assert await days(ZoneInfo("UTC")) == {date(2026, 11, 23): Decimal(7)}
    assert await days(ROME) == {date(2026, 11, 23): Decimal(6), date(2026, 11, 24): Decimal(1)}
    assert await days(KATHMANDU) == {date(2026, 11, 23): Decimal(2), date(2026, 11, 24): Decimal(5)}, "by quarters"
