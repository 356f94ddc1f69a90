"""JSON responses written directly from their models, and their descriptions in the OpenAPI document."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Annotated, Any, Final, Protocol, TypeVar

from fastapi import Header
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.responses import Response

from api.http.problems import error_docs, invalid

MAX_PAGE_BYTES: Final = 4 * 1024 * 1024
"""Bytes of a page after which it ends, whatever its limit: a longer one would block the event loop."""
FIRST_ITEMS: Final = 4
"""Items of a page that are read before their size is known."""

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)


class ListPage(Protocol[Item_co]):
    """Items of a list, and the cursor of the next page."""

    @property
    def items(self) -> Sequence[Item_co]:
        """The items."""
        ...

    @property
    def next_cursor(self) -> str | None:
        """The cursor; None at the end."""
        ...


READ_ERRORS: Final = ("unauthenticated", "validation_error", "unavailable")
"""Errors of every route that reads."""
NOT_MODIFIED: Final["ResponseDocs"] = {304: {"description": "The state is that of `If-None-Match`."}}
IfNoneMatch = Annotated[
    str | None, Header(max_length=1000, description="The `ETag` of an earlier response: 304 while nothing changed.")
]
COMMAND_ERRORS: Final = (
    "invalid_request",
    "unauthenticated",
    "not_found",
    "too_large",
    "unsupported_media_type",
    "validation_error",
    "rate_limited",
    "unavailable",
    "session_stuck",
    "wait_timeout",
)
"""Errors of every route that sends a command to a session."""

ResponseDocs = dict[int | str, dict[str, Any]]


def json_response(content: BaseModel, *, status: int = 200, location: str | None = None) -> Response:
    """A model as a JSON response. `location` is the path of an object that was created."""
    return _json(content.model_dump_json().encode(), status, location)


def rendered_page(items: Iterable[bytes], next_cursor: str | None) -> Response:
    """A page of a list whose items are already encoded as JSON."""
    return _json(b'{"items":[%b],"next_cursor":%b}' % (b",".join(items), to_json(next_cursor)), 200, None)


async def page_within_bytes(
    fetch: Callable[[int, str | None], Awaitable[ListPage[Item]]],
    limit: int,
    cursor: str | None,
    render: Callable[[Item], bytes],
) -> Response:
    """A page of at most `limit` items that ends early when it becomes too large; its cursor continues after it.

    Raises Problem("invalid_request") when the store rejects the cursor.

    Items are read a few at a time, as many as will probably fit. A list that returns fewer than requested, with a
    cursor, has searched enough rows: the page ends there.
    """
    rendered: list[bytes] = []
    size, count = 0, min(limit, FIRST_ITEMS)
    while True:
        asked = count
        with _cursor_errors_as_problems():
            page = await fetch(asked, cursor)
        new = [render(item) for item in page.items]
        rendered += new
        size += sum(map(len, new))
        cursor = page.next_cursor
        room = (MAX_PAGE_BYTES - size) * len(rendered) // max(size, 1)
        count = min(limit - len(rendered), room)
        if cursor is None or count <= 0 or len(new) < asked:
            return rendered_page(rendered, cursor)


def tag_of(content: bytes) -> str:
    """The entity tag of a state: equal for an equal state. It is weak: the time of reading is not part of it."""
    return f'W/"{sha256(content).hexdigest()[:32]}"'


def unless_known(response: Response, if_none_match: str | None, tag: str) -> Response:
    """The response with its tag, or 304 without a body for a client that has this state already."""
    known = {each.strip() for each in (if_none_match or "").split(",")}
    if tag in known or "*" in known:
        response = Response(status_code=304)
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def rendered_as(model: type[BaseModel]) -> Callable[[object], bytes]:
    """Encodes an item as JSON of the given model, by its attributes."""
    return lambda item: model.model_validate(item).model_dump_json().encode()


@contextmanager
def _cursor_errors_as_problems() -> Iterator[None]:
    """Raise Problem("invalid_request") when the store rejects a cursor."""
    try:
        yield
    except ValidationError:
        raise
    except ValueError as error:
        raise unknown_cursor() from error


def unknown_cursor() -> Exception:
    """The problem for a cursor that does not belong to this list."""
    return invalid(
        "invalid_request",
        "The cursor does not belong to this list. Send `next_cursor` of the previous page unchanged.",
        [("query.cursor", "is not one of this list")],
    )


def response_docs(
    *errors: str,
    example: Any = None,
    status: int = 200,
    description: str = "Success",
    also: ResponseDocs | None = None,
    media_type: str = "application/json",
) -> ResponseDocs:
    """The responses of a route for the OpenAPI document: its success response and its errors."""
    success: ResponseDocs = {status: {"description": description, "content": {media_type: {"example": example}}}}
    return {**success, **(also or {}), **error_docs(*errors)}


def _json(content: bytes, status: int, location: str | None) -> Response:
    headers = {"Location": location} if location else None
    return Response(content, status_code=status, headers=headers, media_type="application/json")
