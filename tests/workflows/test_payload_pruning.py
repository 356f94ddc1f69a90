"""Pruning: payloads are kept as long as a history may refer to them."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import update
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client

from playhead.temporal.payload_pruning import prune, start_of
from store.blobs import BlobMissing, BlobStore
from store.database.tables import blobs as blobs_table
from tests.support.provider import ScriptedModel
from tests.support.session_stack import SessionHandle, SessionStack, session_worker, store_in

Scripted = Callable[..., ScriptedModel]

EVERYTHING = 1_024
"""A threshold at which the input of every session is a large payload."""
YESTERDAY = timedelta(days=1)


@pytest_asyncio.fixture
async def stack(client: Client, tmp_path: Path) -> AsyncIterator[SessionStack]:
    """A stack with a store of its own, because pruning reads the whole store."""
    async with store_in(tmp_path) as database:
        yield SessionStack.on(client, database, f"pruned-{uuid4().hex[:8]}", threshold=EVERYTHING)


def later() -> datetime:
    """A time at which payloads that are stored now are old enough to be pruned."""
    return datetime.now(UTC) + timedelta(hours=2)


async def age(stack: SessionStack, session: SessionHandle, key: str) -> None:
    """Set the time of a blob to yesterday."""
    of_key = (blobs_table.c.workflow_id == session.workflow_id) & (blobs_table.c.key == key)
    statement = update(blobs_table).where(of_key).values(stored_at=datetime.now(UTC) - YESTERDAY)
    await stack.database.write(lambda connection: connection.execute(statement).close())


async def test_payloads_of_an_open_session_are_not_removed(stack: SessionStack, scripted: Scripted) -> None:
    async with session_worker(stack):
        session = await stack.open(model=scripted().string)
        await session.say("Hello" * 1_000)
        await session.until_settled()
    pruned = await prune(stack.client, stack.database, now=later())
    assert (pruned.removed, pruned.left > 2) == (0, True)
    assert pruned.bytes_left > 2 * EVERYTHING
    async with session_worker(stack):  # which reads all of it again
        assert len(await session.texts()) == 2


async def test_payloads_used_only_by_deleted_runs_are_removed(stack: SessionStack, scripted: Scripted) -> None:
    blobs = BlobStore(stack.database)
    async with session_worker(stack):
        session = await stack.open(model=scripted().string)
        [old, lent] = [
            *await blobs.store(session.workflow_id, [b"named by a run of yesterday"]),
            *await blobs.store_for_one_read(session.workflow_id, [b"asked for yesterday, and never read"]),
        ]
        for each in (old, lent):
            await age(stack, session, each.key)
        pruned = await prune(stack.client, stack.database)
        assert (pruned.removed, pruned.left > 0) == (2, True)
        for each in (old, lent):
            with pytest.raises(BlobMissing):
                await blobs.read([each])


async def test_payloads_of_a_session_unknown_to_temporal_are_removed(stack: SessionStack) -> None:
    blobs = BlobStore(stack.database)
    await blobs.store("session-ses_forgotten", [b"state"])
    assert (await prune(stack.client, stack.database)).removed == 0, "it might have been started this minute"
    pruned = await prune(stack.client, stack.database, now=later())
    assert (pruned.removed, pruned.left, pruned.bytes_left) == (1, 0, 0)


async def test_the_history_of_a_reset_session_starts_with_its_original_run(
    stack: SessionStack, scripted: Scripted
) -> None:
    async with session_worker(stack):
        session = await stack.open(model=scripted().string)
        # A reset in the middle of an activity sometimes leaves an SDK worker that cannot be stopped.
        await session.until_settled()
        first, *events = await session.events()
        completed = next(event for event in events if event.HasField("workflow_task_completed_event_attributes"))
        reset = await stack.client.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace=stack.client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=session.workflow_id),
                reason="a test",
                workflow_task_finish_event_id=completed.event_id,
                request_id=uuid4().hex,
            ),
            retry=True,
        )
        again = stack.client.get_workflow_handle(session.workflow_id, run_id=reset.run_id)
        assert await start_of(again) == first.event_time.ToDatetime(tzinfo=UTC)
        assert (await again.describe()).start_time > first.event_time.ToDatetime(tzinfo=UTC)
        await session.until_settled()
