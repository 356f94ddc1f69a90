"""Usage of a range of time by day, agent, model and purpose, added up from the ledger in the database.

Each query reads the ledger's rows in the range; there are no stored sums. Amounts are added as whole picodollars.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, RowMapping, TextClause, bindparam, select, text

from domain.sessions.timeline import Purpose
from domain.usage import Cost, ModelUsage, Usage
from store.billing.money import dollars
from store.database.column_types import UtcDateTime
from store.database.connection import Database
from store.database.tables import agents

Dimension = Literal["day", "agent", "model", "purpose"]
BUCKET_SECONDS = 900
"""Seconds of the periods that make up a day: in every time zone, days begin on a quarter of an hour."""

_TOKENS = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)
_FIGURES = (*_TOKENS, "requests")
_PLAIN = {"day": "{bucket}", "agent": "ledger.agent_id", "purpose": "ledger.purpose"}
_RANGE = "ledger.organization_id = :organization_id AND ledger.created_at >= :start AND ledger.created_at < :end"

_PLACE = "instr(each.value || '.', '.')"
_PICODOLLARS_IN_SQLITE = (
    f"(CAST(substr(each.value, 1, {_PLACE} - 1) AS INTEGER) * 1000000000000"
    f" + CAST(substr(substr(each.value, {_PLACE} + 1) || '000000000000', 1, 12) AS INTEGER))"
)
"""The digits before and after the point, as integers: SQLite would read the text as an inexact float."""


class UsageKey(NamedTuple):
    """The key of a row of usage: None for each dimension by which the usage is not divided."""

    day: date | None = None
    agent_id: str | None = None
    model: str | None = None
    purpose: Purpose | None = None


@dataclass
class UsageSum:
    """Usage and cost of one key. `turns` counts turns; a turn that used several models counts for each of them."""

    turns: int = 0
    milliseconds: int = 0
    model_milliseconds: int = 0
    llm: dict[str, ModelUsage] = field(default_factory=dict)
    picodollars: dict[str, int] = field(default_factory=dict)
    unpriced: set[str] = field(default_factory=set)

    @property
    def usage(self) -> Usage:
        return Usage(
            llm=dict(sorted(self.llm.items())),
            duration_seconds=self.milliseconds / 1000,
            model_seconds=self.model_milliseconds / 1000,
        )

    @property
    def cost(self) -> Cost:
        breakdown = {item: dollars(amount) for item, amount in sorted(self.picodollars.items())}
        return Cost(
            total=sum(breakdown.values(), Decimal(0)),
            breakdown=breakdown,
            unpriced_models=tuple(sorted(self.unpriced)),
        )


class _Sums:
    """Sums that are put together from the rows of several queries, whose columns are the dimensions and figures."""

    def __init__(self, zone: ZoneInfo, *, by_model: bool) -> None:
        self._zone = zone
        self._by_model = by_model
        self.found: dict[UsageKey, UsageSum] = {}

    def of(self, row: RowMapping) -> UsageSum:
        """The sum that a row counts to."""
        bucket = row.get("day")
        key = UsageKey(
            day=None if bucket is None else self._day_of(int(bucket)),
            agent_id=row.get("agent"),
            model=row["model"] if self._by_model else None,
            purpose=row.get("purpose"),
        )
        return self.found.setdefault(key, UsageSum())

    def add_totals(self, row: RowMapping) -> None:
        """Count turns and seconds, which belong to no model. Without rows the database gives empty sums."""
        if not self._by_model and row["turns"] is not None and row["milliseconds"] is not None:
            found = self.of(row)
            found.turns += int(row["turns"])
            found.milliseconds += int(row["milliseconds"])
            found.model_milliseconds += int(row["model_milliseconds"])

    def add_tokens(self, row: RowMapping) -> None:
        """Count the tokens of a model."""
        found, model = self.of(row), row["model"]
        used = ModelUsage(**{name: int(row[name]) for name in _FIGURES})
        found.llm[model] = found.llm.get(model, ModelUsage()) + used
        found.turns += int(row["turns"]) if self._by_model else 0

    def add_amount(self, row: RowMapping) -> None:
        """Count the cost of a model, or that of seconds."""
        found, item = self.of(row), row["model"]
        found.picodollars[item] = found.picodollars.get(item, 0) + int(row["amount"])

    def _day_of(self, bucket: int) -> date:
        return datetime.fromtimestamp(bucket * BUCKET_SECONDS, UTC).astimezone(self._zone).date()


class PeriodUsage:
    """Adds up the ledger of an organization over a range of time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_sqlite = database.is_sqlite

    async def sums(
        self, organization_id: str, start: datetime, end: datetime, by: Collection[Dimension], zone: ZoneInfo
    ) -> dict[UsageKey, UsageSum]:
        """The usage from `start` to before `end`, divided by these dimensions. Days are those of the time zone."""
        values = {"organization_id": organization_id, "start": start, "end": end}
        plain = tuple(each for each in _PLAIN if each in by)

        def work(connection: Connection) -> dict[UsageKey, UsageSum]:
            sums = _Sums(zone, by_model="model" in by)
            for row in connection.execute(self._totals(plain), values).mappings():
                sums.add_totals(row)
            for row in connection.execute(self._tokens(plain), values).mappings():
                sums.add_tokens(row)
            for row in connection.execute(self._amounts(plain), values).mappings():
                sums.add_amount(row)
            for row in connection.execute(self._unpriced(plain), values).mappings():
                sums.of(row).unpriced.add(row["model"])
            return sums.found

        return await self._database.read(work)

    async def agent_names(self, organization_id: str, agent_ids: Iterable[str]) -> dict[str, str]:
        """The names of agents by their ids."""
        statement = select(agents.c.id, agents.c.name).where(
            agents.c.organization_id == organization_id, agents.c.id.in_(sorted(agent_ids))
        )
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return {row.id: row.name for row in rows}

    def _totals(self, plain: Collection[str]) -> TextClause:
        seconds = (
            ("json_extract(ledger.usage, '$.duration_seconds')", "json_extract(ledger.usage, '$.model_seconds')")
            if self._is_sqlite
            else ("(ledger.usage->>'duration_seconds')::numeric", "(ledger.usage->>'model_seconds')::numeric")
        )
        figures = (
            "count(*) FILTER (WHERE ledger.purpose = 'turn') AS turns",
            f"sum(round(coalesce({seconds[0]}, 0) * 1000)) AS milliseconds",
            f"sum(round(coalesce({seconds[1]}, 0) * 1000)) AS model_milliseconds",
        )
        return self._grouped(plain, figures, "ledger")

    def _tokens(self, plain: Collection[str]) -> TextClause:
        figures = (
            "count(*) FILTER (WHERE ledger.purpose = 'turn') AS turns",
            *(f"sum(coalesce({self._member('each.value', name)}, 0)) AS {name}" for name in _FIGURES),
        )
        each = (
            "json_each(ledger.usage, '$.llm') AS each" if self._is_sqlite else "jsonb_each(ledger.usage->'llm') AS each"
        )
        return self._grouped(plain, figures, f"ledger, {each}", model="each.key")

    def _amounts(self, plain: Collection[str]) -> TextClause:
        """Decimals in strings as picodollars: exact, as amounts have at most twelve places."""
        amount, each = (
            (_PICODOLLARS_IN_SQLITE, "json_each(ledger.cost, '$.breakdown') AS each")
            if self._is_sqlite
            else ("round(each.value::numeric * 1000000000000)", "jsonb_each_text(ledger.cost->'breakdown') AS each")
        )
        return self._grouped(plain, (f"sum({amount}) AS amount",), f"ledger, {each}", model="each.key")

    def _unpriced(self, plain: Collection[str]) -> TextClause:
        each = (
            "json_each(ledger.cost, '$.unpriced_models') AS each"
            if self._is_sqlite
            else "jsonb_array_elements_text(ledger.cost->'unpriced_models') AS each(value)"
        )
        return self._grouped(plain, (), f"ledger, {each}", model="each.value")

    def _member(self, value: str, name: str) -> str:
        return f"json_extract({value}, '$.{name}')" if self._is_sqlite else f"({value}->>'{name}')::bigint"

    def _grouped(
        self, plain: Collection[str], figures: Iterable[str], source: str, model: str | None = None
    ) -> TextClause:
        """A query of figures over the range, by the plain dimensions and the model. No part comes from a request."""
        bucket = (
            f"CAST(strftime('%s', ledger.created_at) AS INTEGER) / {BUCKET_SECONDS}"
            if self._is_sqlite
            else f"floor(extract(epoch FROM ledger.created_at) / {BUCKET_SECONDS})"
        )
        keys = {name: _PLAIN[name].format(bucket=bucket) for name in plain} | ({"model": model} if model else {})
        columns = [f"{expression} AS {name}" for name, expression in keys.items()]
        grouped = f" GROUP BY {', '.join(keys.values())}" if keys else ""
        statement = f"SELECT {', '.join((*columns, *figures))} FROM {source} WHERE {_RANGE}{grouped}"
        return text(statement).bindparams(
            bindparam("start", type_=UtcDateTime()), bindparam("end", type_=UtcDateTime())
        )
