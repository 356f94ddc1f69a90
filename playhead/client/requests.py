"""A call of the API as a value: what is sent, how the answer is read, and whether it may be sent twice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import quote

from pydantic import JsonValue, TypeAdapter
from pydantic_core import to_json

Result = TypeVar("Result")
Item = TypeVar("Item")
Value = TypeVar("Value")

PAGE_ITEMS = 100
"""Items that are asked for at a time."""


@dataclass(frozen=True)
class Call(Generic[Result]):
    """One request, and how its answer becomes a result.

    A `repeatable` call does nothing more when it is carried out a second time. `read` raises ValueError when the answer
    is not what the API gives.
    """

    method: str
    path: str
    read: Callable[[bytes], Result]
    query: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = False


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Some items of a list, and where the next ones are."""

    items: list[Item]
    next_cursor: str | None


@dataclass(frozen=True)
class Listing(Generic[Item]):
    """A list that is read page by page, `limit` items of it or all. Each page can be `reversed` as it is read."""

    path: str
    item: type[Item]
    query: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    reversed: bool = False

    def page(self, cursor: str | None, already: int) -> Call[Page[Item]] | None:
        """The call for the next page; none when there are enough items `already`."""
        left = PAGE_ITEMS if self.limit is None else min(self.limit - already, PAGE_ITEMS)
        if left <= 0:
            return None
        query = {**self.query, "limit": str(left), **({"cursor": cursor} if cursor else {})}
        return get(self.path, self._read, query=query)

    def _read(self, content: bytes) -> Page[Item]:
        form: TypeAdapter[Page[Item]] = TypeAdapter(Page[self.item])  # type: ignore[name-defined]  # made at run time
        page = form.validate_json(content)
        return Page(page.items[::-1], page.next_cursor) if self.reversed else page


def get(path: str, read: Callable[[bytes], Result], *, query: Mapping[str, str] | None = None) -> Call[Result]:
    """A call that only looks."""
    return Call("GET", path, read, query=query or {}, repeatable=True)


def post(
    path: str,
    read: Callable[[bytes], Result],
    body: Mapping[str, JsonValue],
    *,
    query: Mapping[str, str] | None = None,
    repeatable: bool = False,
) -> Call[Result]:
    """A call that says or changes something."""
    return Call("POST", path, read, query or {}, to_json(body), {"Content-Type": "application/json"}, repeatable)


def quoted(part: str) -> str:
    """A part of a path, whatever it holds."""
    return quote(part, safe="")


def given(**values: Value | None) -> dict[str, Value]:
    """Those of the values that are not None, by their names."""
    return {name: value for name, value in values.items() if value is not None}
