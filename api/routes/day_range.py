"""Ranges of days in a time zone, given by query parameters."""

from datetime import date, datetime, time, timedelta
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from fastapi import Depends, Query

from api.http.problems import invalid

MAX_DAYS: Final = 400
"""Days of one range."""
DEFAULT_DAYS: Final = 30
MIN_YEAR: Final = 2000
MAX_YEAR: Final = 9000


def _zone(
    name: Annotated[str, Query(alias="zone", max_length=64, description="Time zone of the days.")] = "UTC",
) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # no such zone, or a directory of the database
        problem = "is not a time zone; send a name of the IANA database, as Europe/Rome"
        raise invalid("invalid_request", f"The query parameter zone {problem}.", [("query.zone", problem)]) from None


Zone = Annotated[ZoneInfo, Depends(_zone)]


def range_of_days(
    first: date | None, last: date | None, now: datetime, zone: ZoneInfo, *, parameters: tuple[str, str]
) -> tuple[datetime, datetime]:
    """The start of the first day and the start of the day after the last.

    By default the range has the 30 days up to the last day, which is today.

    Raises Problem("invalid_request"), which names the query parameters.
    """
    last = last or max(now.astimezone(zone).date(), first or date.min)
    first = first or max(last, date.min + timedelta(days=DEFAULT_DAYS)) - timedelta(days=DEFAULT_DAYS - 1)
    if not 0 <= (last - first).days < MAX_DAYS or not MIN_YEAR <= first.year <= last.year <= MAX_YEAR:
        name, end = parameters
        problem = f"must be at or before {end}, and a range has at most {MAX_DAYS} days"
        raise invalid("invalid_request", f"The query parameter {name} {problem}.", [(f"query.{name}", problem)])
    begins = datetime.combine(first, time(), zone)
    return begins, datetime.combine(last + timedelta(days=1), time(), zone)
