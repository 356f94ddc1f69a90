"""Authentication: API keys and the organizations they belong to."""

import re
from collections.abc import Collection
from hashlib import sha256
from typing import Final

from starlette.requests import Request

from api.http.outage_cache import OutageCache
from api.http.problems import Problem
from api.http.revocation import KEY_SCOPE
from store.api_keys import KeyStore

KEYLESS_ORGANIZATION: Final = "dev"
"""The organization of calls without a key, where they are accepted. Clients that must send a key send this word."""
KEY_HEADER: Final = "x-api-key"
"""Header that may carry the key instead of Authorization, which takes precedence."""
KEY_CACHE_SECONDS: Final = 2.5
"""Lifetime of a key's cached owner, which saves reads of the store. A revoked key stays valid for up to this time.

Streams that it has opened end `revocation.CHECK_SECONDS` later at most, so in less than five seconds.

While the store is down no key can be revoked, and a known one stays valid for up to `outage_cache.OUTAGE_SECONDS`.
"""
MAX_CACHED_KEYS: Final = 10_000
_LOCAL_HOST: Final = re.compile(r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
"""A Host header that names this machine."""


class Authenticator:
    """Finds the organization of a request by its API key."""

    def __init__(self, keys: KeyStore, *, keyless: bool, allowed_origins: Collection[str] = ()) -> None:
        self._keys = keys
        self._keyless = keyless
        self._allowed_origins = frozenset(origin.lower() for origin in allowed_origins)
        self._owners: OutageCache[bytes, str] = OutageCache(MAX_CACHED_KEYS, KEY_CACHE_SECONDS)

    async def organization_of(self, request: Request) -> str:
        """The caller's organization. Raises Problem("unauthenticated")."""
        given = request.headers.get("authorization")
        if given is None and (key := request.headers.get(KEY_HEADER)) is not None:
            given = f"Bearer {key}"
        if given is None:
            return self._keyless_organization(request)
        scheme, _, secret = given.partition(" ")
        if self._keyless and secret == KEYLESS_ORGANIZATION:
            return self._keyless_organization(request)
        # Hashed, so that no secret stays in memory for longer than its request.
        fingerprint = sha256(secret.strip().encode()).digest()
        organization = await self._owner_of(secret.strip(), fingerprint) if scheme.lower() == "bearer" else None
        if organization is None:
            raise _unauthenticated(
                "The API key is wrong or was revoked. Send it as `Authorization: Bearer <key>` or `X-API-Key: <key>`."
            )
        request.scope[KEY_SCOPE] = fingerprint
        return organization

    def _keyless_organization(self, request: Request) -> str:
        """Accept a call without a key from a program on this machine, but not from a web page of another site."""
        if not self._keyless:
            raise _unauthenticated(
                "Send an API key as `Authorization: Bearer <key>`. Keys are made with `playhead keys create`."
            )
        host = _local_host(request)
        if host is None:
            raise _unauthenticated(
                f"Calls without a key, or with the word {KEYLESS_ORGANIZATION}, are accepted at localhost only. From "
                "elsewhere, such as a container, send a key: "
                f"`playhead keys create NAME --organization {KEYLESS_ORGANIZATION}` makes one."
            )
        origins = request.headers.getlist("origin")
        is_allowed = len(origins) == 1 and origins[0].lower() in self._allowed_origins  # exact match: `*` allows none
        if not is_allowed and _is_from_another_site(request, host):
            raise _unauthenticated("Calls without a key are not accepted from web pages of other sites.")
        return KEYLESS_ORGANIZATION

    async def _owner_of(self, secret: str, fingerprint: bytes) -> str | None:
        return await self._owners.get(fingerprint, lambda: self._keys.authenticate(secret)) if secret else None


def _local_host(request: Request) -> str | None:
    """The host and port in a request's Host header if they name this machine; else None.

    A page can let its own name resolve to the address of this machine (DNS rebinding), but its requests still carry
    that name. Several Host headers, or one that is not a plain host and port, are rejected.
    """
    hosts = request.headers.getlist("host")
    return hosts[0].lower() if len(hosts) == 1 and _LOCAL_HOST.fullmatch(hosts[0]) else None


def _is_from_another_site(request: Request, host: str) -> bool:
    """True when a browser sends a request for a page of another site; following a link to a page is allowed.

    Another port of this machine is another site here. Requests of programs have none of these headers.
    """
    if any(origin.lower() not in (f"http://{host}", f"https://{host}") for origin in request.headers.getlist("origin")):
        return True
    if all(site in ("same-origin", "none") for site in request.headers.getlist("sec-fetch-site")):
        return False
    is_link = (
        request.headers.get("sec-fetch-mode") == "navigate" and request.headers.get("sec-fetch-dest") == "document"
    )
    return not (is_link and request.method in ("GET", "HEAD"))


def _unauthenticated(detail: str) -> Problem:
    return Problem("unauthenticated", detail).with_headers({"WWW-Authenticate": "Bearer"})
