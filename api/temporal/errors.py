"""Translation of the Temporal client's errors to errors of the API."""

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
UNPROCESSED: Final = "UnprocessedUpdate"
"""The type of the error of an update that a worker did not process: the worker has newer state of the workflow than
Temporal, whose database was restored from an older copy."""
NOT_CONNECTED: Final = "Failed client connect"
"""The start of the RuntimeError message of a lazy client that could not connect."""

log = structlog.get_logger("api.temporal")


class SessionClosed(Exception):
    """No workflow of this id is running: the session has ended or never existed."""


class WaitTimedOut(Exception):
    """The wait ended before the result. The command may have been accepted, and is then still carried out."""


@contextmanager
def translate_temporal_errors() -> Iterator[None]:
    """Raise `Problem`, `SessionClosed` or `WaitTimedOut` for errors of the Temporal client."""
    try:
        yield
    except WorkflowUpdateFailedError as error:
        raise _error_of_update(error) from error
    except (TimeoutError, RPCTimeoutOrCancelledError) as error:
        _raise_if_cancelled(error)
        raise WaitTimedOut from error
    except RPCError as error:
        raise _error_of_rpc(error) from error
    except RuntimeError as error:
        if not str(error).startswith(NOT_CONNECTED):
            raise
        raise _unreachable("Nothing was accepted; try again in a second.") from error


def _error_of_update(error: WorkflowUpdateFailedError) -> Exception:
    cause = error.cause
    if not isinstance(cause, ApplicationError):
        return error
    if cause.type == CLOSED_UNDER_AN_UPDATE:
        return SessionClosed()
    if cause.type == UNPROCESSED:
        return Problem(
            "session_stuck",
            "A worker has newer state of this workflow than Temporal, whose database was probably restored from an "
            "older copy, and does not take commands. Nothing was accepted. Restart the workers.",
            reason="worker_is_ahead",
            failure=cause.message,
        )
    if cause.type not in get_args(RejectionCode):
        return error
    try:
        return problem_of(Rejection.model_validate(cause.details[0]))
    except (IndexError, ValidationError):
        return problem_of(Rejection.model_validate({"code": cause.type, "detail": cause.message}))


def _error_of_rpc(error: RPCError) -> Exception:
    match error.status:
        case RPCStatusCode.NOT_FOUND:
            return SessionClosed()
        case RPCStatusCode.DEADLINE_EXCEEDED | RPCStatusCode.CANCELLED:
            return WaitTimedOut()
        case RPCStatusCode.RESOURCE_EXHAUSTED:
            # The Temporal client has retried for up to ten seconds by now.
            return Problem(
                "rate_limited",
                "Too many commands for this session are under way. Nothing was accepted; send it again in a second.",
            )
        case RPCStatusCode.INVALID_ARGUMENT | RPCStatusCode.UNIMPLEMENTED | RPCStatusCode.OUT_OF_RANGE:
            return error
        case _:
            log.warning("temporal command failed", status=error.status.name, reason=error.message)
            return _unreachable(
                "It may or may not have accepted the command: read the session, or send a message again with the same "
                "message_id, which never sends it twice."
            )


def _unreachable(consequence: str) -> Problem:
    return unavailable("temporal", f"Temporal cannot be reached. {consequence}")


def _raise_if_cancelled(error: BaseException) -> None:
    """Raise CancelledError when the task is being cancelled, which the Temporal client reports as a timeout."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error
