"""The floor, the minimum that a durable reply costs: a bare workflow that accepts one update and runs one activity.

Run as a module it is the floor's worker: `python -m benchmarks.floor TEMPORAL_ADDRESS`.
"""

import asyncio
import sys
from datetime import timedelta
from time import perf_counter
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

TASK_QUEUE = "bare"


@activity.defn
async def echo(text: str) -> str:
    """Return the text; stands for the work."""
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


@activity.defn
async def pause(seconds: float) -> str:
    """Sleep; stands for a slow model."""
    await asyncio.sleep(seconds)
    return "done"


@workflow.defn(name="BareTalk")
class BareTalkWorkflow:
    """A sequence of activities: the replies of two sides, and nothing else."""

    @workflow.run
    async def run(self, replies: int, seconds: float) -> None:
        for _ in range(replies):
            await workflow.execute_activity(pause, seconds, start_to_close_timeout=timedelta(seconds=60))


async def talks(client: Client, sessions: int, replies: int, seconds: float) -> float:
    """Seconds from the first start to the last end of concurrent bare conversations."""
    began = perf_counter()
    handles = [
        await client.start_workflow(
            BareTalkWorkflow.run, args=[replies, seconds], id=f"talk-{uuid4().hex}", task_queue=TASK_QUEUE
        )
        for _ in range(sessions)
    ]
    await asyncio.gather(*(handle.result() for handle in handles))
    return perf_counter() - began


class Floor:
    """Bare workflows as targets of the load."""

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
        """Send one message to a workflow; returns when the reply has arrived."""
        await self._handles[session].execute_update(BareWorkflow.say, text)

    async def close(self) -> None:
        for handle in self._handles:
            await handle.signal(BareWorkflow.stop)


async def work(address: str) -> None:
    """Serve bare workflows until the process is ended."""
    client = await Client.connect(address)
    async with Worker(
        client, task_queue=TASK_QUEUE, workflows=[BareWorkflow, BareTalkWorkflow], activities=[echo, pause]
    ):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
