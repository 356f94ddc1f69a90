"""The sessions whose ledger rows make up a sum of usage."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, exists, func, or_, select
from sqlalchemy.dialects.postgresql import JSONB

from domain.sessions.timeline import Purpose
from store.database.tables import ledger


@dataclass(frozen=True, kw_only=True)
class BilledFilter:
    """The ledger rows from `start` to before `end`, of a model and a purpose where these are given.

    `model` is a model whose tokens were used, or another item of a cost breakdown: `duration`, the price of seconds.
    """

    start: datetime
    end: datetime
    model: str | None = None
    purpose: Purpose | None = None

    def session_ids(self, organization_id: str, *, is_sqlite: bool) -> Select[str]:
        """SQL for the ids of the sessions that these rows belong to. It reads only the rows in the range."""
        found = select(ledger.c.session_id).where(
            ledger.c.organization_id == organization_id,
            ledger.c.created_at >= self.start,
            ledger.c.created_at < self.end,
        )
        if self.purpose is not None:
            found = found.where(ledger.c.purpose == self.purpose)
        if self.model is not None:
            found = found.where(or_(*_with_model(self.model, is_sqlite=is_sqlite)))
        return found.distinct()


def _with_model(model: str, *, is_sqlite: bool) -> tuple[ColumnElement[bool], ...]:
    parts = (ledger.c.usage, "llm"), (ledger.c.cost, "breakdown")
    if not is_sqlite:
        return tuple(func.jsonb_exists(column[name].cast(JSONB), model) for column, name in parts)
    members = (
        func.json_each(column, f"$.{name}").table_valued("key", name=f"{name}_members") for column, name in parts
    )
    return tuple(exists().where(each.c.key == model).select_from(each) for each in members)
