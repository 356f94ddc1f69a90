"""The floor: the least that a durable reply costs. A bare workflow that takes one update and runs one activity.

Run as a module it is the floor's worker: `python -m benchmarks.floor TEMPORAL_ADDRESS`.
"""

import asyncio
import sys
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

TASK_QUEUE = "bare"


@activity.defn
async def echo(text: str) -> str:
    """Stands for the work: it does none."""
    return text


@workflow.defn(name="Bare")
class BareWorkflow:
    """One update, one activity."""

    def __init__(self) -> None:
        self._over = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self._over)

    @workflow.update
    async def say(self, text: str) -> str:
        return await workflow.execute_activity(echo, text, start_to_close_timeout=timedelta(seconds=60))

    @workflow.signal
    def stop(self) -> None:
        self._over = True


class Floor:
    """A number of bare workflows to talk to."""

    def __init__(self, handles: list[WorkflowHandle[BareWorkflow, None]]) -> None:
        self._handles = handles

    @classmethod
    async def open(cls, client: Client, sessions: int, label: str) -> "Floor":
        return cls(
            [
                await client.start_workflow(BareWorkflow.run, id=f"bare-{label}-{number}", task_queue=TASK_QUEUE)
                for number in range(sessions)
            ]
        )

    async def say(self, session: int, text: str) -> None:
        """One message to one of the workflows, until its answer is there."""
        await self._handles[session].execute_update(BareWorkflow.say, text)

    async def close(self) -> None:
        for handle in self._handles:
            await handle.signal(BareWorkflow.stop)


async def work(address: str) -> None:
    """Serve bare workflows until the process is ended."""
    client = await Client.connect(address)
    async with Worker(client, task_queue=TASK_QUEUE, workflows=[BareWorkflow], activities=[echo]):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
