"""Signatures of webhooks, as Standard Webhooks has them (standardwebhooks.com, version 1.0.0)."""

import hmac
from base64 import b64decode, b64encode
from typing import Final

SECRET_PREFIX: Final = "whsec_"
"""How a secret begins; what follows is the key in Base64."""
MIN_KEY_BYTES: Final = 24
MAX_KEY_BYTES: Final = 64
"""Bytes that a key may have: 192 to 512 bits."""


def decode_key(secret: str) -> bytes:
    """The key in a secret. Raises ValueError, without any of the secret, for one that is none."""
    try:
        key = b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ValueError(
            f"a webhook's secret is {SECRET_PREFIX} and then {MIN_KEY_BYTES} to {MAX_KEY_BYTES} random bytes in Base64"
        )
    return key


def sign(key: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The value of the header `webhook-signature`: over the id, the time of the attempt in seconds, and the body."""
    signed = b".".join((webhook_id.encode(), str(timestamp).encode(), body))
    return f"v1,{b64encode(hmac.digest(key, signed, 'sha256')).decode()}"
