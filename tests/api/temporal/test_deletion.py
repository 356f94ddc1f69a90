"""Deletion of every run of a workflow in Temporal, running or closed."""

from uuid import uuid4

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from api.http.problems import Problem
from api.temporal.deletion import WorkflowDeletion
from playhead.temporal.client import PlayheadPlugin
from tests.support.closed_sessions import is_known
from tests.support.proxy import proxy_to
from tests.support.waiting import eventually


@workflow.defn(sandboxed=False)
class Relay:
    """Continues as new so many times, and then waits for ever, or ends."""

    @workflow.run
    async def run(self, runs: int, ends: bool) -> None:
        if runs:
            workflow.continue_as_new(args=[runs - 1, ends])
        await workflow.wait_condition(lambda: ends)


@pytest.mark.parametrize("ends", [False, True])
async def test_every_run_of_a_workflow_is_deleted(client: Client, ends: bool) -> None:
    workflow_id, task_queue = f"relay-{uuid4().hex}", f"relay-{uuid4().hex[:8]}"
    async with Worker(client, task_queue=task_queue, workflows=[Relay]):
        first = await client.start_workflow(Relay.run, args=[2, ends], id=workflow_id, task_queue=task_queue)
        run_ids = [first.result_run_id]

        async def last_run() -> bool:
            described = await client.get_workflow_handle(workflow_id).describe()
            if described.run_id not in run_ids:
                run_ids.append(described.run_id)
            history = await client.get_workflow_handle(workflow_id).fetch_history()
            (runs, _) = history.events[0].workflow_execution_started_event_attributes.input.payloads
            return runs.data == b"0"

        await eventually(last_run)
        await WorkflowDeletion(client).delete(workflow_id)

        async def forgotten() -> bool:
            listed = [each async for each in client.list_workflows(f"WorkflowId = '{workflow_id}'")]
            return not listed and not await is_known(client, workflow_id)

        await eventually(forgotten)
        await WorkflowDeletion(client).delete(workflow_id)


async def test_a_request_lost_with_its_connection_is_sent_again(
    client: Client, temporal_server: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step of a deletion is repeated, also that which deletes a run."""
    workflow_id, task_queue = f"relay-{uuid4().hex}", f"relay-{uuid4().hex[:8]}"
    await client.start_workflow(Relay.run, args=[0, True], id=workflow_id, task_queue=task_queue)
    async with proxy_to(temporal_server) as proxy:
        remote = await Client.connect(proxy.address, plugins=[PlayheadPlugin()])
        delete_run = WorkflowDeletion._delete_run

        async def loses_its_first_try(self: WorkflowDeletion, workflow_id: str, run_id: str) -> None:
            proxy.to_lose = 1
            await delete_run(self, workflow_id, run_id)

        monkeypatch.setattr(WorkflowDeletion, "_delete_run", loses_its_first_try)
        await WorkflowDeletion(remote).delete(workflow_id)
        assert proxy.to_lose == 0

    async def forgotten() -> bool:
        return not await is_known(client, workflow_id)

    await eventually(forgotten)


async def test_an_unknown_workflow_counts_as_deleted(client: Client) -> None:
    await WorkflowDeletion(client).delete("session-unknown")


async def test_nothing_is_deleted_while_temporal_is_unreachable() -> None:
    unreachable = await Client.connect("127.0.0.1:1", lazy=True, plugins=[PlayheadPlugin()])
    with pytest.raises(Problem) as caught:
        await WorkflowDeletion(unreachable).delete("session-unknown")
    assert caught.value.code == "unavailable"
