"""A worker process that dies: a whole worker that is killed, by the test or by its own hand at a chosen moment.

    python -m tests.workflows.session.doomed_worker ADDRESS TASK_QUEUE DATABASE_URL [--dies MOMENT:ACTIVITY:TIME]

With `--dies after:generate_step:2` it kills itself when an activity of that type has ended for the second time, well
or badly, before Temporal hears of it; with `before:` it does so when the activity was handed to it, before it does
anything.
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
from tests.support.activities import activities_on
from workflows import activity_options
from workflows.session.workflow import SessionWorkflow
from workflows.webhook_delivery import DeliverWebhookWorkflow

SOON = timedelta(seconds=1)
"""How long the next task of a session waits for its dead worker. In production it is longer; nothing else differs."""
SETTLED_SOON = timedelta(seconds=3)
"""How long settling and reporting may take; in production it is up to a minute, for which no test wants to wait."""


@dataclass(frozen=True)
class Death:
    """When a worker kills itself: before or after it runs an activity of a type for the so-manieth time, from 1."""

    moment: str
    activity: str
    time: int = 1

    def __str__(self) -> str:
        return f"{self.moment}:{self.activity}:{self.time}"

    @classmethod
    def read(cls, written: str) -> "Death":
        """A death as `str` writes it."""
        moment, activity, time = written.split(":")
        return cls(moment, activity, int(time))


class Dies(Interceptor):
    """Kills the process at its moment."""

    def __init__(self, death: Death) -> None:
        self._death = death
        self._begun: Counter[str] = Counter()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Dying(next, self)

    def begin(self, activity: str) -> int:
        """Count an activity that was handed over; how many of its type there were."""
        self._begun[activity] += 1
        return self._begun[activity]

    def come_to(self, moment: str, activity: str, time: int) -> None:
        """Die, if this is the moment."""
        if Death(moment, activity, time) == self._death:
            os.kill(os.getpid(), signal.SIGKILL)


class _Dying(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, dies: Dies) -> None:
        super().__init__(next)
        self._dies = dies

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        activity = input.fn.__name__
        time = self._dies.begin(activity)
        self._dies.come_to("before", activity, time)
        try:
            return await super().execute_activity(input)
        finally:
            self._dies.come_to("after", activity, time)


@asynccontextmanager
async def doomed_worker(
    client: Client, task_queue: str, database: Database, *, dies: Death | None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run such a process; it is killed at the end of the block if it still lives."""
    arguments = [client.service_client.config.target_host, task_queue, database.address]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.workflows.session.doomed_worker", *arguments),
        *(["--dies", str(dies)] if dies else []),
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _work(address: str, task_queue: str, database_url: str, dies: Death | None) -> None:
    activity_options.SETTLE_ATTEMPT = activity_options.SEND_ATTEMPT = SETTLED_SOON
    client = await Client.connect(address, plugins=[PlayheadPlugin()])
    database = Database.open(database_url)
    await Worker(
        client,
        task_queue=task_queue,
        workflows=[SessionWorkflow, DeliverWebhookWorkflow],
        activities=activities_on(database),
        interceptors=[Dies(dies)] if dies else [],
        sticky_queue_schedule_to_start_timeout=SOON,
    ).run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("task_queue")
    parser.add_argument("database_url")
    parser.add_argument("--dies", type=Death.read)
    given = parser.parse_args()
    asyncio.run(_work(given.address, given.task_queue, given.database_url, given.dies))
