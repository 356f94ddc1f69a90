"""Answers written straight from their models, and how they are described in the OpenAPI document."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.responses import Response

from api.http.problems import error_docs, invalid

READ_ERRORS: Final = ("unauthenticated", "validation_error", "unavailable")
"""What can go wrong with every route that reads."""
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
"""What can go wrong with every command to a session."""

Described = dict[int | str, dict[str, Any]]


def json_response(content: BaseModel, *, status: int = 200, location: str | None = None) -> Response:
    """A model as the body of an answer; `location` is where what was made is found."""
    return _json(content.model_dump_json().encode(), status, location)


def page_response(form: type[BaseModel], items: Iterable[object], next_cursor: str | None) -> Response:
    """A page of a list whose items are shown in the given form, read from their attributes."""
    return rendered_page([form.model_validate(item).model_dump_json().encode() for item in items], next_cursor)


def rendered_page(items: Iterable[bytes], next_cursor: str | None) -> Response:
    """A page of a list whose items are JSON already."""
    return _json(b'{"items":[%b],"next_cursor":%b}' % (b",".join(items), to_json(next_cursor)), 200, None)


@contextmanager
def cursor_errors_as_problems() -> Iterator[None]:
    """Around a list of the store: a cursor that it did not give is the caller's mistake."""
    try:
        yield
    except ValidationError:
        raise
    except ValueError as error:
        raise unknown_cursor() from error


def unknown_cursor() -> Exception:
    """The answer to a cursor that no page of this list gave."""
    return invalid(
        "invalid_request",
        "The cursor is not one of this list. Take `next_cursor` of the page before, as it is.",
        [("query.cursor", "is not one of this list")],
    )


def response_docs(
    *errors: str,
    example: Any = None,
    status: int = 200,
    says: str = "As asked",
    also: Described | None = None,
    media_type: str = "application/json",
) -> Described:
    """The answers of a route for the OpenAPI document: what it says when all is well, and its errors."""
    well: Described = {status: {"description": says, "content": {media_type: {"example": example}}}}
    return {**well, **(also or {}), **error_docs(*errors)}


def _json(content: bytes, status: int, location: str | None) -> Response:
    headers = {"Location": location} if location else None
    return Response(content, status_code=status, headers=headers, media_type="application/json")
