"""What becomes of a session's workflow after its end: it closes, and one day Temporal has forgotten it."""

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from tests.waiting import eventually


async def closed(client: Client, workflow_id: str) -> None:
    """Wait until a workflow has ended."""

    async def has_ended() -> bool:
        return (await client.get_workflow_handle(workflow_id).describe()).close_time is not None

    await eventually(has_ended)


async def is_known(client: Client, workflow_id: str) -> bool:
    """Whether Temporal has a workflow of this id."""
    try:
        await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True


async def forgotten(client: Client, workflow_id: str) -> None:
    """Have Temporal forget a workflow that has ended, as it does by itself when its retention is over."""
    await closed(client, workflow_id)
    request = DeleteWorkflowExecutionRequest(
        namespace=client.namespace, workflow_execution=WorkflowExecution(workflow_id=workflow_id)
    )
    await client.workflow_service.delete_workflow_execution(request)

    async def is_gone() -> bool:
        return not await is_known(client, workflow_id)

    await eventually(is_gone)
