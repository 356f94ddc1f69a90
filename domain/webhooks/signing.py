"""Webhook signatures according to Standard Webhooks 1.0.0 (standardwebhooks.com)."""

import hmac
from base64 import b64decode, b64encode
from typing import Final

SECRET_PREFIX: Final = "whsec_"
"""Prefix of a secret, followed by the key in Base64."""
MIN_KEY_BYTES: Final = 24
MAX_KEY_BYTES: Final = 64
"""Length of a key, in bytes: 192 to 512 bits."""


def decode_key(secret: str) -> bytes:
    """Decode the key of a secret. Raises ValueError, without any part of the secret, if it is invalid."""
    try:
        key = b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ValueError(
            f"a webhook secret must be {SECRET_PREFIX} followed by {MIN_KEY_BYTES} to {MAX_KEY_BYTES} random bytes in "
            "Base64"
        )
    return key


def sign(key: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Sign id, time of the attempt in seconds, and body: the value of the header `webhook-signature`."""
    content = b".".join((webhook_id.encode(), str(timestamp).encode(), body))
    return f"v1,{b64encode(hmac.digest(key, content, 'sha256')).decode()}"
