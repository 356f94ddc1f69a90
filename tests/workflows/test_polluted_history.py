"""A worker whose last task set a timer when Temporal's database was set back: it writes the timer into the history."""

import asyncio
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from playhead.temporal.dev_server import server_program
from tests.e2e.processes import until_seen
from tests.operators.operator_stack import copied, restored
from tests.operators.separate_services import server_of, stored_tasks
from tests.support.ports import free_port

TASK_COMPLETED = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
TASK_FAILED = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
TIMER_STARTED = EventType.EVENT_TYPE_TIMER_STARTED
SECONDS = 30.0
PAUSE = 0.05


@workflow.defn(name="Notes")
class Notes:
    """A workflow without timers until the third note."""

    def __init__(self) -> None:
        self._notes: list[str] = []

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: len(self._notes) == 3)
        await workflow.sleep(timedelta(milliseconds=50))
        await workflow.sleep(timedelta(hours=1))

    @workflow.update
    async def write(self, note: str) -> list[str]:
        """Add a note, and return all notes."""
        self._notes.append(note)
        return self._notes

    @workflow.query
    def count(self) -> int:
        """The number of notes."""
        return len(self._notes)

    @workflow.signal
    async def look(self) -> None:
        """Cause a workflow task."""


async def test_a_reset_repairs_a_history_that_a_worker_polluted(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    port = free_port()
    server = server_of(tmp_path, port)
    try:
        client = await connected(port)
        async with worker(client):
            notes: WorkflowHandle[Notes, None] = await client.start_workflow(Notes.run, id="notes", task_queue="tests")
            assert await written(notes, "One") == ["One"]
            await asyncio.to_thread(until_seen, lambda: stored_tasks(tmp_path) == 0, lambda: "tasks were left")
            stopped(server)
            copied(tmp_path, "temporal.db", tmp_path / "backup")
            server = server_of(tmp_path, port)
            await connected(port)
            await written(notes, "Two")
            assert await written(notes, "Three") == ["One", "Two", "Three"]
            await history_with(notes, TIMER_STARTED, times=2)
            # Answered once the last task is acknowledged: a worker evicts the workflow if the server dies before that.
            assert await notes.query(Notes.count) == 3
            stopped(server)
            restored(tmp_path / "backup", "temporal.db", tmp_path)
            server = server_of(tmp_path, port)
            await connected(port)
            good = [event.event_id for event in await history_with(notes, TASK_COMPLETED)][-1]
            with pytest.raises(WorkflowUpdateFailedError) as refused:
                await written(notes, "Four")
            assert "UnprocessedUpdate" in str(refused.value.cause)
            await history_with(notes, TIMER_STARTED)
        async with worker(client):
            await notes.signal(Notes.look)
            [failed, *_] = await history_with(notes, TASK_FAILED)
            failure = failed.workflow_task_failed_event_attributes.failure.message
            assert "Nondeterminism" in failure
            address = ("--address", f"127.0.0.1:{port}")
            command = ("workflow", "reset", "-w", "notes", "--event-id", str(good), "--reason", "polluted", *address)
            reset = [str(server_program()), *command]
            await asyncio.to_thread(subprocess.run, reset, check=True, capture_output=True, timeout=SECONDS)
            assert await written(client.get_workflow_handle_for(Notes.run, "notes"), "Five") == ["One", "Five"]
    finally:
        stopped(server)


def stopped(server: "subprocess.Popen[bytes]") -> None:
    """Kill a server."""
    server.kill()
    server.wait()


def worker(client: Client) -> Worker:
    """A worker of this file's workflow."""
    return Worker(client, task_queue="tests", workflows=[Notes], workflow_runner=UnsandboxedWorkflowRunner())


async def connected(port: int) -> Client:
    """A client, once the server takes connections."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                return await Client.connect(f"127.0.0.1:{port}")
            except RuntimeError:
                await asyncio.sleep(PAUSE)


async def written(notes: WorkflowHandle[Notes, None], note: str) -> list[str]:
    """Send a note until the server is there, and return all notes."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                return await notes.execute_update(Notes.write, note, id=note)
            except RPCError:
                await asyncio.sleep(PAUSE)


async def history_with(
    notes: WorkflowHandle[Notes, None], event_type: "EventType.ValueType", times: int = 1
) -> list[HistoryEvent]:
    """The events of a type, once the history has so many of them."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                history = await notes.fetch_history()
            except RPCError:
                history = None
            found = [event for event in history.events if event.event_type == event_type] if history else []
            if len(found) >= times:
                return found
            await asyncio.sleep(PAUSE)
