"""Errors of the client: one class for each error code of the API, and those of the connection."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import JsonValue, TypeAdapter, ValidationError

from playhead_client.models.sessions import Turn

Problem = Mapping[str, Any]  # Any: the members of a problem, as JSON


class PlayheadError(Exception):
    """Any error of the client."""


class InvalidAddress(PlayheadError, ValueError):
    """The address given for the API is not a URL."""

    def __init__(self, url: str) -> None:
        super().__init__(f"{url!r} is not the address of an API: it must begin with http:// or https://.")
        self.url = url


class APIConnectionError(PlayheadError):
    """No response of the API arrived.

    `was_sent` is true when the call may have been executed all the same: a message can be sent again under its
    `message_id`, and the session shows the effect of anything else. `was_slow` is true after a timeout.
    """

    def __init__(self, message: str, *, was_sent: bool, was_slow: bool = False) -> None:
        super().__init__(message)
        self.was_sent = was_sent
        self.was_slow = was_slow


class UnexpectedResponse(PlayheadError):
    """The response is not from the Playhead API, or from a version that this client cannot read."""


class APIStatusError(PlayheadError):
    """The API rejected the call. `code` is for programs and stable, `detail` for people, `problem` has all members."""

    codes: ClassVar[tuple[str, ...]] = ()
    nothing_accepted: ClassVar[bool] = False
    """True for errors after which the same call can be sent again without executing anything twice."""

    def __init__(self, status: int, problem: Problem, retry_after: float | None = None) -> None:
        self.status = status
        self.problem = problem
        self.code = str(problem.get("code", "unknown"))
        self.detail = str(problem.get("detail") or problem.get("title") or f"HTTP status {status}")
        self.retry_after = retry_after
        super().__init__(self.detail)

    @property
    def errors(self) -> list[tuple[str, str]]:
        """Paths in the request and the error at each, where the API names them."""
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
    """The request has the wrong form; `errors` lists the fields."""

    codes = ("invalid_request", "validation_error", "method_not_allowed", "unsupported_media_type")


class InvalidAgentDefinition(APIStatusError):
    """The definition of an agent is not valid; `errors` lists the fields. Nothing was stored."""

    codes = ("invalid_agent",)


class InvalidDocument(APIStatusError):
    """A file cannot be read as a document. Nothing was stored."""

    codes = ("invalid_document",)

    @property
    def reason(self) -> str | None:
        """`unreadable`, `encrypted`, `no_text`, `too_long` or `too_costly`."""
        return self._text("reason")


class TooManyDocuments(APIStatusError):
    """The organization has reached a limit of its documents. Nothing was stored."""

    codes = ("too_many_documents",)


class AgentInUse(APIStatusError):
    """The agent has sessions or suites, and was not erased."""

    codes = ("agent_in_use",)


class InvalidSuiteDefinition(APIStatusError):
    """A suite is not valid, or not compatible with its agent; `errors` lists the fields. Nothing was started."""

    codes = ("invalid_suite",)


class Unauthenticated(APIStatusError):
    """The API key is missing or wrong."""

    codes = ("unauthenticated",)


class QuotaExceeded(APIStatusError):
    """The organization has reached its spending limit."""

    codes = ("quota_exceeded",)


class NotFound(APIStatusError):
    """There is no such object in the organization of the key."""

    codes = ("not_found",)


class RevisionConflict(APIStatusError):
    """The session has changed since the expected revision."""

    codes = ("revision_conflict",)

    @property
    def actual_revision(self) -> int | None:
        """The revision of the session."""
        return self._number("actual_revision")


class TurnInProgress(APIStatusError):
    """The agent is still answering, and the message's `on_busy` does not allow it to wait or to stop the reply."""

    codes = ("turn_in_progress",)


class TurnNotPending(APIStatusError):
    """No reply is pending: there is nothing to cancel."""

    codes = ("turn_not_pending",)


class IdempotencyMismatch(APIStatusError):
    """The `message_id` or `idempotency_key` was used for something else."""

    codes = ("idempotency_mismatch",)


class Superseded(APIStatusError):
    """The message was waiting for its turn when the session was rewound, and was not answered."""

    codes = ("superseded",)


class ApprovalNotPending(APIStatusError):
    """No tool call waits for this approval: it was decided, has expired or never existed."""

    codes = ("approval_not_pending",)


class ClientCallNotPending(APIStatusError):
    """No tool call waits for this result: it has another one, has expired, was stopped or never existed."""

    codes = ("client_call_not_pending",)


class SessionEnded(APIStatusError):
    """The session has ended and accepts no further commands."""

    codes = ("session_ended",)


class SuiteEnded(APIStatusError):
    """The suite is over and accepts no further commands."""

    codes = ("suite_ended",)


class TooLarge(APIStatusError):
    """A text or a body is over its limit."""

    codes = ("too_large",)


class RateLimited(APIStatusError):
    """Too many requests at once; nothing was accepted."""

    codes = ("rate_limited",)
    nothing_accepted = True


class QueueFull(APIStatusError):
    """Too many messages are waiting for their turn; nothing was accepted."""

    codes = ("queue_full",)
    nothing_accepted = True


class SessionErased(APIStatusError):
    """The request repeats one whose session was erased; nothing was created."""

    codes = ("session_erased",)


class HeadersTooLarge(APIStatusError):
    """The request line or headers exceed the API's limits; nothing was accepted."""

    codes = ("headers_too_large",)


class RequestTimedOut(APIStatusError):
    """The request took too long to arrive; nothing was accepted."""

    codes = ("request_timeout",)


class ModelFailed(APIStatusError):
    """The model call of the turn failed. The session continues from the turn before: send the next message."""

    codes = ("model_failed",)

    @classmethod
    def of(cls, turn: Turn) -> "ModelFailed":
        """The error of a turn that failed while its reply was streamed."""
        return cls(502, {"code": "model_failed", "detail": turn.error or "The turn failed.", "turn": turn})

    @property
    def turn(self) -> Turn | None:
        """The failed turn, with its usage."""
        return self._turn()


class Unavailable(APIStatusError):
    """Temporal or the store cannot be reached; nothing was accepted."""

    codes = ("unavailable",)
    nothing_accepted = True


class SessionStuck(APIStatusError):
    """The session or suite cannot continue: its workflow is paused or fails. Recorded data can be read.

    A message may have been accepted: sending it again under the same `message_id` does not add a second one.
    """

    codes = ("session_stuck",)

    @property
    def reason(self) -> str | None:
        """`workflow_paused`, `workflow_task_failed` or `worker_is_ahead`."""
        return self._text("reason")

    @property
    def failure(self) -> str | None:
        """The failure that Temporal reports."""
        return self._text("failure")

    @property
    def workflow_id(self) -> str | None:
        """The id of the workflow in Temporal."""
        return self._text("workflow_id")


class WaitTimeout(APIStatusError):
    """The wait ended before the turn did, and the turn continues.

    Sending the message again under the same `message_id` waits for the same turn.
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
        """The new session whose greeting is still pending."""
        return self._text("session_id")


PROBLEMS: Mapping[str, type[APIStatusError]] = {
    code: kind for kind in APIStatusError.__subclasses__() for code in kind.codes
}
"""The class of each code; a code without one is an `APIStatusError`."""

_MEMBERS: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


def problem_in(status: int, content: bytes, retry_after: float | None) -> APIStatusError | None:
    """The error that a response of the API describes; None when it is not a response of the API."""
    try:
        members = _MEMBERS.validate_json(content)
    except ValidationError:
        return None
    code = members.get("code")
    if not isinstance(code, str):
        return None
    return PROBLEMS.get(code, APIStatusError)(status, members, retry_after)
