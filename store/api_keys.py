"""API keys, and the organizations that they belong to."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from sqlalchemy import Connection, bindparam, insert, select, update

from store.database.column_types import CleanText
from store.database.connection import Database
from store.database.ids import new_id
from store.database.tables import api_keys, organizations
from store.database.upsert import insert_new

SECRET_PREFIX = "phk_"
_SECRET_BYTES = 30
"""Gives 40 characters in URL-safe base64. A secret of 240 random bits needs no slow hash."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret. `last4` are the last four characters of the secret."""

    id: str
    organization_id: str
    name: str
    last4: str
    created_at: datetime
    revoked_at: datetime | None


_KEYS = select(
    api_keys.c.id,
    api_keys.c.organization_id,
    api_keys.c.name,
    api_keys.c.last4,
    api_keys.c.created_at,
    api_keys.c.revoked_at,
).order_by(api_keys.c.created_at, api_keys.c.id)
_ORGANIZATION_OF_SECRET = select(api_keys.c.organization_id).where(
    api_keys.c.secret_sha256 == bindparam("secret_sha256"), api_keys.c.revoked_at.is_(None)
)
_VALID = select(api_keys.c.secret_sha256).where(
    api_keys.c.secret_sha256.in_(bindparam("digests", expanding=True)), api_keys.c.revoked_at.is_(None)
)
_ID_OF_DIGEST = select(api_keys.c.id).where(
    api_keys.c.secret_sha256 == bindparam("secret_sha256"), api_keys.c.revoked_at.is_(None)
)
_VALID_KEY = select(api_keys.c.organization_id, api_keys.c.secret_sha256).where(
    api_keys.c.id == bindparam("key_id", type_=CleanText()), api_keys.c.revoked_at.is_(None)
)
KEYS_AT_ONCE = 500
"""Digests in one query: databases limit the values of a statement."""

Keys = list[ApiKey]


class KeyStore:
    """Creates, checks and revokes API keys. Secrets are stored as digests only."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert_organization = insert_new(database, organizations, key=["id"])

    async def ensure_organization(self, organization_id: str, name: str) -> None:
        """Create the organization. If it exists already, its name stays as it is."""
        values = {"id": organization_id, "name": name, "created_at": datetime.now(UTC)}
        await self._database.write(
            lambda connection: connection.execute(self._insert_organization, values).close(), autocommit=True
        )

    async def create(self, organization_id: str, name: str) -> tuple[ApiKey, str]:
        """Create a key; returns it with its secret, which cannot be read again.

        Creates the organization too if this is its first key.
        """
        secret = SECRET_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        key = ApiKey(
            id=new_id("key"),
            organization_id=organization_id,
            name=name,
            last4=secret[-4:],
            created_at=datetime.now(UTC),
            revoked_at=None,
        )
        organization = {"id": organization_id, "name": organization_id, "created_at": key.created_at}
        values = {
            "id": key.id,
            "organization_id": key.organization_id,
            "name": key.name,
            "secret_sha256": _digest(secret),
            "last4": key.last4,
            "created_at": key.created_at,
        }

        def work(connection: Connection) -> None:
            connection.execute(self._insert_organization, organization)
            connection.execute(insert(api_keys), values)

        await self._database.write(work)
        return key, secret

    async def authenticate(self, secret: str) -> str | None:
        """The organization of the key with this secret; None for an unknown or revoked key."""
        key = {"secret_sha256": _digest(secret)}
        return await self._database.read(
            lambda connection: connection.execute(_ORGANIZATION_OF_SECRET, key).scalar_one_or_none()
        )

    async def valid(self, fingerprints: Collection[bytes]) -> set[bytes]:
        """Those of these SHA-256 digests of secrets that belong to a key which was not revoked."""
        wanted = [fingerprint.hex() for fingerprint in fingerprints]

        def work(connection: Connection) -> set[bytes]:
            found: set[bytes] = set()
            for start in range(0, len(wanted), KEYS_AT_ONCE):
                batch = {"digests": wanted[start : start + KEYS_AT_ONCE]}
                found.update(map(bytes.fromhex, connection.scalars(_VALID, batch)))
            return found

        return await self._database.read(work)

    async def id_of(self, fingerprint: bytes) -> str | None:
        """The id of the key with this SHA-256 digest; None for an unknown or revoked key."""
        key = {"secret_sha256": fingerprint.hex()}
        return await self._database.read(lambda connection: connection.execute(_ID_OF_DIGEST, key).scalar_one_or_none())

    async def valid_key(self, key_id: str) -> tuple[str, bytes] | None:
        """The organization and the SHA-256 digest of a key; None for an unknown or revoked key."""

        def work(connection: Connection) -> tuple[str, bytes] | None:
            row = connection.execute(_VALID_KEY, {"key_id": key_id}).one_or_none()
            return None if row is None else (row.organization_id, bytes.fromhex(row.secret_sha256))

        return await self._database.read(work)

    async def list(self) -> Keys:
        """Every key of every organization, revoked ones included, oldest first."""
        return await self._database.read(lambda connection: [ApiKey(*row) for row in connection.execute(_KEYS)])

    async def revoke(self, key_id: str) -> bool:
        """Revoke a key. Returns False when there is no such key or it was revoked before."""
        statement = (
            update(api_keys)
            .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
            .values(revoked_at=datetime.now(UTC))
        )
        return await self._database.write(
            lambda connection: connection.execute(statement).rowcount == 1, autocommit=True
        )


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
