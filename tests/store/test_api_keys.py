"""API keys: valid until revoked, and stored without their secrets."""

from hashlib import sha256
from pathlib import Path

import pytest

from store.api_keys import KeyStore
from store.database.connection import Database


@pytest.fixture
def keys(database: Database) -> KeyStore:
    return KeyStore(database)


async def test_a_secret_authenticates_its_organization(keys: KeyStore) -> None:
    key, secret = await keys.create("org_a", "laptop")
    _, other = await keys.create("org_b", "laptop")
    assert secret.startswith("phk_")
    assert len(secret) == 44
    assert await keys.authenticate(secret) == "org_a"
    assert await keys.authenticate(other) == "org_b"
    assert key.last4 == secret[-4:]
    for wrong in ("", "phk_", secret[:-1], secret + "x", secret.upper(), "\x00"):
        assert await keys.authenticate(wrong) is None


async def test_revoked_key_is_useless_and_still_listed(keys: KeyStore) -> None:
    key, secret = await keys.create("org_a", "laptop")
    kept, other = await keys.create("org_a", "server")
    assert await keys.revoke(key.id)
    assert not await keys.revoke(key.id), "it was revoked before"
    assert not await keys.revoke("key_unknown")
    assert await keys.authenticate(secret) is None
    assert await keys.authenticate(other) == "org_a"
    digests = [sha256(each.encode()).digest() for each in (secret, other, "phk_unknown")]
    assert await keys.valid(digests) == {digests[1]}
    assert await keys.valid([]) == set()
    assert await keys.valid([number.to_bytes(32) for number in range(1200)] + digests) == {digests[1]}
    listed = {each.id: each.revoked_at is None for each in await keys.list()}
    assert listed == {key.id: False, kept.id: True}


async def test_organization_is_made_once_and_keeps_its_name(keys: KeyStore) -> None:
    await keys.ensure_organization("dev", "Development")
    await keys.ensure_organization("dev", "Another name")
    await keys.create("dev", "laptop")
    assert [key.organization_id for key in await keys.list()] == ["dev"]


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_secret_is_not_in_the_database(keys: KeyStore, kind: str, tmp_path: Path) -> None:
    _, secret = await keys.create("org_a", "laptop")
    written = files_in(tmp_path)
    assert b"laptop" in written
    assert secret.encode() not in written


def files_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())
