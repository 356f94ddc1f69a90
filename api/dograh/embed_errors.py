"""Errors of the public embed routes: dograh's statuses and texts, without details that only the operator may see."""

from math import ceil
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.dograh.errors import BUSY, CONFLICT, error_response
from api.http.problems import Problem
from store.rate_limits import RateExceeded

INVALID_TOKEN: Final = "Invalid embed token"
INACTIVE: Final = "Embed token is inactive"
EXPIRED: Final = "Embed token has expired"
USED_UP: Final = "Embed token usage limit exceeded"
INVALID_SESSION: Final = "Invalid session token"
SESSION_EXPIRED: Final = "Session expired"
NOT_FOUND: Final = "Chat session not found"
TOO_MANY_CHATS: Final = "Too many chat sessions. Please try again shortly"
TOO_MANY_MESSAGES: Final = "Too many messages. Please try again shortly"
TOO_MANY_REQUESTS: Final = "Too many requests. Please try again shortly"
LAST_TURN: Final = "Message limit reached for this conversation"
UNAVAILABLE: Final = "The agent is unavailable right now"
FAILED: Final = "Assistant failed to respond"
SLOW: Final = "The agent has not answered in time. Read the chat again for its reply"
COMPLETED: Final = {"code": "chat_completed", "message": "Conversation has ended"}

_PUBLIC: Final[dict[str, tuple[int, object]]] = {
    "quota_exceeded": (402, UNAVAILABLE),
    "not_found": (404, NOT_FOUND),
    "session_erased": (404, NOT_FOUND),
    "session_ended": (400, COMPLETED),
    "rate_limited": (429, TOO_MANY_MESSAGES),
    "queue_full": (429, TOO_MANY_MESSAGES),
    "unavailable": (503, UNAVAILABLE),
    "session_stuck": (503, UNAVAILABLE),
    "wait_timeout": (504, SLOW),
}
"""Problems with a meaning for visitors. All others are failures of the agent."""


def public_error(problem: Problem) -> Response:
    """A problem as a visitor may see it."""
    match problem.code:
        case "revision_conflict":
            return error_response(409, {"message": CONFLICT, **problem.figures})
        case "turn_in_progress":
            return error_response(409, {"message": BUSY})
        case "validation_error" | "too_large":
            return error_response(422, [{"type": "value_error", "loc": ["body"], "msg": problem.detail}])
        case code:
            status, detail = _PUBLIC.get(code, (500, FAILED))
            return error_response(status, detail)


def domain_not_allowed(origin: str | None) -> HTTPException:
    """The error for a page of an origin that the token is not for."""
    return HTTPException(403, f"Domain not allowed: {origin or ''}")


def too_many(detail: str, exceeded: RateExceeded) -> HTTPException:
    """The error for a rate that is exceeded."""
    return HTTPException(429, detail, {"Retry-After": str(max(ceil(exceeded.retry_after.total_seconds()), 1))})
