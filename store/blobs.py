"""Payloads that are too large for Temporal, stored for as long as a workflow may need them.

A large payload is stored in pieces, and a piece that is stored already is not stored again: the inputs of two
consecutive runs of a long session differ only at their end.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from sqlalchemy import Connection, CursorResult, bindparam, delete, func, select

from store.database.column_types import CleanText, UtcDateTime
from store.database.connection import Database
from store.database.tables import blobs
from store.database.upsert import insert_or_replace

PIECE_BYTES = 65_536
RENEWED_AFTER = timedelta(minutes=30)
"""Age from which a piece is stored again when a payload needs it: pruning spares those that are younger."""

_READ_ONCE = "once-"
"""Prefix of the keys of blobs that are deleted when they are read."""
_PIECES = "pieces-"
"""Prefix of the keys of blobs that are lists: the keys of a payload's pieces, one on each line."""

_OF_KEY = (blobs.c.workflow_id == bindparam("of_workflow", type_=CleanText())) & (
    blobs.c.key == bindparam("of_key", type_=CleanText())
)
_OF_KEYS = (blobs.c.workflow_id == bindparam("of_workflow", type_=CleanText())) & blobs.c.key.in_(
    bindparam("of_keys", type_=CleanText(), expanding=True)
)
_READ = select(blobs.c.payload).where(_OF_KEY)
_READ_PIECES = select(blobs.c.key, blobs.c.payload).where(_OF_KEYS)
_YOUNG = select(blobs.c.key).where(_OF_KEYS, blobs.c.stored_at > bindparam("moment", type_=UtcDateTime()))
_TAKE = delete(blobs).where(_OF_KEY).returning(blobs.c.payload)
_OLDER = blobs.c.stored_at < bindparam("moment", type_=UtcDateTime())
_OWNERS = select(blobs.c.workflow_id).where(_OLDER).distinct().order_by(blobs.c.workflow_id)
_DELETE_ALL = delete(blobs).where(blobs.c.workflow_id == bindparam("of_workflow", type_=CleanText()))
_PRUNE = _DELETE_ALL.where(_OLDER)
_PRUNE_UNREAD = delete(blobs).where(blobs.c.key.startswith(_READ_ONCE), _OLDER)
_SIZE = select(func.count(), func.coalesce(func.sum(func.length(blobs.c.payload)), 0))


class BlobMissing(LookupError):
    """The store has no such blob: it was erased, or the store was restored from an older backup."""

    def __init__(self, workflow_id: str, key: str) -> None:
        super().__init__(
            f"The store has no payload {key} of {workflow_id}. Check whether the session was erased, whether the store "
            "was restored from an older backup, and whether this process uses the store that has the payload."
        )


@dataclass(frozen=True, slots=True, order=True)
class BlobKey:
    """Identifies a blob: the workflow it belongs to, and a key within that workflow."""

    workflow_id: str
    key: str

    @property
    def is_read_once(self) -> bool:
        return self.key.startswith(_READ_ONCE)

    @property
    def is_list(self) -> bool:
        return self.key.startswith(_PIECES)


class BlobStore:
    """Stores bytes by workflow and key. The key is a digest, so that equal payloads of a workflow are stored once.

    Every method raises StoreUnavailable when the database is unavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = insert_or_replace(database, blobs, key=["workflow_id", "key"])

    async def store(self, workflow_id: str, payloads: Sequence[bytes]) -> list[BlobKey]:
        """Store payloads until they are pruned or their workflow is erased. Storing one again renews its age."""
        keys: list[BlobKey] = []
        contents: dict[BlobKey, bytes] = {}
        pieces: dict[str, bytes] = {}
        for payload in payloads:
            prefix, content = "", payload
            if len(payload) > PIECE_BYTES:
                cut = [payload[begin : begin + PIECE_BYTES] for begin in range(0, len(payload), PIECE_BYTES)]
                piece_keys = [sha256(piece).hexdigest() for piece in cut]
                pieces |= zip(piece_keys, cut, strict=True)
                prefix, content = _PIECES, "\n".join(piece_keys).encode()
            keys.append(BlobKey(workflow_id, prefix + sha256(content).hexdigest()))
            contents[keys[-1]] = content
        await self._store(workflow_id, contents, pieces)
        return keys

    async def store_for_one_read(self, workflow_id: str, payloads: Sequence[bytes]) -> list[BlobKey]:
        """Store payloads that are deleted when they are read."""
        keys = [BlobKey(workflow_id, f"{_READ_ONCE}{secrets.token_hex(16)}") for _ in payloads]
        await self._store(workflow_id, dict(zip(keys, payloads, strict=True)), {})
        return keys

    async def read(self, keys: Sequence[BlobKey]) -> list[bytes]:
        """Read payloads; those stored for one read are deleted. Raises BlobMissing."""
        is_change = any(each.is_read_once for each in keys)

        def work(connection: Connection) -> list[bytes]:
            return [_payload(connection, each) for each in keys]

        return await (self._database.write(work) if is_change else self._database.read(work))

    async def owners(self, *, stored_before: datetime) -> list[str]:
        """The workflows with blobs that were stored before the given time."""
        key = {"moment": stored_before}
        return await self._database.read(lambda connection: list(connection.scalars(_OWNERS, key)))

    async def prune(self, workflow_id: str, *, stored_before: datetime) -> int:
        """Delete a workflow's blobs that were stored before the given time; returns their number."""
        key = {"of_workflow": workflow_id, "moment": stored_before}
        return await self._database.write(lambda connection: _count(connection.execute(_PRUNE, key)))

    async def prune_unread(self, *, stored_before: datetime) -> int:
        """Delete unread blobs that were stored for one read before the given time; returns their number."""
        key = {"moment": stored_before}
        return await self._database.write(lambda connection: _count(connection.execute(_PRUNE_UNREAD, key)))

    async def delete_all(self, workflow_id: str) -> int:
        """Delete all blobs of a workflow; returns their number."""
        key = {"of_workflow": workflow_id}
        return await self._database.write(lambda connection: _count(connection.execute(_DELETE_ALL, key)))

    async def size(self) -> tuple[int, int]:
        """The number of blobs, and their total size in bytes."""
        row = await self._database.read(lambda connection: connection.execute(_SIZE).one())
        return row[0], int(row[1])

    async def _store(self, workflow_id: str, contents: Mapping[BlobKey, bytes], pieces: Mapping[str, bytes]) -> None:
        """Store blobs of a workflow, and those of the pieces that are missing or older than `RENEWED_AFTER`."""
        now = datetime.now(UTC)
        wanted = {"of_workflow": workflow_id, "of_keys": list(pieces), "moment": now - RENEWED_AFTER}

        def work(connection: Connection) -> None:
            young = set(connection.scalars(_YOUNG, wanted)) if pieces else set()
            needed = {BlobKey(workflow_id, key): piece for key, piece in pieces.items() if key not in young}
            # Sorted, so that two transactions cannot deadlock on each other's rows.
            rows = [
                {"workflow_id": key.workflow_id, "key": key.key, "stored_at": now, "payload": content}
                for key, content in sorted({**contents, **needed}.items())
            ]
            connection.execute(self._insert, rows).close()

        await self._database.write(work)


def _payload(connection: Connection, key: BlobKey) -> bytes:
    statement = _TAKE if key.is_read_once else _READ
    found = connection.execute(statement, {"of_workflow": key.workflow_id, "of_key": key.key}).scalar_one_or_none()
    if found is None:
        raise BlobMissing(key.workflow_id, key.key)
    return _joined(connection, key.workflow_id, bytes(found).decode().split()) if key.is_list else bytes(found)


def _joined(connection: Connection, workflow_id: str, keys: Sequence[str]) -> bytes:
    found = connection.execute(_READ_PIECES, {"of_workflow": workflow_id, "of_keys": list(dict.fromkeys(keys))})
    pieces = {key: bytes(piece) for key, piece in found}
    for key in keys:
        if key not in pieces:
            raise BlobMissing(workflow_id, key)
    return b"".join(pieces[key] for key in keys)


def _count(result: CursorResult[object]) -> int:
    return result.rowcount
