"""Storage of payloads that are too large for Temporal: histories hold a reference to the store.

The SDK applies the driver to all payloads, in both directions, of the clients and workers that have it.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.converter import (
    DataConverter,
    ExternalStorage,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverSelectContext,
    StorageDriverStoreContext,
)
from temporalio.plugin import SimplePlugin

from playhead.config.settings import PAYLOAD_OFFLOAD_THRESHOLD
from store.blobs import BlobKey, BlobStore
from store.database.connection import Database

READ_ONCE = "playhead-read-once"
"""Metadata of payloads that are in no history, such as query results: they are deleted once read."""
MIN_BYTES_READ_ONCE = 1_000_000
"""Size from which such payloads are kept in the store. Temporal accepts 2 MB for one, and each is sent on its own."""
MAX_AT_HAND = 16
MAX_BYTES_AT_HAND = 32_000_000
"""Upper bounds on the number and size of the stored payloads that a process also keeps in memory."""


class StoreDriver(StorageDriver):
    """Keeps payloads in the store, each with the workflow that sends or receives it.

    The newest payloads are also kept in memory until they are read, mostly by this same process.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._at_hand: OrderedDict[BlobKey, bytes] = OrderedDict()

    def name(self) -> str:
        """The name of this driver in histories; it must never change."""
        return "playhead-store"

    def type(self) -> str:
        """The type of this driver, the same in all languages."""
        return "playhead.store"

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Store the payloads. Raises StoreUnavailable: Temporal retries the task, and clients get an error."""
        workflow_id = (context.target.id if context.target else None) or ""
        claims = []
        for payload in payloads:
            store = self._blobs.store_for_one_read if READ_ONCE in payload.metadata else self._blobs.store
            written = payload.SerializeToString(deterministic=True)
            [key] = await store(workflow_id, [written])
            self._keep_at_hand(key, written)
            claims.append(StorageDriverClaim(claim_data={"workflow_id": key.workflow_id, "key": key.key}))
        return claims

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Read the payloads of references. Raises BlobMissing, or StoreUnavailable."""
        keys = [BlobKey(claim.claim_data["workflow_id"], claim.claim_data["key"]) for claim in claims]
        found = {key: written for key in keys if (written := self._at_hand.pop(key, None)) is not None}
        missing = [key for key in keys if key not in found]
        if missing:
            found |= zip(missing, await self._blobs.read(missing), strict=True)
        return [Payload.FromString(found[key]) for key in keys]

    def _keep_at_hand(self, key: BlobKey, written: bytes) -> None:
        if key.is_read_once:
            return
        self._at_hand[key] = written
        size = sum(map(len, self._at_hand.values()))
        while size > MAX_BYTES_AT_HAND or len(self._at_hand) > MAX_AT_HAND:
            _, forgotten = self._at_hand.popitem(last=False)
            size -= len(forgotten)


class LargePayloads(SimplePlugin):
    """Plugin that keeps payloads of `threshold` bytes or more in a store, and query results of a megabyte or more."""

    def __init__(self, database: Database, *, threshold: int = PAYLOAD_OFFLOAD_THRESHOLD) -> None:
        driver = StoreDriver(BlobStore(database))

        def driver_of(_: StorageDriverSelectContext, payload: Payload) -> StoreDriver | None:
            is_small = READ_ONCE in payload.metadata and payload.ByteSize() < MIN_BYTES_READ_ONCE
            return None if is_small else driver

        storage = ExternalStorage([driver], driver_selector=driver_of, payload_size_threshold=threshold)
        super().__init__(
            "playhead-large-payloads",
            data_converter=lambda given: replace(given or DataConverter.default, external_storage=storage),
        )


def with_large_payloads(client: Client, database: Database, *, threshold: int = PAYLOAD_OFFLOAD_THRESHOLD) -> Client:
    """A client on the same connection that keeps large payloads in this store."""
    config = client.config()
    config["plugins"] = [*config["plugins"], LargePayloads(database, threshold=threshold)]
    return Client(**config)
