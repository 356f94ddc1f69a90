"""Reasons why a session or a suite cannot continue although Temporal is up: its workflow is paused or fails."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, WorkflowExecutionStatus, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
    GetWorkflowExecutionHistoryReverseRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

from api.http.problems import Problem
from contracts.suites import suite_workflow_id

LOOK_SECONDS: Final = 2.0
MIN_ATTEMPTS: Final = 2
"""A workflow task that failed once may succeed on the next worker."""
MAX_FAILURE: Final = 500
"""Characters of a failure that are shown."""
HARMLESS_CAUSES: Final = frozenset(
    {
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_STICKY_TASK_QUEUE,
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW,
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
    }
)
"""Failures that are part of how Temporal works."""

Kind = Literal["workflow_paused", "workflow_task_failed"]


@dataclass(frozen=True)
class Obstacle:
    """The obstacle that blocks a workflow. `failure` is the reason that Temporal has for it; it may be empty."""

    kind: Kind
    failure: str
    workflow_id: str
    run_id: str
    attempt: int = 0

    def problem(self) -> Problem:
        """The error for a command that the workflow could not process."""
        subject = subject_of(self.workflow_id)
        if self.kind == "workflow_paused":
            because = f" ({self.failure})" if self.failure else ""
            detail = (
                f"An operator has paused the {subject}'s workflow in Temporal{because}. It goes on when it is "
                f"unpaused: temporal workflow unpause --workflow-id {self.workflow_id}"
            )
        else:
            detail = (
                f"The {subject}'s workflow fails, at attempt {self.attempt}: {self.failure or 'no reason is known'}. "
                f"Temporal tries again by itself, and the {subject} goes on once the cause is removed. See the "
                f"workflow {self.workflow_id} in the Temporal UI and the log of the workers."
            )
        figures = {"reason": self.kind, "failure": self.failure}
        return Problem("session_stuck", detail, **figures, workflow_id=self.workflow_id, run_id=self.run_id)


def subject_of(workflow_id: str) -> str:
    """The word for the subject of a workflow: a suite or a session."""
    return "suite" if workflow_id.startswith(suite_workflow_id("")) else "session"


async def obstacle_of(client: Client, workflow_id: str) -> Obstacle | None:
    """The obstacle that blocks a workflow; None when there is none, or Temporal does not answer within two seconds."""
    with suppress(TimeoutError, RPCError, RuntimeError):
        async with asyncio.timeout(LOOK_SECONDS):
            return await _look(client, workflow_id)
    return None


async def _look(client: Client, workflow_id: str) -> Obstacle | None:
    execution = WorkflowExecution(workflow_id=workflow_id)
    described = await client.workflow_service.describe_workflow_execution(
        DescribeWorkflowExecutionRequest(namespace=client.namespace, execution=execution),
        retry=True,
        timeout=timedelta(seconds=LOOK_SECONDS),
    )
    run_id = described.workflow_execution_info.execution.run_id
    if described.workflow_execution_info.status == WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED:
        return Obstacle("workflow_paused", _pause_reason(described), workflow_id, run_id)
    attempt = described.pending_workflow_task.attempt
    if attempt < MIN_ATTEMPTS:
        return None
    newest = await client.workflow_service.get_workflow_execution_history_reverse(
        GetWorkflowExecutionHistoryReverseRequest(
            namespace=client.namespace, execution=execution, maximum_page_size=20
        ),
        retry=True,
        timeout=timedelta(seconds=LOOK_SECONDS),
    )
    failure = _failure(list(newest.history.events))
    return None if failure is None else Obstacle("workflow_task_failed", failure, workflow_id, run_id, attempt)


def _pause_reason(described: DescribeWorkflowExecutionResponse) -> str:
    return described.workflow_extended_info.pause_info.reason[:MAX_FAILURE]


def _failure(newest_first: list[HistoryEvent]) -> str | None:
    """The failure of the workflow task that is being retried; None when the newest one did not fail.

    Temporal records only the first of several failures.
    """
    for event in newest_first:
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                failed = event.workflow_task_failed_event_attributes
                if failed.cause in HARMLESS_CAUSES:
                    return None
                return " ".join(failed.failure.message.split())[:MAX_FAILURE]
            case EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED | EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
                return None
    return None
