"""How a call fails: one class for each problem of the API, and those of the way there."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import JsonValue, TypeAdapter, ValidationError

from playhead.client.models import Turn

Problem = Mapping[str, Any]  # Any: the members of a problem, as JSON


class PlayheadError(Exception):
    """Something did not work. Every error of the client is one of these."""


class InvalidAddress(PlayheadError, ValueError):
    """The address given for the API is none."""

    def __init__(self, url: str) -> None:
        super().__init__(f"{url!r} is no address of an API: it must begin with http:// or https://.")
        self.url = url


class APIConnectionError(PlayheadError):
    """No answer of the API came back.

    `was_sent`: whether the call may have been carried out all the same. A message is known again by its `message_id`;
    what became of anything else, the session tells. `was_slow` is true when an answer was waited for too long.
    """

    def __init__(self, message: str, *, was_sent: bool, was_slow: bool = False) -> None:
        super().__init__(message)
        self.was_sent = was_sent
        self.was_slow = was_slow


class UnexpectedResponse(PlayheadError):
    """What answered is not the Playhead API, or a version of it whose answer this client cannot read."""


class APIStatusError(PlayheadError):
    """The API said no. `code` is stable and for programs, `detail` is for people, `problem` has every figure."""

    codes: ClassVar[tuple[str, ...]] = ()
    nothing_accepted: ClassVar[bool] = False
    """Whether the same call may be sent again without doing anything twice."""

    def __init__(self, status: int, problem: Problem, retry_after: float | None = None) -> None:
        self.status = status
        self.problem = problem
        self.code = str(problem.get("code", "unknown"))
        self.detail = str(problem.get("detail") or problem.get("title") or f"HTTP status {status}")
        self.retry_after = retry_after
        super().__init__(self.detail)

    @property
    def errors(self) -> list[tuple[str, str]]:
        """Places in the request and what is wrong with each, where places can be named."""
        listed = self.problem.get("errors") or ()
        return [(str(error.get("place")), str(error.get("message"))) for error in listed if isinstance(error, dict)]

    def _number(self, name: str) -> int | None:
        value = self.problem.get(name)
        return value if isinstance(value, int) else None

    def _text(self, name: str) -> str | None:
        value = self.problem.get(name)
        return value if isinstance(value, str) else None

    def _turn(self) -> Turn | None:
        try:
            return Turn.model_validate(self.problem.get("turn"))
        except ValidationError:
            return None


class InvalidRequest(APIStatusError):
    """The request has the wrong form, or makes no sense; `errors` says where."""

    codes = ("invalid_request", "validation_error", "method_not_allowed", "unsupported_media_type")


class InvalidAgentDefinition(APIStatusError):
    """The definition of an agent has errors; `errors` says where. Nothing was stored."""

    codes = ("invalid_agent",)


class InvalidSuiteDefinition(APIStatusError):
    """A suite has errors, or is not compatible with its agent; `errors` says where. Nothing was started."""

    codes = ("invalid_suite",)


class Unauthenticated(APIStatusError):
    """There was no API key, or a wrong one."""

    codes = ("unauthenticated",)


class QuotaExceeded(APIStatusError):
    """The organization may not spend more."""

    codes = ("quota_exceeded",)


class NotFound(APIStatusError):
    """There is no such object in the organization of the key."""

    codes = ("not_found",)


class RevisionConflict(APIStatusError):
    """The session changed since the revision that was expected."""

    codes = ("revision_conflict",)

    @property
    def actual_revision(self) -> int | None:
        return self._number("actual_revision")


class TurnInProgress(APIStatusError):
    """The agent is still answering, and the message did not ask to wait for its turn."""

    codes = ("turn_in_progress",)


class TurnNotPending(APIStatusError):
    """The agent is not answering: there is nothing to cancel."""

    codes = ("turn_not_pending",)


class IdempotencyMismatch(APIStatusError):
    """The `message_id` was used for another text."""

    codes = ("idempotency_mismatch",)


class Superseded(APIStatusError):
    """The message waited for its turn when the session was moved, and was not answered."""

    codes = ("superseded",)


class ApprovalNotPending(APIStatusError):
    """No tool call waits for this approval: it was decided, has expired or never was."""

    codes = ("approval_not_pending",)


class SessionEnded(APIStatusError):
    """The session has ended and takes no more commands."""

    codes = ("session_ended",)


class SuiteEnded(APIStatusError):
    """The suite is over and takes no more commands."""

    codes = ("suite_ended",)


class TooLarge(APIStatusError):
    """A text or a body is over its limit."""

    codes = ("too_large",)


class RateLimited(APIStatusError):
    """Too many requests at once; nothing was accepted."""

    codes = ("rate_limited",)
    nothing_accepted = True


class QueueFull(APIStatusError):
    """Too many messages wait for their turn; nothing was accepted."""

    codes = ("queue_full",)
    nothing_accepted = True


class ModelFailed(APIStatusError):
    """The turn failed at the model. The session goes on from the turn before: send the next message."""

    codes = ("model_failed",)

    @classmethod
    def of(cls, turn: Turn) -> "ModelFailed":
        """The error of a turn that failed after it had begun to be heard."""
        return cls(502, {"code": "model_failed", "detail": turn.error or "The turn failed.", "turn": turn})

    @property
    def turn(self) -> Turn | None:
        """The failed turn, with what it used."""
        return self._turn()


class Unavailable(APIStatusError):
    """Temporal or the store cannot be reached; nothing was accepted."""

    codes = ("unavailable",)
    nothing_accepted = True


class WaitTimeout(APIStatusError):
    """The wait ended before the turn did, and the turn goes on.

    Sending the message again under the same `message_id` goes on waiting for it.
    """

    codes = ("wait_timeout",)

    @property
    def turn(self) -> Turn | None:
        """The pending turn, if the message has one already."""
        return self._turn()

    @property
    def message_id(self) -> str | None:
        """The id of the message that is being answered."""
        return self._text("message_id")

    @property
    def session_id(self) -> str | None:
        """The session that was opened and has not greeted yet."""
        return self._text("session_id")


PROBLEMS: Mapping[str, type[APIStatusError]] = {
    code: kind for kind in APIStatusError.__subclasses__() for code in kind.codes
}
"""The class of each code; a code without one is an `APIStatusError`."""

_MEMBERS: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


def problem_in(status: int, content: bytes, retry_after: float | None) -> APIStatusError | None:
    """The problem that an answer of the API tells; none when it is no answer of the API."""
    try:
        members = _MEMBERS.validate_json(content)
    except ValidationError:
        return None
    code = members.get("code")
    if not isinstance(code, str):
        return None
    return PROBLEMS.get(code, APIStatusError)(status, members, retry_after)
