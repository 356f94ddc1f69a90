"""How the protocol says no: every refusal of this API as OpenAI's clients know it, and those that only arise here."""

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
from store.database.errors import StoreUnavailable

SESSION_HEADER: Final = "x-session-id"

_TYPES: Final[Mapping[int, str]] = {401: "authentication_error", 402: "insufficient_quota", 409: "conflict_error"}
_RETRIED: Final = frozenset({429, 503})
_REPEATABLE: Final = frozenset({"turn_in_progress", "rate_limited", "queue_full", "unavailable"})
"""Nothing was accepted: the official clients, which try again by themselves, may."""


class ErrorBody(BaseModel):
    """What went wrong. `code` is that of this API's error table, or one of this protocol's own."""

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
                        "message": "There is no agent bookng-line in this organization.",
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
    """Raised anywhere below a route of the protocol: the request is answered with this error."""

    def __init__(self, status: int, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = ErrorBody(message=message, type=_type_of(status), param=param, code=code)
        self.headers: dict[str, str] = {"x-should-retry": "true" if code in _REPEATABLE else "false"}
        if status in _RETRIED:
            self.headers["retry-after"] = str(RETRY_AFTER_SECONDS)

    @classmethod
    def of(cls, problem: Problem) -> "ChatError":
        """A problem of this API in the words of the protocol."""
        refused = cls(PROBLEM_TYPES[problem.code].status, problem.code, problem.detail, _param(problem))
        refused.headers.update(problem.headers)
        return refused

    def about(self, session_id: str) -> "ChatError":
        """The same error, with the session that it concerns in the headers."""
        self.headers[SESSION_HEADER] = session_id
        return self

    def response(self) -> Response:
        """The answer, ready to be sent."""
        content = ErrorDocument(error=self.body).model_dump_json()
        return Response(content, status_code=self.status, headers=self.headers, media_type="application/json")

    def document(self) -> bytes:
        """The error as it is told within a stream that has begun."""
        return to_json(ErrorDocument(error=self.body))


class ChatRoute(APIRoute):
    """A route whose refusals have OpenAI's form; everything behind it raises `Problem` as elsewhere."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler, with its exceptions answered here."""
        answer = super().get_route_handler()

        async def answer_or_refuse(request: Request) -> Response:
            try:
                return await answer(request)
            except ChatError as refused:
                return refused.response()
            except (Problem, RequestValidationError, HTTPException, StoreUnavailable) as error:
                return ChatError.of(_problem_in(error)).response()

        return answer_or_refuse


def described(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The errors of a route for the OpenAPI document."""
    answers: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        kind = PROBLEM_TYPES[code]
        refused = ChatError.of(Problem(code, kind.detail, **kind.figures))
        answer = answers.setdefault(refused.status, {"model": ErrorDocument, "description": "", "content": {}})
        answer["description"] = f"{answer['description']}, {code}" if answer["description"] else code
        example = ErrorDocument(error=refused.body).model_dump(mode="json")
        answer["content"].setdefault("application/json", {"examples": {}})["examples"][code] = {"value": example}
    return answers


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


def _param(problem: Problem) -> str | None:
    """The place that is at fault, as that protocol writes it: without saying that it is in the body."""
    errors = problem.figures.get("errors")
    if not isinstance(errors, list) or not errors:
        return None
    place = str(errors[0].get("place", ""))
    return place.removeprefix("body.") or None
