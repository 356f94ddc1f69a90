"""Errors in OpenAI's form: those of the error table, and those that only this protocol has."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api.http.body_limit import BodyTooLarge
from api.http.error_handlers import store_unavailable, unreadable_body, validation_problem
from api.http.problems import PROBLEM_TYPES, RETRY_AFTER_SECONDS, Problem
from api.schemas.responses import Turn
from contracts.sessions import CONTEXT_TOO_LONG
from store.database.errors import StoreUnavailable

CONTEXT_LENGTH_EXCEEDED: Final = "context_length_exceeded"
"""OpenAI's code for a request that has no room in the context window of its model."""
SESSION_HEADER: Final = "x-session-id"

_TYPES: Final[Mapping[int, str]] = {401: "authentication_error", 402: "insufficient_quota", 409: "conflict_error"}
_RETRIED: Final = frozenset({429, 503})
_REPEATABLE: Final = frozenset({"turn_in_progress", "revision_conflict", "rate_limited", "queue_full", "unavailable"})
"""Codes of requests that were not accepted: the official clients may retry them by themselves."""
_PERMANENT: Final = frozenset(
    {
        "idempotency_mismatch",
        "superseded",
        "turn_not_pending",
        "approval_not_pending",
        "client_call_not_pending",
    }
)
"""Codes that are 409 elsewhere and that a retry cannot fix: 400 here, because clients retry a 409."""
_BAD_REQUESTS: Final = _PERMANENT | {"validation_error"}
"""Codes that are 400 here. OpenAI answers 400 to a body of the wrong form."""
_DETAILS: Final[Mapping[str, str]] = {
    "turn_in_progress": "The agent is still answering an earlier message of this conversation. Send the request again "
    "in a moment, or choose the effect with `on_busy`.",
    "revision_conflict": "Another request has continued this conversation in the meantime. Nothing was accepted; send "
    "the request again.",
    "idempotency_mismatch": "The Idempotency-Key was already used for another message. Use a new key for a new one.",
    "superseded": "The conversation was changed while the message waited, so it was not answered. Send it again with a "
    "new Idempotency-Key.",
    "session_ended": "The conversation has ended and accepts no more messages. Begin another one.",
    "session_erased": "The conversation that this Idempotency-Key began was erased. Use a new key to begin another.",
    "wait_timeout": "The agent has not answered in time, and goes on. Send the request again with the same "
    "Idempotency-Key to get the reply.",
    "rate_limited": "Too many requests for this conversation are under way. Nothing was accepted; send the request "
    "again in a second.",
}
"""Details in the terms of the protocol, where those of this API name its other routes and fields."""


class ErrorBody(BaseModel):
    """An error. `code` is one of the error table of this API, or one that only these routes use."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorDocument(BaseModel):
    """An error in OpenAI's form."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": {
                        "message": "There is no agent bookng-line in this organization. GET /v1/models lists them.",
                        "type": "invalid_request_error",
                        "param": "model",
                        "code": "model_not_found",
                    }
                }
            ]
        }
    )

    error: ErrorBody


class ChatError(Exception):
    """An error raised below a route of the protocol, and sent as its response."""

    def __init__(self, status: int, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = ErrorBody(message=message, type=_type_of(status), param=param, code=code)
        self.headers: dict[str, str] = {"x-should-retry": "true" if code in _REPEATABLE else "false"}
        if status in _RETRIED:
            self.headers["retry-after"] = str(RETRY_AFTER_SECONDS)

    @classmethod
    def of(cls, problem: Problem) -> "ChatError":
        """A problem of this API as an error of the protocol."""
        if problem.figures.get("reason") == CONTEXT_TOO_LONG:
            return cls(400, CONTEXT_LENGTH_EXCEEDED, problem.detail)
        status = 400 if problem.code in _BAD_REQUESTS else PROBLEM_TYPES[problem.code].status
        error = cls(status, problem.code, _detail(problem), _param(problem))
        error.headers.update(problem.headers)
        return error

    @classmethod
    def of_failed(cls, turn: Turn) -> "ChatError":
        """The error of a turn that failed after its stream had begun."""
        message = turn.error or "The turn failed."
        codes = [event.payload.get("code") for event in turn.events if event.type == "execution_error"]
        if CONTEXT_TOO_LONG in codes:
            return cls(400, CONTEXT_LENGTH_EXCEEDED, message)
        return cls(502, "model_failed", message)

    def about(self, session_id: str) -> "ChatError":
        """The same error with the session id in its headers."""
        self.headers[SESSION_HEADER] = session_id
        return self

    def response(self) -> Response:
        """The error as a response."""
        content = ErrorDocument(error=self.body).model_dump_json()
        return Response(content, status_code=self.status, headers=self.headers, media_type="application/json")

    def document(self) -> bytes:
        """The error as JSON, for an event of a stream that has begun."""
        return to_json(ErrorDocument(error=self.body))


class ChatRoute(APIRoute):
    """A route whose errors have OpenAI's form; the code behind it raises `Problem` as elsewhere."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler with its exceptions turned into responses."""
        handle = super().get_route_handler()

        async def handle_with_errors(request: Request) -> Response:
            try:
                return await handle(request)
            except ChatError as error:
                return error.response()
            except (Problem, RequestValidationError, HTTPException, StoreUnavailable) as error:
                return ChatError.of(_problem_in(error)).response()

        return handle_with_errors


def error_docs(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The errors of a route for the OpenAPI document."""
    docs: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        kind = PROBLEM_TYPES[code]
        error = ChatError.of(Problem(code, kind.detail, **kind.figures))
        entry = docs.setdefault(error.status, {"model": ErrorDocument, "description": "", "content": {}})
        entry["description"] = f"{entry['description']}, {code}" if entry["description"] else code
        example = ErrorDocument(error=error.body).model_dump(mode="json")
        entry["content"].setdefault("application/json", {"examples": {}})["examples"][code] = {"value": example}
    return docs


def _problem_in(error: Problem | RequestValidationError | HTTPException | StoreUnavailable) -> Problem:
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return validation_problem(error)
        case BodyTooLarge():
            return error.problem
        case HTTPException():
            return unreadable_body(str(error.detail))
    return store_unavailable()


def _type_of(status: int) -> str:
    if status >= 500:
        return "server_error"
    if status == 429:
        return "rate_limit_error"
    return _TYPES.get(status, "invalid_request_error")


def _detail(problem: Problem) -> str:
    """The detail of a problem in the terms of the protocol."""
    if problem.code == "unavailable" and "message_id" in problem.detail:
        return (
            "The server was lost while the message was sent, and may have accepted it. Send the request again with the "
            "same Idempotency-Key: the message is never sent twice."
        )
    detail = _DETAILS.get(problem.code, problem.detail)
    return detail.replace(" body.", " ") if problem.code in ("validation_error", "too_large") else detail


def _param(problem: Problem) -> str | None:
    """The path of the invalid value in the form of the protocol: without the prefix `body.`."""
    errors = problem.figures.get("errors")
    if not isinstance(errors, list) or not errors:
        return None
    path = str(errors[0].get("place", ""))
    return path.removeprefix("body.") or None
