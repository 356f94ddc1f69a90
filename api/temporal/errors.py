"""What Temporal's errors mean to a caller of the API."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, get_args

import structlog
from pydantic import ValidationError
from temporalio.client import RPCTimeoutOrCancelledError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from api.http.problems import Problem, problem_of, unavailable
from domain.rejections import Rejection, RejectionCode

CLOSED_UNDER_AN_UPDATE: Final = "AcceptedUpdateCompletedWorkflow"
"""The type of the error that ends an update whose workflow closed before the update was done."""
NOT_CONNECTED: Final = "Failed client connect"
"""How the RuntimeError begins with which a lazy client says that it could not connect."""

log = structlog.get_logger("api.temporal")


class SessionClosed(Exception):
    """There is no running workflow of this id: the session has ended, or there never was one."""


class WaitTimedOut(Exception):
    """The wait is over before the answer is there. What was asked for may have been accepted, and goes on."""


@contextmanager
def translate_temporal_errors() -> Iterator[None]:
    """Turn what the Temporal client raises into `Problem`, `SessionClosed` or `WaitTimedOut`."""
    try:
        yield
    except WorkflowUpdateFailedError as error:
        raise _meaning_of_failure(error) from error
    except (TimeoutError, RPCTimeoutOrCancelledError) as error:
        _pass_on_cancellation(error)
        raise WaitTimedOut from error
    except RPCError as error:
        raise _meaning_of_status(error) from error
    except RuntimeError as error:
        if not str(error).startswith(NOT_CONNECTED):
            raise
        raise _unreachable("Nothing was accepted; try again in a second.") from error


def _meaning_of_failure(error: WorkflowUpdateFailedError) -> Exception:
    cause = error.cause
    if not isinstance(cause, ApplicationError):
        return error
    if cause.type == CLOSED_UNDER_AN_UPDATE:
        return SessionClosed()
    if cause.type not in get_args(RejectionCode):
        return error
    try:
        return problem_of(Rejection.model_validate(cause.details[0]))
    except (IndexError, ValidationError):
        return problem_of(Rejection.model_validate({"code": cause.type, "detail": cause.message}))


def _meaning_of_status(error: RPCError) -> Exception:
    match error.status:
        case RPCStatusCode.NOT_FOUND:
            return SessionClosed()
        case RPCStatusCode.DEADLINE_EXCEEDED | RPCStatusCode.CANCELLED:
            return WaitTimedOut()
        case RPCStatusCode.RESOURCE_EXHAUSTED:
            # The Temporal client has tried for up to ten seconds by now.
            return Problem(
                "rate_limited",
                "Too many commands for this session are under way. Nothing was accepted; send it again in a second.",
            )
        case RPCStatusCode.INVALID_ARGUMENT | RPCStatusCode.UNIMPLEMENTED | RPCStatusCode.OUT_OF_RANGE:
            return error
        case _:
            log.warning("temporal did not take a command", status=error.status.name, reason=error.message)
            return _unreachable(
                "It may or may not have taken the command: read the session, or repeat a message under its message_id, "
                "which never says it twice."
            )


def _unreachable(consequence: str) -> Problem:
    return unavailable("temporal", f"Temporal cannot be reached. {consequence}")


def _pass_on_cancellation(error: BaseException) -> None:
    """The Temporal client reports the cancellation of its caller as a timeout; a task that is to stop must stop."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error
