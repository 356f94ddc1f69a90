"""Having Temporal forget workflows: stopped at once, and every run of them deleted with its history."""

from collections.abc import AsyncIterator
from typing import Final

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from api.temporal.errors import translate_temporal_errors

REASON: Final = "The session was erased."


class WorkflowDeletion:
    """Makes Temporal forget. Nothing happens to what it does not know; all of this can be done again.

    Temporal deletes in the background, in about half a minute: what it was told to delete it no longer runs.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def forget(self, workflow_id: str) -> None:
        """Stop a workflow, and delete every run of it. Raises Problem("unavailable") when Temporal is out of reach."""
        with translate_temporal_errors():
            newest = await self._stopped(workflow_id)
            run_ids = {run_id async for run_id in self._chain(workflow_id, newest)}
            # A run that was reset is in no chain; what Temporal lists may be a moment behind.
            listed = self._client.list_workflows(f"WorkflowId = '{workflow_id}'")
            run_ids.update([each.run_id async for each in listed])
            for run_id in sorted(run_ids):
                await self._delete(workflow_id, run_id)

    async def _stopped(self, workflow_id: str) -> str | None:
        """The newest run, which runs no more; None when Temporal knows none."""
        handle = self._client.get_workflow_handle(workflow_id)
        try:
            await handle.terminate(reason=REASON)
        except RPCError as error:
            _unless_unknown(error)  # it has ended already, or is not known
        try:
            return (await handle.describe()).run_id
        except RPCError as error:
            _unless_unknown(error)
            return None

    async def _chain(self, workflow_id: str, newest: str | None) -> AsyncIterator[str]:
        """The runs of a workflow from its newest back to its first, as far as Temporal has them."""
        run_id = newest
        while run_id:
            yield run_id
            events = self._client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history_events(page_size=1)
            try:
                first = await anext(events)
            except RPCError as error:
                _unless_unknown(error)
                return
            run_id = first.workflow_execution_started_event_attributes.continued_execution_run_id

    async def _delete(self, workflow_id: str, run_id: str) -> None:
        execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
        request = DeleteWorkflowExecutionRequest(namespace=self._client.namespace, workflow_execution=execution)
        try:
            await self._client.workflow_service.delete_workflow_execution(request)
        except RPCError as error:
            _unless_unknown(error)


def _unless_unknown(error: RPCError) -> None:
    if error.status is not RPCStatusCode.NOT_FOUND:
        raise error
