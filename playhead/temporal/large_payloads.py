"""What is too large for Temporal goes to the store, and a reference to it through Temporal: no limit is ever met.

The SDK does it for every payload, in whichever direction, of the clients and workers that are given the driver.
"""

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
    StorageDriverStoreContext,
)
from temporalio.plugin import SimplePlugin

from playhead.config.settings import PAYLOAD_OFFLOAD_THRESHOLD
from store.blobs import BlobKey, BlobStore
from store.database.connection import Database

READ_ONCE = "playhead-read-once"
"""Metadata of payloads that stand in no history, such as the answer to a query: they are gone once they were read."""


class StoreDriver(StorageDriver):
    """Keeps payloads in the store, each with the workflow that it is sent to or comes from."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def name(self) -> str:
        """The name by which histories refer to this driver; it never changes."""
        return "playhead-store"

    def type(self) -> str:
        """The same as in any other language."""
        return "playhead.store"

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Keep the payloads. Raises StoreUnavailable: Temporal tries the task again, and clients are told."""
        workflow_id = (context.target.id if context.target else None) or ""
        claims = []
        for payload in payloads:
            keep = self._blobs.lend if READ_ONCE in payload.metadata else self._blobs.keep
            [key] = await keep(workflow_id, [payload.SerializeToString(deterministic=True)])
            claims.append(StorageDriverClaim(claim_data={"workflow_id": key.workflow_id, "key": key.key}))
        return claims

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """The payloads behind references. Raises BlobMissing, or StoreUnavailable."""
        keys = [BlobKey(claim.claim_data["workflow_id"], claim.claim_data["key"]) for claim in claims]
        return [Payload.FromString(each) for each in await self._blobs.read(keys)]


class LargePayloads(SimplePlugin):
    """Has payloads of `threshold` bytes and more kept in a store."""

    def __init__(self, database: Database, *, threshold: int = PAYLOAD_OFFLOAD_THRESHOLD) -> None:
        storage = ExternalStorage([StoreDriver(BlobStore(database))], payload_size_threshold=threshold)
        super().__init__(
            "playhead-large-payloads",
            data_converter=lambda given: replace(given or DataConverter.default, external_storage=storage),
        )


def with_large_payloads(client: Client, database: Database, *, threshold: int = PAYLOAD_OFFLOAD_THRESHOLD) -> Client:
    """The same client, on the same connection, with what is too large for Temporal kept in this store."""
    config = client.config()
    config["plugins"] = [*config["plugins"], LargePayloads(database, threshold=threshold)]
    return Client(**config)
