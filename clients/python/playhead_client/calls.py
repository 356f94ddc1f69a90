"""Calls of the API as values: the request, the reader of its response, and whether it may be sent twice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import quote
from uuid import uuid4

from pydantic import BaseModel, JsonValue, TypeAdapter
from pydantic_core import to_json

Result = TypeVar("Result")
Model = TypeVar("Model", bound=BaseModel)
Item = TypeVar("Item")
Value = TypeVar("Value")

MAX_PAGE_ITEMS = 100
"""Items that are requested at a time."""


@dataclass(frozen=True)
class Call(Generic[Result]):
    """One request, and the reader of its response.

    A `repeatable` call has no further effect when it is executed twice. `read` raises ValueError when the response is
    not one of the API.
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
    """Some items of a list, and the cursor of the next page."""

    items: list[Item]
    next_cursor: str | None


@dataclass(frozen=True)
class Listing(Generic[Item]):
    """A list that is read page by page: `limit` items of it, or all. `reversed` turns the order within each page."""

    path: str
    item: type[Item]
    query: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    reversed: bool = False

    def page(self, cursor: str | None, already: int) -> Call[Page[Item]] | None:
        """The call for the next page; None when `already` items are enough."""
        left = MAX_PAGE_ITEMS if self.limit is None else min(self.limit - already, MAX_PAGE_ITEMS)
        if left <= 0:
            return None
        query = {**self.query, "limit": str(left), **({"cursor": cursor} if cursor else {})}
        return Call("GET", self.path, self._read, query=query, repeatable=True)

    def _read(self, content: bytes) -> Page[Item]:
        form: TypeAdapter[Page[Item]] = TypeAdapter(Page[self.item])  # type: ignore[name-defined]  # made at run time
        page = form.validate_json(content)
        return Page(page.items[::-1], page.next_cursor) if self.reversed else page


def get(path: str, model: type[Model], *, query: Mapping[str, str] | None = None) -> Call[Model]:
    """A call that reads a value."""
    return Call("GET", path, model.model_validate_json, query=query or {}, repeatable=True)


def post(
    path: str,
    model: type[Model],
    body: Mapping[str, JsonValue],
    *,
    method: str = "POST",
    query: Mapping[str, str] | None = None,
    key: str | None = None,
    repeatable: bool = False,
) -> Call[Model]:
    """A call that changes something. With an idempotency `key` it is repeatable."""
    headers = {"Content-Type": "application/json", **keyed(key)}
    return Call(
        method, path, model.model_validate_json, query or {}, to_json(body), headers, repeatable or key is not None
    )


def keyed(key: str | None) -> dict[str, str]:
    """The header with an idempotency key."""
    return {} if key is None else {"Idempotency-Key": key}


def path_of(*parts: str) -> str:
    """A path of the API; each part may contain any character."""
    return "/".join(("/v1", *(quote(part, safe="") for part in parts)))


def given(**values: Value | None) -> dict[str, Value]:
    """The values that are not None, by name."""
    return {name: value for name, value in values.items() if value is not None}


def nothing(content: bytes) -> None:
    """The result of a response without content."""
    if content:
        raise ValueError("the response has content")


def new_id(prefix: str) -> str:
    """A random id by which the API recognises repeats."""
    return f"{prefix}_{uuid4().hex}"


def document(value: Mapping[str, JsonValue] | str | bytes, written: str) -> tuple[bytes, dict[str, str]]:
    """A definition as the content of a request, and its Content-Type: an object, or text `written` as YAML or JSON."""
    if isinstance(value, Mapping):
        return to_json(value), {"Content-Type": "application/json"}
    content = value.encode() if isinstance(value, str) else value
    return content, {"Content-Type": f"application/{written}"}
