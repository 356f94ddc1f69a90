"""Deletion of workflows in Temporal: terminates them and deletes every run with its history."""

from collections.abc import AsyncIterator
from typing import Final

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from api.temporal.errors import translate_temporal_errors

REASON: Final = "The session was erased."


class WorkflowDeletion:
    """Deletes workflows. Deleting an unknown workflow does nothing, and every deletion can be repeated.

    Temporal deletes in the background, in about half a minute; the workflow is terminated at once.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def delete(self, workflow_id: str) -> None:
        """Terminate a workflow and delete all of its runs. Raises Problem("unavailable") without Temporal."""
        with translate_temporal_errors():
            newest = await self._terminate(workflow_id)
            run_ids = {run_id async for run_id in self._chain(workflow_id, newest)}
            # A run that was reset is not in the chain; the list may be a moment behind.
            listed = self._client.list_workflows(f"WorkflowId = '{workflow_id}'")
            run_ids.update([each.run_id async for each in listed])
            for run_id in sorted(run_ids):
                await self._delete_run(workflow_id, run_id)

    async def _terminate(self, workflow_id: str) -> str | None:
        """Terminate the workflow and return the id of its newest run; None when Temporal has none."""
        handle = self._client.get_workflow_handle(workflow_id)
        try:
            await handle.terminate(reason=REASON)
        except RPCError as error:
            _ignore_not_found(error)  # it has ended already, or is not known
        try:
            return (await handle.describe()).run_id
        except RPCError as error:
            _ignore_not_found(error)
            return None

    async def _chain(self, workflow_id: str, newest: str | None) -> AsyncIterator[str]:
        """The run ids of a workflow from its newest back to its first, as far as Temporal has them."""
        run_id = newest
        while run_id:
            yield run_id
            events = self._client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history_events(page_size=1)
            try:
                first = await anext(events)
            except RPCError as error:
                _ignore_not_found(error)
                return
            run_id = first.workflow_execution_started_event_attributes.continued_execution_run_id

    async def _delete_run(self, workflow_id: str, run_id: str) -> None:
        execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
        request = DeleteWorkflowExecutionRequest(namespace=self._client.namespace, workflow_execution=execution)
        try:
            await self._client.workflow_service.delete_workflow_execution(request, retry=True)
        except RPCError as error:
            _ignore_not_found(error)


def _ignore_not_found(error: RPCError) -> None:
    if error.status is not RPCStatusCode.NOT_FOUND:
        raise error
