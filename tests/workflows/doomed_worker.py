"""A worker process that dies: it runs activities until it is killed, by the test or by its own hand.

    python -m tests.workflows.doomed_worker ADDRESS TASK_QUEUE DATABASE_URL [--after-the-step]

With `--after-the-step` it kills itself when a step was bought and saved, before Temporal hears of it.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from temporalio.client import Client
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor, Worker

from playhead.temporal import PlayheadPlugin
from store.database import Database
from tests.workflows.stage import activities_on


class DiesAfterTheStep(Interceptor):
    """Kills the process between the end of a step and the report of it."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Dying(next)


class _Dying(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        result = await super().execute_activity(input)
        if input.fn.__name__ == "generate_step":
            os.kill(os.getpid(), signal.SIGKILL)
        return result


@asynccontextmanager
async def doomed_worker(
    client: Client, task_queue: str, database: Database, *, after_the_step: bool
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run such a process; it is killed at the end of the block if it still lives."""
    arguments = [client.service_client.config.target_host, task_queue, database.address]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.workflows.doomed_worker", *arguments),
        *(["--after-the-step"] if after_the_step else []),
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _work(address: str, task_queue: str, database_url: str, *, after_the_step: bool) -> None:
    client = await Client.connect(address, plugins=[PlayheadPlugin()])
    database = Database.open(database_url)
    await Worker(
        client,
        task_queue=task_queue,
        activities=activities_on(database),
        interceptors=[DiesAfterTheStep()] if after_the_step else [],
    ).run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("task_queue")
    parser.add_argument("database_url")
    parser.add_argument("--after-the-step", action="store_true")
    given = parser.parse_args()
    asyncio.run(_work(given.address, given.task_queue, given.database_url, after_the_step=given.after_the_step))
