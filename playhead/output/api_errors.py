"""Errors of the API as commands report them: a message, a hint and an exit status."""

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
"""Problems that tell something about what was asked for, not that it was asked wrongly."""

HINTS = {
    "unauthenticated": f"Set {API_KEY} to a key of this API; `playhead keys create NAME` makes one on its machine.",
    "revision_conflict": "Somebody changed the session meanwhile. Look at it again, then repeat the command.",
    "turn_in_progress": "A reply is being generated. Repeat the command when it is there.",
    "unavailable": "Nothing was accepted. Repeat the command when the service is back.",
    "wait_timeout": "The turn goes on; look at the session in a while.",
}
"""What to do about a problem, by its code."""


@contextmanager
def failing_as_command() -> Iterator[None]:
    """Around calls of a command: an error of the client ends it."""
    try:
        yield
    except PlayheadError as error:
        raise command_failure(error) from error


def command_failure(error: PlayheadError) -> CommandFailed:
    """An error of the client as the end of a command."""
    match error:
        case APIStatusError():
            return CommandFailed(told(error), status=_exit_status(error), hint=HINTS.get(error.code))
        case InvalidAddress():
            message = f"{API_URL} is set to {error.url!r}, which is no address of an API."
            return CommandFailed(message, status=USAGE, hint=f"It must look like {DEFAULT_API_URL}.")
        case APIConnectionError():
            hint = f"Start it with `playhead dev`, or set {API_URL} to where it is."
            return CommandFailed(str(error), status=UNREACHABLE, hint=hint)
        case UnexpectedResponse():
            return CommandFailed(str(error), status=UNREACHABLE, hint=f"Set {API_URL} to the address of the API.")
    return CommandFailed(str(error), status=UNREACHABLE)


def told(problem: APIStatusError) -> str:
    """A problem in words: what happened, and a line for each place that is at fault."""
    return "".join((problem.detail, *(f"\n  {place}: {message}" for place, message in problem.errors)))


def _exit_status(problem: APIStatusError) -> int:
    if problem.status >= 500 or problem.status == 429:
        return UNREACHABLE
    return FINDING if problem.code in FINDINGS else USAGE
