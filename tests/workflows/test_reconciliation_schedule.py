"""The reconciler's schedule, as workers keep it, and their warnings about databases that do not belong together."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from temporalio.client import Client, ScheduleHandle, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.reconciler import Pairing
from contracts.reconciliation import ReconciliationResult, reconciliation_schedule_id
from playhead.services.reconciliation import (
    STORE_OF_ANOTHER_TEMPORAL,
    TEMPORAL_OF_ANOTHER_STORE,
    pairing_warnings,
    report_pairing,
)
from playhead.temporal.reconciliation_schedule import keep_schedule
from store.reconciliation import ReconciliationStore
from tests.support.provider import ModelProvider
from tests.support.session_stack import SessionStack, store_in
from tests.support.waiting import eventually
from tests.workflows.conftest import separate_stack

HOUR = 3_600.0


@pytest.fixture
async def stack(
    client: Client, provider: ModelProvider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[SessionStack]:
    """Separate for each test, because the runs of a schedule are listed by its name."""
    async with separate_stack(client, tmp_path_factory) as running:
        yield running


@pytest.fixture
async def schedule(stack: SessionStack) -> AsyncIterator[ScheduleHandle]:
    """The schedule of the stack's task queue; removed after the test."""
    yield stack.client.get_schedule_handle(reconciliation_schedule_id(stack.task_queue))
    await keep_schedule(stack.client, stack.task_queue, 0.0)


async def results(client: Client, name: str, at_least: int) -> list[ReconciliationResult]:
    """The results of the runs of a schedule, oldest first, once there are so many."""

    async def look() -> list[ReconciliationResult]:
        query = f'WorkflowType = "Reconciliation" AND TemporalScheduledById = "{name}"'
        runs = [each async for each in client.list_workflows(query)]
        done = [each for each in runs if each.status is WorkflowExecutionStatus.COMPLETED]
        if len(done) < at_least:
            return []
        handles = [client.get_workflow_handle(each.id, run_id=each.run_id) for each in done]
        found = [ReconciliationResult.model_validate(await each.result()) for each in handles]
        return sorted(found, key=lambda result: result.generation)

    return await eventually(look, within=60)


async def test_workers_keep_one_schedule_that_runs_at_their_start(
    stack: SessionStack, schedule: ScheduleHandle
) -> None:
    name = reconciliation_schedule_id(stack.task_queue)
    await keep_schedule(stack.client, stack.task_queue, HOUR)
    [first] = await results(stack.client, name, 1)
    assert (first.generation, first.is_thorough, first.rejection) == (1, False, None)
    await keep_schedule(stack.client, stack.task_queue, 2 * HOUR)
    _, second = await results(stack.client, name, 2)
    assert (second.generation, second.is_thorough) == (2, False)
    [interval] = (await schedule.describe()).schedule.spec.intervals
    assert interval.every == timedelta(hours=2)
    store = ReconciliationStore(stack.database)
    assert await store.generation(name) == 2
    await store.finish(name, 1, ())  # the store is restored from a backup taken after the first run
    await schedule.trigger()
    *_, third = await results(stack.client, name, 3)
    assert (third.generation, third.is_thorough) == (3, True)


async def test_a_schedule_that_an_operator_paused_stays_paused(stack: SessionStack, schedule: ScheduleHandle) -> None:
    await keep_schedule(stack.client, stack.task_queue, HOUR)
    await schedule.pause()
    await keep_schedule(stack.client, stack.task_queue, 2 * HOUR)
    assert (await schedule.describe()).schedule.state.paused


async def test_an_interval_of_zero_removes_the_schedule(stack: SessionStack, schedule: ScheduleHandle) -> None:
    await keep_schedule(stack.client, stack.task_queue, HOUR)
    for _ in range(2):
        await keep_schedule(stack.client, stack.task_queue, 0.0)
    with pytest.raises(RPCError) as error:
        await schedule.describe()
    assert error.value.status is RPCStatusCode.NOT_FOUND


async def test_a_worker_logs_at_its_start_that_its_databases_do_not_belong_together(
    stack: SessionStack, tmp_path: Path
) -> None:
    session = await stack.open()
    await session.until_settled()
    async with store_in(tmp_path) as empty:
        with capture_logs() as logs:
            await report_pairing(stack.client, empty, stack.task_queue)
    assert [line["event"] for line in logs] == [TEMPORAL_OF_ANOTHER_STORE]
    with capture_logs() as logs:
        await report_pairing(stack.client, stack.database, "a queue without sessions")
    assert [line["event"] for line in logs] == [STORE_OF_ANOTHER_TEMPORAL]


def test_databases_that_belong_together_cause_no_warning() -> None:
    assert pairing_warnings(Pairing(known=3, unknown=0), open_sessions=2) == []
    assert pairing_warnings(Pairing(known=0, unknown=0), open_sessions=0) == []
