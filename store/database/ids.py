"""Identifiers that the store gives out: a prefix that says what it is, and chance or a digest."""

import secrets
from hashlib import sha256


def new_id(prefix: str) -> str:
    """A new identifier, such as `agt_5f0c91d2a4b7`."""
    return f"{prefix}_{secrets.token_hex(6)}"


def derived_id(prefix: str, *parts: str) -> str:
    """The identifier of something that has a key already: always the same for the same key."""
    return f"{prefix}_{sha256('/'.join(parts).encode()).hexdigest()[:20]}"
