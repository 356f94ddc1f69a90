"""Tickets for event streams: each replaces an API key in a URL, for one session and one minute.

A browser's EventSource sends no headers. A ticket is signed with the digest of the key that requested it, which is
otherwise only in the store: every API process accepts it, for as long as its key is valid.
"""

import hmac
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from api.http.auth import KEYLESS_ORGANIZATION
from api.http.problems import Problem
from store.api_keys import KeyStore

TICKET_SECONDS: Final = 60


@dataclass(frozen=True)
class TicketHolder:
    """The organization of a valid ticket, and the fingerprint of its key; none for a call without a key."""

    organization_id: str
    fingerprint: bytes | None


class EventTickets:
    """Issues and verifies tickets."""

    def __init__(self, keys: KeyStore, *, keyless: bool) -> None:
        self._keys = keys
        self._keyless = keyless
        self._own_secret = secrets.token_bytes(32)
        """Signs the tickets of calls without a key: only this process accepts them."""

    async def issue(self, session_id: str, fingerprint: bytes | None) -> tuple[str, datetime]:
        """A ticket for a session, and the time at which it expires. Raises Problem("unauthenticated")."""
        expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=TICKET_SECONDS)
        name = KEYLESS_ORGANIZATION
        if fingerprint is not None:
            found = await self._keys.id_of(fingerprint)
            if found is None:
                raise _invalid()
            name = found
        expires = int(expires_at.timestamp())
        signature = _signature(fingerprint or self._own_secret, session_id, name, expires)
        return f"{name}.{expires}.{signature}", expires_at

    async def verify(self, ticket: str, session_id: str) -> TicketHolder:
        """The holder of a ticket. Raises Problem("unauthenticated") for one that expired or is not for this session."""
        name, _, rest = ticket.partition(".")
        expires, _, signature = rest.partition(".")
        if not (expires.isascii() and expires.isdecimal() and len(expires) <= 12):
            raise _invalid()
        holder, secret = await self._holder(name)
        expected = _signature(secret, session_id, name, int(expires))
        is_signed = hmac.compare_digest(signature.encode(), expected.encode())
        if holder is None or not is_signed or datetime.now(UTC).timestamp() >= int(expires):
            raise _invalid()
        return holder

    async def _holder(self, name: str) -> tuple[TicketHolder | None, bytes]:
        if name == KEYLESS_ORGANIZATION:
            return (TicketHolder(KEYLESS_ORGANIZATION, None) if self._keyless else None), self._own_secret
        found = await self._keys.valid_key(name)
        if found is None:
            return None, self._own_secret
        organization_id, fingerprint = found
        return TicketHolder(organization_id, fingerprint), fingerprint


def _signature(secret: bytes, session_id: str, name: str, expires: int) -> str:
    content = f"playhead event ticket\n{session_id}\n{name}\n{expires}"
    return urlsafe_b64encode(hmac.digest(secret, content.encode(), "sha256")).decode().rstrip("=")


def _invalid() -> Problem:
    return Problem(
        "unauthenticated",
        "The ticket is wrong, has expired or belongs to another session. Get another one with "
        "POST /v1/sessions/{id}/events/ticket.",
    )
