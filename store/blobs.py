"""Payloads that are too large for Temporal, kept for as long as a workflow may ask for them."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from sqlalchemy import Connection, CursorResult, bindparam, delete, func, select

from store.database.column_types import CleanText, UtcDateTime
from store.database.connection import Database
from store.database.tables import blobs
from store.database.upsert import insert_or_replace

_READ_ONCE = "once-"
"""How the keys of blobs begin that are gone once they were read."""

_OF_KEY = (blobs.c.workflow_id == bindparam("of_workflow", type_=CleanText())) & (
    blobs.c.key == bindparam("of_key", type_=CleanText())
)
_READ = select(blobs.c.payload).where(_OF_KEY)
_TAKE = delete(blobs).where(_OF_KEY).returning(blobs.c.payload)
_OLDER = blobs.c.stored_at < bindparam("moment", type_=UtcDateTime())
_OWNERS = select(blobs.c.workflow_id).where(_OLDER).distinct().order_by(blobs.c.workflow_id)
_FORGET = delete(blobs).where(blobs.c.workflow_id == bindparam("of_workflow", type_=CleanText()))
_DISCARD = _FORGET.where(_OLDER)
_DISCARD_UNREAD = delete(blobs).where(blobs.c.key.startswith(_READ_ONCE), _OLDER)
_SIZE = select(func.count(), func.coalesce(func.sum(func.length(blobs.c.payload)), 0))


class BlobMissing(LookupError):
    """The store has no such blob: it was erased, or the store was restored from a backup older than the blob."""

    def __init__(self, workflow_id: str, key: str) -> None:
        super().__init__(
            f"The store has no payload {key} of {workflow_id}. Was the session erased, or the store restored from an "
            "older backup, or does this process use another store than the one that wrote it?"
        )


@dataclass(frozen=True, slots=True, order=True)
class BlobKey:
    """Where a blob is found: the workflow it belongs to, and a key within it."""

    workflow_id: str
    key: str

    @property
    def is_read_once(self) -> bool:
        return self.key.startswith(_READ_ONCE)


class BlobStore:
    """Bytes by workflow and key. The key of what is kept is its digest: keeping the same bytes again changes nothing.

    Every method raises StoreUnavailable when the database is out of reach.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = insert_or_replace(database, blobs, key=["workflow_id", "key"])

    async def keep(self, workflow_id: str, payloads: Sequence[bytes]) -> list[BlobKey]:
        """Keep payloads until their workflow is pruned or erased. Kept again, a blob counts as new."""
        keys = [BlobKey(workflow_id, sha256(each).hexdigest()) for each in payloads]
        await self._store(dict(zip(keys, payloads, strict=True)))
        return keys

    async def lend(self, workflow_id: str, payloads: Sequence[bytes]) -> list[BlobKey]:
        """Keep payloads until somebody reads them."""
        keys = [BlobKey(workflow_id, f"{_READ_ONCE}{secrets.token_hex(16)}") for _ in payloads]
        await self._store(dict(zip(keys, payloads, strict=True)))
        return keys

    async def read(self, keys: Sequence[BlobKey]) -> list[bytes]:
        """The payloads of these keys; those that were lent are gone then. Raises BlobMissing."""
        is_change = any(each.is_read_once for each in keys)

        def work(connection: Connection) -> list[bytes]:
            return [_payload(connection, each) for each in keys]

        return await (self._database.write(work) if is_change else self._database.read(work))

    async def owners(self, *, stored_before: datetime) -> list[str]:
        """The workflows with blobs that were stored before a moment."""
        key = {"moment": stored_before}
        return await self._database.read(lambda connection: list(connection.scalars(_OWNERS, key)))

    async def discard(self, workflow_id: str, *, stored_before: datetime) -> int:
        """Remove what a workflow stored before a moment; how many blobs that were."""
        key = {"of_workflow": workflow_id, "moment": stored_before}
        return await self._database.write(lambda connection: _count(connection.execute(_DISCARD, key)))

    async def discard_unread(self, *, stored_before: datetime) -> int:
        """Remove what was lent before a moment and never read; how many blobs that were."""
        key = {"moment": stored_before}
        return await self._database.write(lambda connection: _count(connection.execute(_DISCARD_UNREAD, key)))

    async def forget(self, workflow_id: str) -> int:
        """Remove everything of a workflow that must leave no trace; how many blobs that were."""
        key = {"of_workflow": workflow_id}
        return await self._database.write(lambda connection: _count(connection.execute(_FORGET, key)))

    async def size(self) -> tuple[int, int]:
        """How many blobs there are, and how many bytes they have together."""
        row = await self._database.read(lambda connection: connection.execute(_SIZE).one())
        return row[0], int(row[1])

    async def _store(self, payloads: Mapping[BlobKey, bytes]) -> None:
        now = datetime.now(UTC)
        # Always in the same order, so that two transactions cannot wait for each other's rows.
        rows = [
            {"workflow_id": each.workflow_id, "key": each.key, "stored_at": now, "payload": payloads[each]}
            for each in sorted(payloads)
        ]
        await self._database.write(lambda connection: connection.execute(self._insert, rows).close())


def _payload(connection: Connection, key: BlobKey) -> bytes:
    statement = _TAKE if key.is_read_once else _READ
    found = connection.execute(statement, {"of_workflow": key.workflow_id, "of_key": key.key}).scalar_one_or_none()
    if found is None:
        raise BlobMissing(key.workflow_id, key.key)
    return bytes(found)


def _count(result: CursorResult[object]) -> int:
    return result.rowcount
