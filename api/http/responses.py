"""JSON responses written directly from their models, and their descriptions in the OpenAPI document."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.responses import Response

from api.http.problems import error_docs, invalid

READ_ERRORS: Final = ("unauthenticated", "validation_error", "unavailable")
"""Errors of every route that reads."""
COMMAND_ERRORS: Final = (
    "invalid_request",
    "unauthenticated",
    "not_found",
    "too_large",
    "unsupported_media_type",
    "validation_error",
    "rate_limited",
    "unavailable",
    "wait_timeout",
)
"""Errors of every route that sends a command to a session."""

ResponseDocs = dict[int | str, dict[str, Any]]


def json_response(content: BaseModel, *, status: int = 200, location: str | None = None) -> Response:
    """A model as a JSON response. `location` is the path of an object that was created."""
    return _json(content.model_dump_json().encode(), status, location)


def page_response(model: type[BaseModel], items: Iterable[object], next_cursor: str | None) -> Response:
    """A page of a list. Each item is converted to the given model by its attributes."""
    return rendered_page([model.model_validate(item).model_dump_json().encode() for item in items], next_cursor)


def rendered_page(items: Iterable[bytes], next_cursor: str | None) -> Response:
    """A page of a list whose items are already encoded as JSON."""
    return _json(b'{"items":[%b],"next_cursor":%b}' % (b",".join(items), to_json(next_cursor)), 200, None)


@contextmanager
def cursor_errors_as_problems() -> Iterator[None]:
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
    says: str = "Success",
    also: ResponseDocs | None = None,
    media_type: str = "application/json",
) -> ResponseDocs:
    """The responses of a route for the OpenAPI document: its success response and its errors."""
    success: ResponseDocs = {status: {"description": says, "content": {media_type: {"example": example}}}}
    return {**success, **(also or {}), **error_docs(*errors)}


def _json(content: bytes, status: int, location: str | None) -> Response:
    headers = {"Location": location} if location else None
    return Response(content, status_code=status, headers=headers, media_type="application/json")
