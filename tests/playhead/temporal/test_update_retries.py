"""Retries of updates that were lost with a failed workflow task; all other errors are passed on."""

from typing import Any, cast

import pytest
from temporalio.client import OutboundInterceptor, StartWorkflowUpdateInput, WorkflowUpdateHandle, WorkflowUpdateStage
from temporalio.service import RPCError, RPCStatusCode

from playhead.temporal.update_retries import MAX_ATTEMPTS, UpdateRetries

TASK_FAILED = "Unable to perform workflow execution update due to unexpected workflow task failure."


class Server(OutboundInterceptor):
    """Fails so many times, and then accepts the update."""

    def __init__(self, failures: int, message: str = TASK_FAILED) -> None:
        self._failures = failures
        self._message = message
        self.ids: list[str | None] = []

    async def start_workflow_update(self, input: StartWorkflowUpdateInput) -> WorkflowUpdateHandle[Any]:
        self.ids.append(input.update_id)
        if len(self.ids) <= self._failures:
            raise RPCError(self._message, RPCStatusCode.FAILED_PRECONDITION, b"")
        return cast(WorkflowUpdateHandle[Any], "taken")


def an_update(update_id: str | None) -> StartWorkflowUpdateInput:
    return StartWorkflowUpdateInput(
        id="session-ses_1",
        run_id=None,
        first_execution_run_id=None,
        update_id=update_id,
        update="rewind",
        args=[],
        wait_for_stage=WorkflowUpdateStage.COMPLETED,
        headers={},
        ret_type=None,
        rpc_metadata={},
        rpc_timeout=None,
    )


@pytest.mark.parametrize("update_id", ["m-1", None])
async def test_an_update_lost_with_a_failed_task_is_sent_again_under_its_id(update_id: str | None) -> None:
    server = Server(failures=2)
    assert (
        cast(str, await UpdateRetries().intercept_client(server).start_workflow_update(an_update(update_id))) == "taken"
    )
    assert len(server.ids) == 3
    [sent_as] = set(server.ids)
    assert sent_as == (update_id or sent_as)


async def test_an_update_is_not_retried_beyond_the_maximum() -> None:
    server = Server(failures=99)
    with pytest.raises(RPCError, match="task failure"):
        await UpdateRetries().intercept_client(server).start_workflow_update(an_update("m-1"))
    assert len(server.ids) == MAX_ATTEMPTS


async def test_other_errors_are_not_retried() -> None:
    server = Server(failures=1, message="workflow not found")
    with pytest.raises(RPCError, match="not found"):
        await UpdateRetries().intercept_client(server).start_workflow_update(an_update("m-1"))
    assert len(server.ids) == 1
