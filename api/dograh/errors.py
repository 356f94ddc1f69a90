"""Errors of dograh's text chat: errors of this API with the statuses and texts that its clients expect."""

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticSerializationError, to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api.http.problems import PROBLEM_TYPES, RETRY_AFTER_SECONDS, Problem
from api.http.sse import EVENT_STREAM
from store.database.errors import StoreUnavailable

SESSION_NOT_FOUND: Final = "Text chat session not found"
RUN_NOT_FOUND: Final = "Workflow run not found"
TURN_NOT_FOUND: Final = "Turn not found in text chat session"
ENDED: Final = "Text chat session has ended"
FAILED: Final = "Failed to execute text chat assistant turn"
BUSY: Final = "Text chat session is answering another message; wait for its reply, then send yours"
CONFLICT: Final = "Text chat session revision conflict"

STREAMED: Final = (
    "`turn_started`, then `reply_delta` (text added), `reply_reset` (the text so far, in place of what was sent) and "
    "`event`; at the end `session`, the answer of the plain route, or `error` with its `detail` and `status_code`."
)
STREAM_EXAMPLE: Final = (
    'event: turn_started\ndata: {"turn_id":"turn_0b1c2d3e4f50","created_at":"2026-11-23T18:00:00+00:00"}\n\n'
    'event: reply_delta\ndata: {"turn_id":"turn_0b1c2d3e4f50","text":"Hello"}\n\n'
)
_STATUSES: Final[Mapping[str, int]] = {"session_ended": 400, "model_failed": 500}
"""Codes that have another status in that API."""
_FIXED: Final[Mapping[str, str]] = {"session_ended": ENDED}
_RETRIED: Final = frozenset({429, 503})
_DESCRIBED: Final = (
    (400, "The session has ended", ENDED),
    (401, "No valid API key", "Send an API key as `Authorization: Bearer <key>`."),
    (402, "The organization may not spend more", PROBLEM_TYPES["quota_exceeded"].detail),
    (404, "No such agent, session or turn", SESSION_NOT_FOUND),
    (409, "The session has changed", {"message": CONFLICT, "expected_revision": 3, "actual_revision": 5}),
    (422, "A value has the wrong form", [{"type": "missing", "loc": ["body", "text"], "msg": "Field required"}]),
    (500, "The turn failed", f"{FAILED}: The provider rejected the request."),
    (503, "The store or Temporal cannot be reached", "The store cannot be reached. Nothing was accepted."),
    (504, "The wait ended before the turn did", "The agent has not answered within 60 seconds. The turn goes on."),
)


class Detail(BaseModel):
    """An error: a sentence, or the members of a conflict."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"detail": SESSION_NOT_FOUND}]})

    detail: str | dict[str, Any] | list[Any]


def response_docs(example: object) -> dict[int | str, dict[str, Any]]:
    """The responses of a route for the OpenAPI document."""
    docs: dict[int | str, dict[str, Any]] = {
        status: {
            "description": description,
            "content": {"application/json": {"example": {"detail": detail}}},
            "model": Detail,
        }
        for status, description, detail in _DESCRIBED
    }
    return {200: {"content": {"application/json": {"example": example}}}, **docs}


def stream_docs() -> dict[int | str, dict[str, Any]]:
    """The responses of a streaming route for the OpenAPI document."""
    return {
        **response_docs(None),
        200: {"description": STREAMED, "content": {EVENT_STREAM: {"example": STREAM_EXAMPLE}}},
    }


def error_response(status: int, detail: object, headers: Mapping[str, str] | None = None) -> Response:
    """An error as a response."""
    given = dict(headers or {})
    if status in _RETRIED:
        given.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    return Response(_json({"detail": detail}), status_code=status, headers=given, media_type="application/json")


def _json(content: object) -> bytes:
    """JSON, also of values that cannot be stored: errors of that API repeat the value that was sent."""
    try:
        return to_json(content)
    except PydanticSerializationError:
        return json.dumps(content).encode()


def problem_response(problem: Problem) -> Response:
    """A problem of this API as a response in dograh's form."""
    status = _STATUSES.get(problem.code, PROBLEM_TYPES[problem.code].status)
    return error_response(status, _detail(problem), problem.headers)


class DograhRoute(APIRoute):
    """A route whose errors have the form `{"detail": ...}`; the code behind it raises `Problem` as elsewhere."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler with its exceptions turned into responses."""
        handle = super().get_route_handler()

        async def handle_with_errors(request: Request) -> Response:
            try:
                return await handle(request)
            except Problem as problem:
                return problem_response(problem)
            except RequestValidationError as error:
                return error_response(422, jsonable_encoder(error.errors()))
            except HTTPException as error:
                return error_response(error.status_code, error.detail, error.headers)
            except StoreUnavailable:
                return error_response(503, "The store cannot be reached. Nothing was accepted; try again in a second.")

        return handle_with_errors


def failed(cause: str | None) -> str:
    """The detail of a failed turn, with its cause."""
    return f"{FAILED}: {cause}" if cause else FAILED


def _detail(problem: Problem) -> object:
    figures = problem.figures
    match problem.code:
        case "revision_conflict":
            return {"message": CONFLICT, **figures}
        case "turn_in_progress":
            return {"message": BUSY, **figures}
        case "model_failed":
            return failed(problem.detail)
        case "validation_error":
            return [{"type": "value_error", "loc": ["body"], "msg": problem.detail}]
        case "not_found":
            return TURN_NOT_FOUND if "turn_id" in figures else SESSION_NOT_FOUND
        case code:
            return _FIXED.get(code, problem.detail)
