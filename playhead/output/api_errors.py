"""API errors as failed commands: message, hint and exit status."""

from collections.abc import Iterator
from contextlib import contextmanager

from playhead.exit_codes import FINDING, UNREACHABLE, USAGE, CommandFailed
from playhead_client import (
    API_KEY,
    API_URL,
    DEFAULT_API_URL,
    APIConnectionError,
    APIStatusError,
    InvalidAddress,
    PlayheadError,
    UnexpectedResponse,
)

FINDINGS = frozenset(
    {
        "approval_not_pending",
        "client_call_not_pending",
        "idempotency_mismatch",
        "invalid_agent",
        "invalid_suite",
        "revision_conflict",
        "session_ended",
        "suite_ended",
        "superseded",
        "turn_in_progress",
        "turn_not_pending",
    }
)
"""Problems that are a result of the command, not a usage error."""

HINTS = {
    "unauthenticated": f"Set {API_KEY} to a key of this API; `playhead keys create NAME` creates one on its machine.",
    "revision_conflict": "The session has changed. Look at it again, then repeat the command.",
    "turn_in_progress": "A reply is being generated. Repeat the command when it has arrived.",
    "session_stuck": "What was recorded can be read. Repeat the command when the workflow goes on.",
    "unavailable": "Nothing was accepted. Repeat the command when the service is available again.",
    "wait_timeout": "The turn continues; look at the session later.",
}
"""Remedies by error code."""


@contextmanager
def errors_as_command_failures() -> Iterator[None]:
    """Turn errors of the client into CommandFailed."""
    try:
        yield
    except PlayheadError as error:
        raise command_failure(error) from error


def command_failure(error: PlayheadError) -> CommandFailed:
    """The CommandFailed for an error of the client."""
    match error:
        case APIStatusError():
            return CommandFailed(describe(error), status=_exit_status(error), hint=HINTS.get(error.code))
        case InvalidAddress():
            message = f"{API_URL} is set to {error.url!r}, which is not a valid URL."
            return CommandFailed(message, status=USAGE, hint=f"It must look like {DEFAULT_API_URL}.")
        case APIConnectionError():
            hint = f"Start it with `playhead dev`, or set {API_URL} to its URL."
            return CommandFailed(str(error), status=UNREACHABLE, hint=hint)
        case UnexpectedResponse():
            return CommandFailed(str(error), status=UNREACHABLE, hint=f"Set {API_URL} to the URL of the API.")
    return CommandFailed(str(error), status=UNREACHABLE)


def describe(problem: APIStatusError) -> str:
    """The detail of a problem, with a line for each validation error."""
    return "".join((problem.detail, *(f"\n  {place}: {message}" for place, message in problem.errors)))


def _exit_status(problem: APIStatusError) -> int:
    if problem.status >= 500 or problem.status == 429:
        return UNREACHABLE
    return FINDING if problem.code in FINDINGS else USAGE
