"""Queries that arrive while a run ends: no ended run is replayed for them, and the next run answers."""

import asyncio
import threading
import time
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio import workflow
from temporalio.client import Client, WorkflowHandle, WorkflowQueryFailedError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkflowInstance, WorkflowInstanceDetails

from contracts.sessions import RUN_HAS_ENDED
from playhead.temporal import ended_runs
from playhead.temporal.ended_runs import LateQueries, SessionRunner

SLOW_END_SECONDS = 0.3
ends = threading.Event()
"""Set while a run ends."""


def hold_workflow_task() -> None:
    """Keep the present workflow task under way for a while."""
    time.sleep(SLOW_END_SECONDS)


@workflow.defn
class Counter:
    """Counts, and continues as new after each count, slowly: a query comes meanwhile."""

    @workflow.init
    def __init__(self, count: int) -> None:
        self._count = count
        self._is_long = False

    @workflow.run
    async def run(self, count: int) -> None:
        await workflow.wait_condition(lambda: self._is_long)
        ends.set()
        hold_workflow_task()
        workflow.continue_as_new(self._count)

    @workflow.update
    def add(self) -> int:
        self._count += 1
        self._is_long = True
        return self._count

    @workflow.query
    def count(self) -> int:
        return self._count


class CountingRunner(SessionRunner):
    """Notes each run that a worker begins, or replays."""

    def __init__(self) -> None:
        super().__init__(UnsandboxedWorkflowRunner())
        self.begun: list[str] = []

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        instance = super().create_instance(det)
        if isinstance(instance, ended_runs._WatchedInstance):
            self.begun.append(det.info.run_id)
        return instance


@pytest_asyncio.fixture
async def plain(client: Client) -> Client:
    """A client without Playhead's plugin, so that its workers use the runner they are given."""
    return await Client.connect(client.service_client.config.target_host, interceptors=[LateQueries()])


async def test_a_query_during_the_end_of_a_run_replays_no_ended_run(plain: Client) -> None:
    runner, task_queue = CountingRunner(), f"counters-{uuid4().hex[:8]}"
    async with Worker(plain, task_queue=task_queue, workflows=[Counter], workflow_runner=runner):
        handle = await plain.start_workflow(Counter.run, 0, id=task_queue, task_queue=task_queue)
        for number in range(1, 4):
            ends.clear()
            adding = asyncio.create_task(handle.execute_update(Counter.add))
            await asyncio.to_thread(ends.wait)
            assert await handle.query(Counter.count) == number
            assert await adding == number
            # The run that ends may have answered, if it was still in memory: now the next one has begun.
            assert await handle.query(Counter.count) == number
        await handle.terminate()
    assert len(runner.begun) == 4
    assert len(runner.begun) == len(set(runner.begun)), "a run that had ended was replayed"


async def test_a_query_with_a_run_id_is_not_answered_by_another_run(
    plain: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its queries are rejected for a moment, and answered afterwards."""
    runner, task_queue = SessionRunner(UnsandboxedWorkflowRunner()), f"counters-{uuid4().hex[:8]}"
    async with Worker(plain, task_queue=task_queue, workflows=[Counter], workflow_runner=runner):
        handle = await plain.start_workflow(Counter.run, 0, id=task_queue, task_queue=task_queue)
        await handle.execute_update(Counter.add)
        first: WorkflowHandle[Counter, None] = plain.get_workflow_handle_for(
            Counter.run, task_queue, run_id=handle.first_execution_run_id
        )
        assert await handle.query(Counter.count) == 1  # the next run has begun
        with pytest.raises(WorkflowQueryFailedError, match=RUN_HAS_ENDED.split(".")[0]):
            await first.query(Counter.count)
        monkeypatch.setattr(ended_runs, "REJECTED_SECONDS", 0.0)
        assert await first.query(Counter.count) == 1
        await handle.terminate()
