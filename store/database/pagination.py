"""Pages of long lists, with opaque cursors."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

Item = TypeVar("Item")

Key = tuple[int] | tuple[datetime, int]
"""Sort key of a list: the number of a row, or a time and the number."""

_NUMBERS_END = 2**63
_INVALID_CURSOR = "the cursor is not valid for this list; leave it out to start at the first page"


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Some items of a list, and the cursor of the next page; None on the last page."""

    items: tuple[Item, ...]
    next_cursor: str | None


def page_of(rows: Sequence[Item], limit: int, key: Callable[[Item], Key]) -> Page[Item]:
    """A page from up to `limit + 1` items. An item beyond the limit only shows that there is a next page."""
    items = tuple(rows[:limit])
    more = len(rows) > limit
    return Page(items=items, next_cursor=_encode(key(items[-1])) if more else None)


def cursor_at(key: Key) -> str:
    """The cursor of the page that begins after an item with this key."""
    return _encode(key)


def number_after(cursor: str) -> int:
    """The row number in a cursor. Raises ValueError for an invalid cursor."""
    match _decode(cursor):
        case [int(number)] if _is_row_number(number):
            return number
    raise ValueError(_INVALID_CURSOR)


def moment_and_number_after(cursor: str) -> tuple[datetime, int]:
    """The time and row number in a cursor. Raises ValueError for an invalid cursor."""
    match _decode(cursor):
        case [str(text), int(number)] if _is_row_number(number):
            return _moment(text), number
    raise ValueError(_INVALID_CURSOR)


def _is_row_number(number: int) -> bool:
    """True for a number that a row can have; in Python a bool is an int as well."""
    return not isinstance(number, bool) and 0 <= number < _NUMBERS_END


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(_INVALID_CURSOR) from error
    if moment.tzinfo is None:
        raise ValueError(_INVALID_CURSOR)
    return moment


def _encode(key: Key) -> str:
    parts = [part.isoformat() if isinstance(part, datetime) else part for part in key]
    return urlsafe_b64encode(json.dumps(parts, separators=(",", ":")).encode()).decode().rstrip("=")


def _decode(cursor: str) -> object:
    """The JSON in a cursor. Raises ValueError for anything else."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        return json.loads(urlsafe_b64decode(padded))
    except (ValueError, RecursionError) as error:
        raise ValueError(_INVALID_CURSOR) from error
