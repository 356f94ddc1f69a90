"""Signatures of webhooks, as Standard Webhooks has them (standardwebhooks.com, version 1.0.0)."""

import hmac
from base64 import b64decode, b64encode
from typing import Final

PREFIX: Final = "whsec_"
"""How a secret begins; what follows is the key in Base64."""
MIN_KEY: Final = 24
MAX_KEY: Final = 64
"""Bytes that a key may have: 192 to 512 bits."""


def key_of(secret: str) -> bytes:
    """The key in a secret. Raises ValueError, without any of the secret, for one that is none."""
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(PREFIX) or not MIN_KEY <= len(key) <= MAX_KEY:
        raise ValueError(f"a webhook's secret is {PREFIX} and then {MIN_KEY} to {MAX_KEY} random bytes in Base64")
    return key


def signature(key: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The value of the header `webhook-signature`: over the id, the time of the attempt in seconds, and the body."""
    signed = b".".join((webhook_id.encode(), str(timestamp).encode(), body))
    return f"v1,{b64encode(hmac.digest(key, signed, 'sha256')).decode()}"
