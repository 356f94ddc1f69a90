"""Removal of stored payloads that Temporal no longer refers to."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from store.blobs import BlobStore
from store.database.connection import Database

MARGIN = timedelta(hours=1)
"""Safety margin: a payload is stored before the event that names it, and new workflows are listed late."""


@dataclass(frozen=True)
class PruningResult:
    """Number of removed and remaining payloads, and the size of the remaining ones."""

    removed: int
    left: int
    bytes_left: int


async def prune(client: Client, database: Database, *, now: datetime | None = None) -> PruningResult:
    """Remove payloads that no history in Temporal refers to any more.

    Payloads older than the workflow's oldest run in Temporal belong to runs that are past their retention.
    Raises StoreUnavailable, RPCError, or RuntimeError when Temporal cannot be reached.
    """
    blobs = BlobStore(database)
    cutoff = (now or datetime.now(UTC)) - MARGIN
    removed = await blobs.prune_unread(stored_before=cutoff)
    for workflow_id in await blobs.owners(stored_before=cutoff):
        start = await _earliest_start(client, workflow_id)
        keep_since = cutoff if start is None else min(cutoff, start - MARGIN)
        removed += await blobs.prune(workflow_id, stored_before=keep_since)
    left, bytes_left = await blobs.size()
    return PruningResult(removed, left, bytes_left)


async def _earliest_start(client: Client, workflow_id: str) -> datetime | None:
    """Start of the workflow's earliest run in Temporal; None when Temporal no longer knows the workflow."""
    starts = [await start_of(client.get_workflow_handle(workflow_id))]
    async for run in client.list_workflows(f"WorkflowId = '{workflow_id}'"):
        starts.append(await start_of(client.get_workflow_handle(workflow_id, run_id=run.run_id)))
    return min((start for start in starts if start is not None), default=None)


async def start_of(run: WorkflowHandle[object, object]) -> datetime | None:
    """Time of a run's first event; a run created by a reset begins with the events of the run before."""
    try:
        async for event in run.fetch_history_events(page_size=1):
            return event.event_time.ToDatetime(tzinfo=UTC)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
    return None
