"""Limits on rates, held in the store, so that all API processes share them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from sqlalchemy import BigInteger, Connection, bindparam, case, delete, select

from store.database.column_types import CleanText
from store.database.connection import Database
from store.database.tables import rate_limits
from store.database.upsert import insert_statement

PURGE_PAUSE = timedelta(minutes=1)
"""Pause between two removals of expired rows, in each process."""
MAX_PURGED = 1_000
"""Rows that are removed at once."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_KEY = rate_limits.c.key == bindparam("of_key", type_=CleanText())
_USED_UNTIL = select(rate_limits.c.used_until).where(_KEY)
# Rows that are in use are skipped: a purge waits for no one, and cannot be part of a deadlock.
_PURGED = (
    select(rate_limits.c.key)
    .where(rate_limits.c.used_until <= bindparam("now"))
    .order_by(rate_limits.c.used_until)
    .limit(MAX_PURGED)
    .with_for_update(skip_locked=True)
)
_PURGE = delete(rate_limits).where(rate_limits.c.key.in_(_PURGED))


@dataclass(frozen=True, slots=True)
class Rate:
    """An allowance of `burst` at once, of which one comes back every `interval`."""

    burst: int
    interval: timedelta


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A rate for one subject, such as an address. `name` distinguishes the rates of one subject."""

    name: str
    subject: str
    rate: Rate

    @property
    def key(self) -> str:
        """The key in the store: a digest, which does not show the subject."""
        return sha256(f"{self.name}/{self.subject}".encode()).hexdigest()


class RateExceeded(Exception):
    """Raised when an allowance is used up. `retry_after` is the time until there is some again."""

    def __init__(self, limit: RateLimit, retry_after: timedelta) -> None:
        super().__init__(limit.name)
        self.limit = limit
        self.retry_after = retry_after


class RateLimitStore:
    """Takes from allowances, by the generic cell rate algorithm: one number for each subject.

    The caller passes the time, so that it can use a clock of its own.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        insert = insert_statement(database, rate_limits)
        now, interval = bindparam("now", type_=BigInteger()), bindparam("interval", type_=BigInteger())
        used = case((rate_limits.c.used_until > now, rate_limits.c.used_until), else_=now)
        self._take = insert.on_conflict_do_update(
            index_elements=["key"],
            set_={"used_until": used + interval},
            where=rate_limits.c.used_until <= bindparam("latest"),
        )
        self._purged_at: datetime | None = None

    async def take(self, limits: Sequence[RateLimit], at: datetime) -> None:
        """Take one from every allowance, or, if one of them is used up, from none. Raises RateExceeded."""
        now = (at - _EPOCH) // _MICROSECOND
        # In one order, so that transactions that take from the same allowances wait for each other in turn.
        ordered = sorted(limits, key=lambda limit: limit.key)

        def work(connection: Connection) -> None:
            for limit in ordered:
                interval = limit.rate.interval // _MICROSECOND
                latest = now + (limit.rate.burst - 1) * interval
                values = {"key": limit.key, "used_until": now + interval}
                bounds = {"now": now, "interval": interval, "latest": latest}
                if not connection.execute(self._take, {**values, **bounds}).rowcount:
                    used_until = connection.execute(_USED_UNTIL, {"of_key": limit.key}).scalar_one()
                    raise RateExceeded(limit, (used_until - latest) * _MICROSECOND)

        await self._database.write(work)
        await self._purge(at, now)

    async def _purge(self, at: datetime, now: int) -> None:
        if self._purged_at is not None and timedelta(0) <= at - self._purged_at < PURGE_PAUSE:
            return
        self._purged_at = at
        await self._database.write(lambda connection: connection.execute(_PURGE, {"now": now}).close(), autocommit=True)
