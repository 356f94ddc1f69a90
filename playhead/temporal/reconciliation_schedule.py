"""The Temporal Schedule of the reconciler: the workers of a task queue keep it up to date with their settings."""

from contextlib import suppress
from datetime import timedelta

import structlog
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from contracts.reconciliation import StartReconciliation, reconciliation_schedule_id
from workflows.reconciliation import ReconciliationWorkflow

CATCHUP_WINDOW = timedelta(minutes=1)
"""Runs that were due while Temporal was down are skipped: the next one does their work."""

log = structlog.get_logger(__name__)


async def keep_schedule(client: Client, task_queue: str, interval_seconds: float) -> None:
    """Create the schedule, or bring it up to date, and run it once now; delete it for an interval of 0.

    A schedule that an operator has paused stays paused. If Temporal does not allow schedules, that is logged, and only
    `playhead reconcile` reconciles.
    """
    try:
        await _keep(client, task_queue, interval_seconds)
    except RPCError as error:
        log.warning(
            "the reconciler's schedule could not be kept; run `playhead reconcile` instead",
            schedule=reconciliation_schedule_id(task_queue),
            reason=error.message,
        )


async def _keep(client: Client, task_queue: str, interval_seconds: float) -> None:
    schedule_id = reconciliation_schedule_id(task_queue)
    handle = client.get_schedule_handle(schedule_id)
    if not interval_seconds:
        try:
            await handle.delete()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        return
    wanted = _schedule(task_queue, schedule_id, interval_seconds)
    with suppress(ScheduleAlreadyRunningError):
        await client.create_schedule(schedule_id, wanted, trigger_immediately=True)
        return

    def updated(existing: ScheduleUpdateInput) -> ScheduleUpdate:
        wanted.state = existing.description.schedule.state
        return ScheduleUpdate(wanted)

    await handle.update(updated)
    if not (await handle.describe()).schedule.state.paused:
        await handle.trigger(overlap=ScheduleOverlapPolicy.SKIP)


def _schedule(task_queue: str, schedule_id: str, interval_seconds: float) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            ReconciliationWorkflow.run,
            StartReconciliation(name=schedule_id),
            id=schedule_id,
            task_queue=task_queue,
            static_summary="The store is compared with Temporal",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=interval_seconds))]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCHUP_WINDOW),
    )
