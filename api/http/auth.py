"""Authentication: API keys and the organizations they belong to."""

from hashlib import sha256
from typing import Final

from cachetools import TLRUCache
from starlette.requests import Request

from api.http.problems import Problem
from api.settings import is_loopback
from store.api_keys import KeyStore

KEYLESS_ORGANIZATION: Final = "dev"
"""The organization of calls without a key, where they are accepted. Clients that must send a key send this word."""
KEY_CACHE_SECONDS: Final = 5.0
"""How long the owner of a key is cached, so that requests need not read the store. A revoked key works as long."""
MAX_CACHED_KEYS: Final = 10_000


class Authenticator:
    """Finds the organization of a request by its API key."""

    def __init__(self, keys: KeyStore, *, keyless: bool) -> None:
        self._keys = keys
        self._keyless = keyless
        self._owners: TLRUCache[bytes, str | None] = TLRUCache(
            MAX_CACHED_KEYS, ttu=lambda _key, _owner, now: now + KEY_CACHE_SECONDS
        )

    async def organization_of(self, request: Request) -> str:
        """The caller's organization. Raises Problem("unauthenticated")."""
        given = request.headers.get("authorization")
        if given is None:
            return self._keyless_organization(request)
        scheme, _, secret = given.partition(" ")
        if self._keyless and secret == KEYLESS_ORGANIZATION:
            return self._keyless_organization(request)
        organization = await self._owner_of(secret.strip()) if scheme.lower() == "bearer" else None
        if organization is None:
            raise _unauthenticated("The API key is wrong or was revoked. Send it as `Authorization: Bearer <key>`.")
        return organization

    def _keyless_organization(self, request: Request) -> str:
        """Accept a call without a key, addressed to this machine by name: any web page can call a local server."""
        if not self._keyless:
            raise _unauthenticated(
                "Send an API key as `Authorization: Bearer <key>`. Keys are made with `playhead keys create`."
            )
        if not _is_this_machine(request.url.hostname):
            raise _unauthenticated("Calls without a key are accepted at localhost only. Send an API key.")
        return KEYLESS_ORGANIZATION

    async def _owner_of(self, secret: str) -> str | None:
        # Hashed, so that no secret stays in memory for longer than its request.
        fingerprint = sha256(secret.encode()).digest()
        if fingerprint in self._owners:
            return self._owners[fingerprint]
        organization = await self._keys.authenticate(secret) if secret else None
        self._owners[fingerprint] = organization
        return organization


def _is_this_machine(host: str | None) -> bool:
    return host is not None and is_loopback(host)


def _unauthenticated(detail: str) -> Problem:
    return Problem("unauthenticated", detail).with_headers({"WWW-Authenticate": "Bearer"})
