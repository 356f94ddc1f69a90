"""Who is calling: API keys and the organizations they belong to."""

from collections import OrderedDict
from hashlib import sha256
from time import monotonic
from typing import Final

from starlette.requests import Request

from api.http.problems import Problem
from api.settings import is_loopback
from store.api_keys import KeyStore

KEYLESS_ORGANIZATION: Final = "dev"
"""Whose the calls without a key are, where they are accepted; as a key it is none, for clients that must send one."""
REMEMBERED_SECONDS: Final = 5.0
"""How long a key is taken at its word: a revoked key works this much longer, and no message asks the store for it."""
MAX_REMEMBERED: Final = 10_000


class Authenticator:
    """Tells by its key whose a request is."""

    def __init__(self, keys: KeyStore, *, keyless: bool) -> None:
        self._keys = keys
        self._keyless = keyless
        self._remembered: OrderedDict[bytes, tuple[float, str | None]] = OrderedDict()

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
        """Any page a browser shows can call a server on its machine; under another host's name it gets nothing."""
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
        known = self._remembered.get(fingerprint)
        if known and known[0] > monotonic():
            return known[1]
        organization = await self._keys.authenticate(secret) if secret else None
        self._remembered[fingerprint] = (monotonic() + REMEMBERED_SECONDS, organization)
        self._remembered.move_to_end(fingerprint)
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return organization


def _is_this_machine(host: str | None) -> bool:
    return host is not None and is_loopback(host)


def _unauthenticated(detail: str) -> Problem:
    return Problem("unauthenticated", detail).with_headers({"WWW-Authenticate": "Bearer"})
