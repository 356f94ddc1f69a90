"""Blobs: reading, pruning and deletion."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, update
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
)

from playhead.temporal.large_payloads import READ_ONCE, StoreDriver
from playhead.temporal.payload_pruning import MARGIN
from store.blobs import PIECE_BYTES, RENEWED_AFTER, BlobKey, BlobMissing, BlobStore
from store.database.connection import Database
from store.database.tables import blobs as table

WORKFLOW = "session-ses_1"
OTHER = "session-ses_2"
SOON = timedelta(minutes=1)


@pytest.fixture
def blobs(database: Database) -> BlobStore:
    return BlobStore(database)


async def test_blobs_come_back_in_the_order_they_are_asked_for(blobs: BlobStore) -> None:
    first, second = await blobs.store(WORKFLOW, [b"\x00one\xff", b""])
    [other] = await blobs.store(OTHER, [b"\x00one\xff"])
    assert await blobs.read([second, other, first]) == [b"", b"\x00one\xff", b"\x00one\xff"]
    assert other != first


async def test_a_megabyte_is_kept_whole(blobs: BlobStore) -> None:
    large = bytes(range(256)) * 20_000
    assert await blobs.read(await blobs.store(WORKFLOW, [large])) == [large]


async def test_a_blob_that_is_kept_again_is_the_same_one_and_counts_as_new(blobs: BlobStore) -> None:
    [first] = await blobs.store(WORKFLOW, [b"state"])
    before = datetime.now(UTC)
    assert await blobs.store(WORKFLOW, [b"state", b"state"]) == [first, first]
    assert await blobs.size() == (1, 5)
    assert await blobs.owners(stored_before=before) == []


async def test_a_blob_stored_for_one_read_is_deleted_by_it(blobs: BlobStore) -> None:
    one, other = await blobs.store_for_one_read(WORKFLOW, [b"view", b"view"])
    assert one != other
    assert await blobs.read([one]) == [b"view"]
    with pytest.raises(BlobMissing, match=one.key):
        await blobs.read([one])
    assert await blobs.read([other]) == [b"view"]
    assert await blobs.size() == (0, 0)


async def test_a_blob_that_is_not_there_is_named_with_its_workflow(blobs: BlobStore) -> None:
    with pytest.raises(BlobMissing, match="payload nowhere of session-ses_1"):
        await blobs.read([BlobKey(WORKFLOW, "nowhere")])


async def test_old_blobs_are_pruned_workflow_by_workflow(blobs: BlobStore) -> None:
    [old] = await blobs.store(WORKFLOW, [b"old"])
    moment = datetime.now(UTC)
    [new] = await blobs.store(WORKFLOW, [b"new"])
    [elsewhere] = await blobs.store(OTHER, [b"old"])
    assert await blobs.owners(stored_before=moment) == [WORKFLOW]
    assert await blobs.prune(WORKFLOW, stored_before=moment) == 1
    assert await blobs.read([new, elsewhere]) == [b"new", b"old"]
    with pytest.raises(BlobMissing):
        await blobs.read([old])


async def test_unread_blobs_are_pruned_and_kept_ones_stay(blobs: BlobStore) -> None:
    await blobs.store_for_one_read(WORKFLOW, [b"view"])
    [kept] = await blobs.store(WORKFLOW, [b"state"])
    assert await blobs.prune_unread(stored_before=datetime.now(UTC) - SOON) == 0
    assert await blobs.prune_unread(stored_before=datetime.now(UTC) + SOON) == 1
    assert await blobs.read([kept]) == [b"state"]


async def test_deleting_a_workflow_deletes_its_blobs(blobs: BlobStore) -> None:
    await blobs.store(WORKFLOW, [b"one", b"two"])
    await blobs.store_for_one_read(WORKFLOW, [b"view"])
    await blobs.store(OTHER, [b"one"])
    assert await blobs.delete_all(WORKFLOW) == 3
    assert await blobs.size() == (1, 3)


async def test_a_payload_comes_back_through_the_driver(blobs: BlobStore) -> None:
    driver = StoreDriver(blobs)
    target = StorageDriverWorkflowInfo(namespace="default", id=WORKFLOW)
    payloads = [Payload(metadata={"encoding": b"json/plain"}, data=b"1"), Payload(metadata={READ_ONCE: b"true"})]
    claims = await driver.store(StorageDriverStoreContext(target=target), payloads)
    assert [claim.claim_data["workflow_id"] for claim in claims] == [WORKFLOW, WORKFLOW]
    assert await driver.retrieve(StorageDriverRetrieveContext(), claims) == payloads
    [kept, lent] = claims
    assert await driver.retrieve(StorageDriverRetrieveContext(), [kept]) == payloads[:1]
    with pytest.raises(BlobMissing):
        await driver.retrieve(StorageDriverRetrieveContext(), [lent])


async def test_only_the_new_end_of_a_payload_is_stored_again(blobs: BlobStore) -> None:
    begun = bytes(range(256)) * 1_000
    grown = begun + b"and more"
    [first] = await blobs.store(WORKFLOW, [begun])
    _, size = await blobs.size()
    [second] = await blobs.store(WORKFLOW, [grown])
    assert (await blobs.size())[1] - size < 2 * PIECE_BYTES
    assert await blobs.read([second, first]) == [grown, begun]


async def test_pieces_that_are_needed_again_are_not_discarded(blobs: BlobStore, database: Database) -> None:
    begun = bytes(range(256)) * 1_000
    await blobs.store(WORKFLOW, [begun])
    long_ago = datetime.now(UTC) - 2 * MARGIN
    await database.write(lambda connection: connection.execute(update(table).values(stored_at=long_ago)).close())
    [needed] = await blobs.store(WORKFLOW, [begun + b"and more"])
    assert await blobs.prune(WORKFLOW, stored_before=datetime.now(UTC) - MARGIN) > 0
    assert await blobs.read([needed]) == [begun + b"and more"]
    # Pruning spares what was stored within this margin before the run that needs it.
    assert RENEWED_AFTER < MARGIN


async def test_a_payload_of_which_a_piece_is_lost_is_missing(blobs: BlobStore, database: Database) -> None:
    [key] = await blobs.store(WORKFLOW, [bytes(range(256)) * 1_000])
    pieces = delete(table).where(table.c.key != key.key)
    await database.write(lambda connection: connection.execute(pieces).close())
    with pytest.raises(BlobMissing):
        await blobs.read([key])


async def test_a_process_reads_its_own_blob_once_from_memory(blobs: BlobStore) -> None:
    driver = StoreDriver(blobs)
    payload = Payload(metadata={"encoding": b"json/plain"}, data=b"1")
    target = StorageDriverWorkflowInfo(namespace="default", id=WORKFLOW)
    claims = await driver.store(StorageDriverStoreContext(target=target), [payload])
    payload.data = b"2"  # the SDK replaces it by the reference
    await blobs.delete_all(WORKFLOW)
    [read] = await driver.retrieve(StorageDriverRetrieveContext(), claims)
    assert read.data == b"1"
    with pytest.raises(BlobMissing):
        await driver.retrieve(StorageDriverRetrieveContext(), claims)
