"""A worker in a process of its own, killed by the test or by itself at a chosen moment.

    python -m tests.workflows.session.killable_worker ADDRESS TASK_QUEUE DATABASE_URL [--kill-at MOMENT:ACTIVITY:TIME]

With `--kill-at after:generate_step:2` it kills itself when an activity of that type has ended for the second time, with
a result or an error, before it reports to Temporal; with `before:` it does so when the activity reached it, before it
runs.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pydantic_ai.models.openai  # noqa: F401  # takes seconds, in which the first model call's heartbeats would fall silent
from temporalio.client import Client
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor, Worker

from playhead.temporal.client import PlayheadPlugin
from store.database.connection import Database
from tests.support.activities import session_activities
from tests.support.deadlock_detector import allow_slow_workflow_tasks
from workflows import activity_options
from workflows.session.workflow import SessionWorkflow
from workflows.webhook_delivery import DeliverWebhookWorkflow

SOON = timedelta(seconds=1)
"""Time after which the next task of a session no longer waits for its dead worker; in production it is longer."""
SETTLED_SOON = timedelta(seconds=3)
"""Timeout of settling and reporting; in production it is up to a minute, too long for a test."""


@dataclass(frozen=True)
class KillPoint:
    """The moment a worker kills itself: before or after the nth run of an activity, counted from 1."""

    moment: str
    activity: str
    time: int = 1

    def __str__(self) -> str:
        return f"{self.moment}:{self.activity}:{self.time}"

    @classmethod
    def read(cls, written: str) -> "KillPoint":
        """A kill point as `str` writes it."""
        moment, activity, time = written.split(":")
        return cls(moment, activity, int(time))


class KillsWorker(Interceptor):
    """Kills the process at the kill point."""

    def __init__(self, kill_point: KillPoint) -> None:
        self._kill_point = kill_point
        self._begun: Counter[str] = Counter()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _KillsWorkerInbound(next, self)

    def begin(self, activity: str) -> int:
        """Count an activity that reached the worker, and return how many of its type there were."""
        self._begun[activity] += 1
        return self._begun[activity]

    def reach(self, moment: str, activity: str, time: int) -> None:
        """Kill the process if this is the kill point."""
        if KillPoint(moment, activity, time) == self._kill_point:
            os.kill(os.getpid(), signal.SIGKILL)


class _KillsWorkerInbound(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, kills: KillsWorker) -> None:
        super().__init__(next)
        self._kills = kills

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        activity = input.fn.__name__
        time = self._kills.begin(activity)
        self._kills.reach("before", activity, time)
        try:
            return await super().execute_activity(input)
        finally:
            self._kills.reach("after", activity, time)


@asynccontextmanager
async def killable_worker(
    client: Client, task_queue: str, database: Database, *, kill_at: KillPoint | None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the process; it is killed at the end of the block if it is still alive."""
    arguments = [client.service_client.config.target_host, task_queue, database.address]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.workflows.session.killable_worker", *arguments),
        *(["--kill-at", str(kill_at)] if kill_at else []),
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _work(address: str, task_queue: str, database_url: str, kill_at: KillPoint | None) -> None:
    allow_slow_workflow_tasks()
    activity_options.SETTLE_ATTEMPT = activity_options.SEND_ATTEMPT = SETTLED_SOON
    client = await Client.connect(address, plugins=[PlayheadPlugin()])
    database = Database.open(database_url)
    await Worker(
        client,
        task_queue=task_queue,
        workflows=[SessionWorkflow, DeliverWebhookWorkflow],
        activities=session_activities(database),
        interceptors=[KillsWorker(kill_at)] if kill_at else [],
        sticky_queue_schedule_to_start_timeout=SOON,
    ).run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("task_queue")
    parser.add_argument("database_url")
    parser.add_argument("--kill-at", type=KillPoint.read)
    given = parser.parse_args()
    asyncio.run(_work(given.address, given.task_queue, given.database_url, given.kill_at))
