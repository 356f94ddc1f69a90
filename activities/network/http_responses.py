"""Retry rules for HTTP responses: retryable statuses and `retry-after`."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2

RETRYABLE_CLIENT_ERRORS = frozenset({408, 425, 429})
"""Retryable statuses below 500."""

PERMANENT_SERVER_ERRORS = frozenset({501, 505})
"""Statuses from 500 up that are not retryable."""


def is_retryable(status: int) -> bool:
    """True if the same request may succeed later. Any method is retryable: all attempts share an idempotency key."""
    return status in RETRYABLE_CLIENT_ERRORS or (status >= 500 and status not in PERMANENT_SERVER_ERRORS)


def retry_after(headers: httpx2.Headers) -> float | None:
    """The `retry-after` header in seconds, given in seconds or as a date (RFC 9110, section 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    wait = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(wait, 0.0)
