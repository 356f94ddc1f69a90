"""A worker that has evicted a workflow receives its events in the same order as every replay."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle, WorkflowHistory, WorkflowUpdateFailedError
from temporalio.worker import Replayer, Worker

from playhead.temporal.task_order import OrderedRunner
from tests.support.waiting import eventually

MANY = 12
"""With so many events since the last task, Temporal records the task of a rejected update."""
released: dict[str, asyncio.Event] = {}


@activity.defn
async def wait(gate: str) -> None:
    """Go on when the test lets it."""
    await released.setdefault(gate, asyncio.Event()).wait()


@activity.defn
async def answer() -> None:
    """Go on at once."""


@workflow.defn
class Ledger:
    """Notes what happens; the command of an update depends on the number of notes before it."""

    def __init__(self) -> None:
        self._notes: list[str] = []
        self._waiting: list[asyncio.Task[None]] = []
        self._is_done = False

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self._is_done and workflow.all_handlers_finished())
        return self._notes

    @workflow.update
    async def begin(self, gates: list[str]) -> None:
        self._notes.append("begin")
        self._waiting.extend(asyncio.create_task(self._wait_for(gate)) for gate in gates)

    @workflow.update
    async def add(self) -> None:
        self._notes.append("add")
        if len(self._notes) % 2:
            await asyncio.sleep(0.001)
        else:
            await workflow.execute_activity(answer, start_to_close_timeout=timedelta(minutes=1))

    @workflow.update
    async def reject(self) -> None:
        """Never runs."""

    @reject.validator
    def refuse(self) -> None:
        raise ValueError("rejected")

    @workflow.signal
    def end(self) -> None:
        self._is_done = True

    @workflow.query
    def notes(self) -> list[str]:
        return self._notes

    async def _wait_for(self, gate: str) -> None:
        await workflow.execute_activity(wait, gate, start_to_close_timeout=timedelta(minutes=1))
        self._notes.append(gate.partition("-")[0])


@pytest_asyncio.fixture
async def ledger(client: Client) -> AsyncIterator[WorkflowHandle[Ledger, list[str]]]:
    """A workflow whose worker evicts it after each task."""
    plain = await Client.connect(client.service_client.config.target_host)
    task_queue = f"ledgers-{uuid4().hex[:8]}"
    async with Worker(
        plain,
        task_queue=task_queue,
        workflows=[Ledger],
        activities=[wait, answer],
        workflow_runner=OrderedRunner(),
        max_cached_workflows=0,
    ):
        handle = await plain.start_workflow(Ledger.run, id=task_queue, task_queue=task_queue)
        assert await handle.query(Ledger.notes) == []  # its first task is over: a quiet one, which is marked
        yield handle


def gate(name: str) -> str:
    """A gate of this test alone."""
    return f"{name}-{uuid4().hex[:8]}"


async def release(ledger: WorkflowHandle[Ledger, list[str]], *gates: str) -> None:
    """Let the activities end one after the other, and wait each time until the workflow has processed that."""
    for each in gates:
        before = len(await ledger.query(Ledger.notes))
        released.setdefault(each, asyncio.Event()).set()

        async def is_processed(before: int = before) -> bool:
            task = (await ledger.describe()).raw_description.HasField("pending_workflow_task")
            return len(await ledger.query(Ledger.notes)) > before and not task

        await eventually(is_processed)


async def ended(ledger: WorkflowHandle[Ledger, list[str]]) -> tuple[list[str], WorkflowHistory]:
    """End the workflow and replay its history, which must give the same commands; returns its notes and history."""
    await ledger.signal(Ledger.end)
    notes = await ledger.result()
    history = await ledger.fetch_history()
    await Replayer(workflows=[Ledger], workflow_runner=OrderedRunner()).replay_workflow(history)
    return notes, history


def marks_in(history: WorkflowHistory) -> int:
    return sum(each.event_type == EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED for each in history.events)


async def test_an_update_follows_the_events_of_two_quiet_tasks(
    ledger: WorkflowHandle[Ledger, list[str]],
) -> None:
    first, second = gate("first"), gate("second")
    await ledger.execute_update(Ledger.begin, [first, second])
    await release(ledger, first, second)
    await asyncio.wait_for(ledger.execute_update(Ledger.add), 30)
    notes, history = await ended(ledger)
    assert notes == ["begin", "first", "second", "add"]
    assert marks_in(history) == 2


async def test_an_update_follows_a_quiet_task_that_comes_after_a_rejected_update(
    ledger: WorkflowHandle[Ledger, list[str]],
) -> None:
    first, others = gate("first"), [gate("other") for _ in range(MANY)]
    await ledger.execute_update(Ledger.begin, [first, *others])
    with pytest.raises(WorkflowUpdateFailedError):
        await ledger.execute_update(Ledger.reject)
    await release(ledger, first)
    await asyncio.wait_for(ledger.execute_update(Ledger.add), 30)
    await release(ledger, *others)
    notes, _ = await ended(ledger)
    assert notes[:3] == ["begin", "first", "add"]


async def test_a_quiet_task_after_one_with_commands_is_not_marked(ledger: WorkflowHandle[Ledger, list[str]]) -> None:
    for number in range(3):
        only = gate(f"only {number}")
        await ledger.execute_update(Ledger.begin, [only])
        with pytest.raises(WorkflowUpdateFailedError):
            await ledger.execute_update(Ledger.reject)
        await release(ledger, only)
    notes, history = await ended(ledger)
    assert notes == ["begin", "only 0", "begin", "only 1", "begin", "only 2"]
    assert marks_in(history) == 1
