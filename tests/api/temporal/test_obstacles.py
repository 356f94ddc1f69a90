"""Obstacles of a workflow, as Temporal shows them."""

from uuid import uuid4

from temporalio import workflow
from temporalio.api.workflowservice.v1 import PauseWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from api.temporal.obstacles import obstacle_of
from playhead.temporal.client import PlayheadPlugin
from tests.support.proxy import proxy_to


@workflow.defn(sandboxed=False)
class Idle:
    """Waits for a worker that never comes."""

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)


async def test_an_obstacle_is_found_although_a_connection_breaks(
    client: Client, temporal_server: WorkflowEnvironment
) -> None:
    workflow_id, task_queue = f"idle-{uuid4().hex}", f"idle-{uuid4().hex[:8]}"
    await client.start_workflow(Idle.run, id=workflow_id, task_queue=task_queue)
    pause = PauseWorkflowExecutionRequest(namespace=client.namespace, workflow_id=workflow_id, reason="being looked at")
    await client.workflow_service.pause_workflow_execution(pause, retry=True)
    async with proxy_to(temporal_server) as proxy:
        remote = await Client.connect(proxy.address, plugins=[PlayheadPlugin()])
        proxy.to_lose = 1
        found = await obstacle_of(remote, workflow_id)
        assert proxy.to_lose == 0
    assert found is not None
    assert (found.kind, found.failure) == ("workflow_paused", "being looked at")
