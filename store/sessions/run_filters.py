"""Filters and orders of an agent's sessions by the contents of their heads, on SQLite and PostgreSQL."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ColumnElement, Float, Text, UnaryExpression, and_, case, cast, false, func
from sqlalchemy.dialects.postgresql import JSONB

from store.database.tables import sessions

MAX_NUMBER: Final = 1e15
"""Numbers of filters are clamped to this, so that every database can compare them."""


@dataclass(frozen=True, kw_only=True)
class RunFilters:
    """Conditions on sessions, all of which must hold; None means no condition.

    `dispositions` are words for how a session ended. `words` maps completion reasons to their dispositions; for these
    reasons, a disposition in the gathered context takes precedence.
    """

    created_from: datetime | None = None
    created_to: datetime | None = None
    is_completed: bool | None = None
    dispositions: tuple[str, ...] | None = None
    words: Mapping[str, str] | None = None
    min_seconds: float | None = None
    max_seconds: float | None = None
    min_cost: Decimal | None = None
    max_cost: Decimal | None = None

    def conditions(self, *, is_sqlite: bool) -> Iterator[ColumnElement[bool]]:
        """The conditions in SQL."""
        if self.created_from is not None:
            yield sessions.c.created_at >= self.created_from
        if self.created_to is not None:
            yield sessions.c.created_at <= self.created_to
        if self.is_completed is not None:
            yield (sessions.c.status == "completed") == self.is_completed
        if self.dispositions is not None:
            yield self._disposition(is_sqlite).in_(self.dispositions) if self.dispositions else false()
        seconds, cost = duration(is_sqlite=is_sqlite), cast(_text(("cost", "total"), is_sqlite), Float)
        for column, least, most in (
            (seconds, self.min_seconds, self.max_seconds),
            (cost, self.min_cost, self.max_cost),
        ):
            if least is not None:
                yield column >= _bounded(least)
            if most is not None:
                yield column <= _bounded(most)

    def _disposition(self, is_sqlite: bool) -> ColumnElement[str | None]:
        reason = _text(("completion_reason",), is_sqlite)
        learned = func.trim(_text(("gathered_context", "call_disposition"), is_sqlite))
        words = self.words or {}
        own = and_(reason.in_(list(words)), learned != "")
        return case((own, learned), *((reason == each, word) for each, word in words.items()), else_=reason)


def duration(*, is_sqlite: bool) -> ColumnElement[float]:
    """The duration of a session in seconds."""
    return cast(_text(("usage", "duration_seconds"), is_sqlite), Float)


def order(*, by_duration: bool, ascending: bool, is_sqlite: bool) -> tuple[UnaryExpression[Any], ...]:
    """The order of a list: by duration or by creation, and by number where these are equal."""
    columns: tuple[ColumnElement[Any], ...] = (sessions.c.created_at, sessions.c.number)
    if by_duration:
        columns = (duration(is_sqlite=is_sqlite), *columns)
    return tuple(column.asc() if ascending else column.desc() for column in columns)


def _bounded(number: float | Decimal) -> float:
    return max(-MAX_NUMBER, min(MAX_NUMBER, float(number)))


def _text(path: tuple[str, ...], is_sqlite: bool) -> ColumnElement[str]:
    """A part of a head as text."""
    if is_sqlite:
        return cast(func.json_extract(sessions.c.head, "$." + ".".join(path)), Text)
    return func.jsonb_extract_path_text(cast(sessions.c.head, JSONB), *path)
