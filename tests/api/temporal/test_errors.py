"""Translation of Temporal's errors: rejections, outages and timeouts; only our own bugs are a 500."""

import asyncio

import pytest
from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from api.http.problems import Problem
from api.temporal.errors import SessionClosed, WaitTimedOut, translate_temporal_errors
from domain.rejections import Rejection


def translated(error: BaseException) -> BaseException:
    with pytest.raises(BaseException) as caught, translate_temporal_errors():  # noqa: PT011  (whatever it is, it is returned)
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (RPCStatusCode.RESOURCE_EXHAUSTED, "rate_limited"),
        (RPCStatusCode.UNAVAILABLE, "unavailable"),
        (RPCStatusCode.ABORTED, "unavailable"),
        (RPCStatusCode.INTERNAL, "unavailable"),
        (RPCStatusCode.PERMISSION_DENIED, "unavailable"),
        (RPCStatusCode.FAILED_PRECONDITION, "unavailable"),
    ],
)
async def test_statuses_that_are_no_fault_of_the_caller(status: RPCStatusCode, code: str) -> None:
    problem = translated(RPCError("no", status, b""))
    assert isinstance(problem, Problem)
    assert problem.code == code
    assert problem.response().headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (RPCError("gone", RPCStatusCode.NOT_FOUND, b""), SessionClosed),
        (RPCError("late", RPCStatusCode.DEADLINE_EXCEEDED, b""), WaitTimedOut),
        (WorkflowUpdateRPCTimeoutOrCancelledError(), WaitTimedOut),
        (TimeoutError(), WaitTimedOut),
        (RuntimeError("Failed client connect: refused"), Problem),
        (RuntimeError("a bug"), RuntimeError),
        (RPCError("a bug", RPCStatusCode.INVALID_ARGUMENT, b""), RPCError),
        (WorkflowUpdateFailedError(ApplicationError("a bug", type="KeyError")), WorkflowUpdateFailedError),
        (WorkflowUpdateFailedError(ApplicationError("", type="AcceptedUpdateCompletedWorkflow")), SessionClosed),
    ],
)
async def test_other_errors(error: BaseException, meaning: type[BaseException]) -> None:
    assert type(translated(error)) is meaning


@pytest.mark.parametrize("details", [(Rejection(code="queue_full", detail="Full.", figures={"limit": 20}),), ()])
async def test_rejections_keep_their_code(details: tuple[Rejection, ...]) -> None:
    error = ApplicationError("Full.", *(each.model_dump() for each in details), type="queue_full")
    problem = translated(WorkflowUpdateFailedError(error))
    assert isinstance(problem, Problem)
    assert (problem.code, problem.detail) == ("queue_full", "Full.")
    assert problem.figures == ({"limit": 20} if details else {})


async def test_a_cancelled_task_stops() -> None:
    """The Temporal client reports the cancellation of its caller as a timeout."""
    started = asyncio.Event()

    async def call() -> None:
        with translate_temporal_errors():
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as error:
                raise WorkflowUpdateRPCTimeoutOrCancelledError from error

    task = asyncio.create_task(call())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
