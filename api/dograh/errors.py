"""How dograh's text chat says no: every refusal of this API with the status and the text that its clients know."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api.http.problems import PROBLEM_TYPES, RETRY_AFTER_SECONDS, Problem
from store.database.errors import StoreUnavailable

SESSION_NOT_FOUND: Final = "Text chat session not found"
RUN_NOT_FOUND: Final = "Workflow run not found"
TURN_NOT_FOUND: Final = "Turn not found in text chat session"
ENDED: Final = "Text chat session has ended"
FAILED: Final = "Failed to execute text chat assistant turn"
CONFLICT: Final = "Text chat session revision conflict"

_STATUSES: Final[Mapping[str, int]] = {"session_ended": 400, "model_failed": 500}
"""Where that API has another status than this one."""
_FIXED: Final[Mapping[str, str]] = {"session_ended": ENDED, "model_failed": FAILED}
_RETRIED: Final = frozenset({429, 503})
_DESCRIBED: Final = (
    (400, "The session has ended", ENDED),
    (401, "No valid API key", "Send an API key as `Authorization: Bearer <key>`."),
    (402, "The organization may not spend more", PROBLEM_TYPES["quota_exceeded"].detail),
    (404, "No such agent, session or turn", SESSION_NOT_FOUND),
    (409, "The session has changed", {"message": CONFLICT, "expected_revision": 3, "actual_revision": 5}),
    (422, "A value has the wrong form", [{"type": "missing", "loc": ["body", "text"], "msg": "Field required"}]),
    (500, "The turn failed", FAILED),
    (503, "The store or Temporal cannot be reached", "The store cannot be reached. Nothing was accepted."),
    (504, "The wait ended before the turn did", "The agent has not answered within 60 seconds. The turn goes on."),
)


class Detail(BaseModel):
    """A refusal: a sentence, or what is said about a conflict."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"detail": SESSION_NOT_FOUND}]})

    detail: str | dict[str, Any] | list[Any]


def described(example: object) -> dict[int | str, dict[str, Any]]:
    """The answers of a route for the OpenAPI document."""
    answers: dict[int | str, dict[str, Any]] = {
        status: {"description": says, "content": {"application/json": {"example": {"detail": detail}}}, "model": Detail}
        for status, says, detail in _DESCRIBED
    }
    return {200: {"content": {"application/json": {"example": example}}}, **answers}


def refused(status: int, detail: object, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to a call that is refused."""
    given = dict(headers or {})
    if status in _RETRIED:
        given.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    return Response(to_json({"detail": detail}), status_code=status, headers=given, media_type="application/json")


def of_problem(problem: Problem) -> Response:
    """A problem of this API in the words of that one."""
    status = _STATUSES.get(problem.code, PROBLEM_TYPES[problem.code].status)
    return refused(status, _detail(problem), problem.headers)


class CompatibleRoute(APIRoute):
    """A route whose refusals have the form `{"detail": ...}`; everything behind it raises `Problem` as elsewhere."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler, with its exceptions answered here."""
        answer = super().get_route_handler()

        async def answer_or_refuse(request: Request) -> Response:
            try:
                return await answer(request)
            except Problem as problem:
                return of_problem(problem)
            except RequestValidationError as error:
                return refused(422, jsonable_encoder(error.errors()))
            except HTTPException as error:
                return refused(error.status_code, error.detail, error.headers)
            except StoreUnavailable:
                return refused(503, "The store cannot be reached. Nothing was accepted; try again in a second.")

        return answer_or_refuse


def _detail(problem: Problem) -> object:
    figures = problem.figures
    match problem.code:
        case "revision_conflict":
            return {"message": CONFLICT, **figures}
        case "turn_in_progress":
            return {"message": problem.detail, **figures}
        case "validation_error":
            return [{"type": "value_error", "loc": ["body"], "msg": problem.detail}]
        case "not_found":
            return TURN_NOT_FOUND if "turn_id" in figures else SESSION_NOT_FOUND
        case code:
            return _FIXED.get(code, problem.detail)
