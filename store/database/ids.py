"""Identifiers of stored objects: a prefix for the type, and random digits or a digest."""

import secrets
from hashlib import sha256
from urllib.parse import quote


def new_id(prefix: str) -> str:
    """A new random identifier, such as `agt_5f0c91d2a4b7`."""
    return f"{prefix}_{secrets.token_hex(6)}"


def derived_id(prefix: str, *parts: str) -> str:
    """An identifier derived from a key: always the same for the same key."""
    return f"{prefix}_{sha256('/'.join(parts).encode()).hexdigest()[:20]}"


def keyed_id(prefix: str, organization_id: str, *parts: str) -> str:
    """An identifier derived from a key of an organization's client; other organizations' keys never give the same."""
    return derived_id(prefix, quote(organization_id, safe=""), *parts)
