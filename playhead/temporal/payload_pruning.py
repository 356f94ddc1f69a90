"""Removing the payloads that Temporal no longer refers to."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from store.blobs import BlobStore
from store.database.connection import Database

MARGIN = timedelta(hours=1)
"""A payload is stored before the event that names it, and a new workflow may be listed late; never by so much."""


@dataclass(frozen=True)
class PruningResult:
    """How many payloads were removed, how many are left, and how many bytes those have."""

    removed: int
    left: int
    bytes_left: int


async def prune(client: Client, database: Database, *, now: datetime | None = None) -> PruningResult:
    """Remove what no history in Temporal can name any more: a payload lives as long as the runs of its time.

    A workflow's payloads that are older than its oldest run that Temporal still knows were named by runs that are
    past their retention. Raises StoreUnavailable, RPCError, or RuntimeError when Temporal cannot be reached.
    """
    blobs = BlobStore(database)
    settled = (now or datetime.now(UTC)) - MARGIN
    removed = await blobs.discard_unread(stored_before=settled)
    for workflow_id in await blobs.owners(stored_before=settled):
        begun = await _oldest_beginning(client, workflow_id)
        needed_since = settled if begun is None else min(settled, begun - MARGIN)
        removed += await blobs.discard(workflow_id, stored_before=needed_since)
    left, bytes_left = await blobs.size()
    return PruningResult(removed, left, bytes_left)


async def _oldest_beginning(client: Client, workflow_id: str) -> datetime | None:
    """When the history begins that reaches furthest back; None when Temporal has forgotten the workflow."""
    beginnings = [await beginning_of(client.get_workflow_handle(workflow_id))]
    async for run in client.list_workflows(f"WorkflowId = '{workflow_id}'"):
        beginnings.append(await beginning_of(client.get_workflow_handle(workflow_id, run_id=run.run_id)))
    return min((begun for begun in beginnings if begun is not None), default=None)


async def beginning_of(run: WorkflowHandle[object, object]) -> datetime | None:
    """The time of a run's first event: that of a run that was reset is as old as what it was reset from."""
    try:
        async for event in run.fetch_history_events(page_size=1):
            return event.event_time.ToDatetime(tzinfo=UTC)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
    return None
