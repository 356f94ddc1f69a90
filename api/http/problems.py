"""The error table: every error of the API as problem+json, with a stable code, a status and further members."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from domain.rejections import Rejection, RejectionCode

MEDIA_TYPE: Final = "application/problem+json"
PROBLEM_FORM: Final = "playhead.problem_form"
"""The entry of a request's scope with the function that renders its errors, for protocols with their own format."""
RETRY_AFTER_SECONDS: Final = 1
"""`Retry-After` of the errors in `_RETRIED`. Queues advance and services are checked every second."""


@dataclass(frozen=True)
class ProblemType:
    """A row of the error table. `figures` are examples of the further members of this code."""

    status: int
    title: str
    detail: str
    figures: Mapping[str, object]


_ERRORS: Final = {"errors": [{"place": "body.text", "message": "is required"}]}
_TURN: Final = "turn_5f0c2a9e41b7"

PROBLEM_TYPES: Final[Mapping[str, ProblemType]] = {
    "invalid_request": ProblemType(
        400,
        "Invalid request",
        "The body is not valid JSON: line 1, column 10: Expecting value.",
        {"errors": [{"place": "body", "message": "line 1, column 10: Expecting value"}]},
    ),
    "invalid_agent": ProblemType(
        400,
        "The agent definition has errors",
        "The agent definition has 1 error. Nothing was stored.",
        {
            "errors": [
                {"place": "nodes.greet.transitions[0].to", "message": 'no node "bookng"; did you mean "booking"?'}
            ]
        },
    ),
    "invalid_suite": ProblemType(
        400,
        "The suite has errors",
        "The suite has 1 error. Nothing was started.",
        {
            "errors": [
                {
                    "place": "scenarios[0].checks.must_visit[0]",
                    "message": 'the agent has no node "bookng"; did you mean "booking"?',
                }
            ]
        },
    ),
    "invalid_document": ProblemType(
        400,
        "The document cannot be read",
        "The document menu.pdf is encrypted; save it without a password. Nothing was stored.",
        {"reason": "encrypted"},
    ),
    "unauthenticated": ProblemType(
        401,
        "No valid API key",
        "Send an API key as `Authorization: Bearer <key>`. Keys are made with `playhead keys create`.",
        {},
    ),
    "quota_exceeded": ProblemType(
        402,
        "Spending limit reached",
        "The organization has spent 25.0017 of the 25 USD that it may spend in November 2026. Nothing was accepted. "
        "It may spend again from 2026-12-01 on, or when its limit is raised.",
        {"limit": "25", "spent": "25.0017", "currency": "USD", "month": "2026-11"},
    ),
    "not_found": ProblemType(404, "Not found", "There is no session ses_0a1b2c3d4e5f in this organization.", {}),
    "method_not_allowed": ProblemType(405, "Method not allowed", "This route does not support DELETE.", {}),
    "revision_conflict": ProblemType(
        409,
        "The session has changed",
        "The session is at revision 5, not 3: it was changed in the meantime. Read it again, then send the command "
        "again.",
        {"expected_revision": 3, "actual_revision": 5},
    ),
    "turn_in_progress": ProblemType(
        409,
        "The agent is still answering",
        "The agent is still answering. Wait for the reply, or send with on_busy=enqueue.",
        {"turn_id": _TURN},
    ),
    "idempotency_mismatch": ProblemType(
        409,
        "The key was used for something else",
        "The message id m-1 was already used for another text. Use a new id for a new message.",
        {"turn_id": _TURN},
    ),
    "superseded": ProblemType(
        409,
        "Message superseded by a rewind",
        "The message waited for its turn when the session was rewound, and was not answered.",
        {},
    ),
    "approval_not_pending": ProblemType(
        409,
        "No such pending approval",
        "No tool call of this id is waiting for approval: it was decided, has expired or does not exist.",
        {"call_id": "turn_1b2c3d4e5f60.1.0.call_7"},
    ),
    "client_call_not_pending": ProblemType(
        409,
        "No such pending call of a client tool",
        "No tool call of this id is waiting for its client: it has expired, its reply was stopped, or it does not "
        "exist.",
        {"call_id": "call_0a1b2c3d4e5f_1b2c3d4e5f60_1_0_9f86d081884c"},
    ),
    "turn_not_pending": ProblemType(
        409,
        "No reply is pending",
        "No reply is pending: there is nothing to cancel.",
        {},
    ),
    "too_many_documents": ProblemType(
        409,
        "Too many documents",
        "The organization would have 1,001 documents; at most 1,000 are allowed. Delete documents that no agent needs.",
        {"limit": 1_000, "actual": 1_001},
    ),
    "agent_in_use": ProblemType(
        409,
        "The agent has sessions or suites",
        "The agent booking-line has sessions, which show its definition. Nothing was deleted; erase them first.",
        {"objects": "sessions"},
    ),
    "session_ended": ProblemType(
        410, "The session has ended", "The session has ended and accepts no more commands.", {}
    ),
    "session_erased": ProblemType(
        410,
        "The session was erased",
        "The session that this Idempotency-Key created was erased. Use a new key to create another session.",
        {},
    ),
    "suite_ended": ProblemType(410, "The suite has ended", "The suite has ended and accepts no more commands.", {}),
    "request_timeout": ProblemType(
        408, "Request timeout", "The request did not arrive in time. Send it again as a whole.", {}
    ),
    "headers_too_large": ProblemType(
        431,
        "Headers too large",
        "The address and the headers may have 32768 bytes and 100 lines.",
        {"limit": 32_768},
    ),
    "too_large": ProblemType(
        413,
        "Too large",
        "The text has 40000 characters; at most 32000 are allowed.",
        {"limit": 32_000, "actual": 40_000},
    ),
    "unsupported_media_type": ProblemType(
        415, "Unsupported media type", "The body must be JSON, sent with `Content-Type: application/json`.", {}
    ),
    "validation_error": ProblemType(
        422, "Invalid request values", "The request is invalid: body.text is required.", _ERRORS
    ),
    "rate_limited": ProblemType(
        429,
        "Too many requests at once",
        "Too many commands for this session are under way. Nothing was accepted; send it again in a second.",
        {},
    ),
    "queue_full": ProblemType(
        429,
        "Message queue full",
        "The queue is full: 20 messages are waiting. Wait for a reply and send again.",
        {"limit": 20},
    ),
    "internal_error": ProblemType(
        500, "Internal error", "The request failed because of an error in the server, which was logged.", {}
    ),
    "model_failed": ProblemType(
        502,
        "The model did not answer",
        "The turn failed at the model: the provider refused the request. The session goes on: send the next message.",
        {"turn": {"id": _TURN, "status": "failed", "error": "the provider refused the request"}},
    ),
    "unavailable": ProblemType(
        503,
        "Service unavailable",
        "The store cannot be reached. Nothing was accepted; try again in a second.",
        {"service": "store"},
    ),
    "session_stuck": ProblemType(
        503,
        "The session cannot go on",
        "The session's workflow fails, at attempt 4: KeyError: 'desk'. Temporal tries again by itself, and the session "
        "goes on once the cause is removed. See the workflow session-ses_0a1b2c3d4e5f in the Temporal UI and the log "
        "of the workers.",
        {
            "reason": "workflow_task_failed",
            "failure": "KeyError: 'desk'",
            "workflow_id": "session-ses_0a1b2c3d4e5f",
            "run_id": "0193d1c8-6c1f-7b9e-a1b0-6a0f9a1c2d3e",
        },
    ),
    "wait_timeout": ProblemType(
        504,
        "Timed out waiting for the reply",
        "The agent has not answered within 60 seconds. The turn goes on; read the session for its reply.",
        {"turn": {"id": _TURN, "status": "pending"}, "message_id": "m-1"},
    ),
}
"""Every error code with its status, title and an example."""

CODE_OF_REJECTION: Final[Mapping[RejectionCode, str]] = {
    "branch_not_found": "not_found",
    "turn_not_found": "not_found",
}
"""Rejections with another error code in HTTP. All others keep their code."""

_RETRIED: Final = frozenset({"rate_limited", "queue_full", "unavailable"})


class ErrorLocation(BaseModel):
    """One error and its location: a path such as `body.text` or `nodes.greet.transitions[0].to`."""

    place: str
    message: str


class ProblemDocument(BaseModel):
    """An error (RFC 9457). `code` is stable and for programs, `detail` for people. Some codes have further members."""

    model_config = ConfigDict(extra="allow", title="Problem")

    type: str = Field(description="`urn:playhead:problem:<code>`")
    title: str
    status: int
    detail: str
    code: str
    errors: list[ErrorLocation] | None = Field(default=None, description="The invalid values, with the path of each.")


class Problem(Exception):
    """An error raised below a route, and sent as its response.

    `figures` become top-level members of the response; they may contain pydantic models.
    """

    def __init__(self, code: str, detail: str, **figures: object) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.figures = figures
        self.headers: Mapping[str, str] = {}

    def with_headers(self, headers: Mapping[str, str] | None) -> "Problem":
        """The same problem with these response headers."""
        self.headers = headers or {}
        return self

    def response(self) -> Response:
        """The problem as a response."""
        headers = dict(self.headers)
        if self.code in _RETRIED:
            headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
        kind = PROBLEM_TYPES[self.code]
        return _response(kind.status, _members(kind, self.code, self.detail, self.figures), headers)


def problem_of(rejection: Rejection) -> Problem:
    """A rejection of the domain as a problem."""
    return Problem(CODE_OF_REJECTION.get(rejection.code, rejection.code), rejection.detail, **rejection.figures)


def not_found(what: str, name: str) -> Problem:
    """The problem for an object that does not exist in the caller's organization."""
    return Problem("not_found", f"There is no {what} {name} in this organization.")


def unavailable(service: str, detail: str, **figures: object) -> Problem:
    """The problem while `store` or `temporal` cannot be reached."""
    return Problem("unavailable", detail, service=service, **figures)


def invalid(code: str, detail: str, errors: Iterable[tuple[str, str]], **figures: object) -> Problem:
    """A problem that lists the path and the message of each error."""
    return Problem(code, detail, errors=[{"place": place, "message": message} for place, message in errors], **figures)


def plain_problem_response(status: int, detail: str, headers: Mapping[str, str] | None) -> Response:
    """A response for a status that has no entry in the error table."""
    phrase = HTTPStatus(status).phrase
    kind = ProblemType(status, phrase, detail, {})
    return _response(status, _members(kind, phrase.lower().replace(" ", "_"), detail, {}), dict(headers or {}))


def problem_response(scope: Scope, problem: Problem) -> Response:
    """A problem as the response to a request, in the error format of the request's protocol."""
    form: Callable[[Problem], Response] | None = scope.get(PROBLEM_FORM)
    return problem.response() if form is None else form(problem)


async def handle_problem(request: Request, problem: Problem) -> Response:
    """The exception handler for `Problem`."""
    return problem_response(request.scope, problem)


def error_docs(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of a route's errors, with an example of each code."""
    docs: dict[int | str, dict[str, Any]] = {}
    for code in (*codes, "internal_error"):
        kind = PROBLEM_TYPES[code]
        entry = docs.setdefault(
            kind.status,
            {
                "description": "",
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        entry["description"] = f"{entry['description']}, {code}" if entry["description"] else code
        entry["content"][MEDIA_TYPE]["examples"][code] = {"summary": kind.title, "value": _example(code)}
    return docs


def _example(code: str) -> dict[str, object]:
    kind = PROBLEM_TYPES[code]
    return _members(kind, code, kind.detail, kind.figures)


def _members(kind: ProblemType, code: str, detail: str, figures: Mapping[str, object]) -> dict[str, object]:
    about = {"type": f"urn:playhead:problem:{code}", "title": kind.title, "status": kind.status}
    return {**about, "detail": detail, "code": code, **figures}


def _response(status: int, members: Mapping[str, object], headers: dict[str, str]) -> Response:
    return Response(to_json(members), status_code=status, headers=headers, media_type=MEDIA_TYPE)
