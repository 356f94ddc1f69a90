"""A worker in a process of its own, killed by the test or by itself at a chosen moment."""

import asyncio
import os
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    Worker,
    WorkerDeploymentConfig,
)

from playhead.temporal.client import PlayheadPlugin
from store.database.connection import Database
from tests.support.activities import session_activities
from tests.support.deadlock_detector import allow_slow_workflow_tasks
from tests.support.forked import KILL_SECONDS, Forked, forked_call
from workflows import activity_options
from workflows.session.workflow import SessionWorkflow
from workflows.webhook_delivery import DeliverWebhookWorkflow

SOON = timedelta(seconds=1)
"""Time after which the next task of a session no longer waits for its dead worker; in production it is longer."""
SETTLED_SOON = timedelta(seconds=3)
"""Timeout of settling and reporting; in production it is up to a minute, too long for a test."""


@dataclass(frozen=True)
class KillPoint:
    """The moment a worker kills itself: before or after the nth run of an activity, counted from 1.

    "Before" is when the activity reached the worker, before it runs; "after" is when it has ended, with a result or an
    error, before the worker reports to Temporal.
    """

    moment: str
    activity: str
    time: int = 1

    def __str__(self) -> str:
        return f"{self.moment}:{self.activity}:{self.time}"


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


class KillableWorker:
    """A worker process."""

    def __init__(self, process: Forked, log_file: Path) -> None:
        self._process = process
        self._log_file = log_file

    def kill(self) -> None:
        """Kill it, whatever it is doing."""
        self._process.kill()

    async def killed(self) -> None:
        """Wait until it was killed. Raises AssertionError with its log when it is not, or ended in another way."""
        try:
            status = await asyncio.to_thread(self._process.wait, KILL_SECONDS)
        except subprocess.TimeoutExpired:
            status = None
        assert status == -signal.SIGKILL, f"its exit status is {status}:\n{self._log_file.read_text()}"


@asynccontextmanager
async def killable_worker(
    client: Client, task_queue: str, database: Database, *, kill_at: KillPoint | None
) -> AsyncIterator[KillableWorker]:
    """Run the process; it is killed at the end of the block if it is still alive."""
    work = partial(_worker, client.service_client.config.target_host, task_queue, database.address, kill_at)
    with TemporaryDirectory() as folder:
        log_file = Path(folder) / "worker.log"
        process = await asyncio.to_thread(forked_call, work, Path.cwd(), dict(os.environ), log_file)
        try:
            yield KillableWorker(process, log_file)
        finally:
            process.kill()
            await asyncio.to_thread(process.wait, KILL_SECONDS)


def _worker(address: str, task_queue: str, database_url: str, kill_at: KillPoint | None) -> None:
    asyncio.run(_work(address, task_queue, database_url, kill_at))


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
        deployment_config=WorkerDeploymentConfig(
            WorkerDeploymentVersion(deployment_name="tests", build_id="killable"), use_worker_versioning=False
        ),  # the default build id is read from all modules, which takes a second
        sticky_queue_schedule_to_start_timeout=SOON,
    ).run()
