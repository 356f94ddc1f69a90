"""HTTP responses of services: which failures are worth another attempt, and when."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2

RETRYABLE_CLIENT_ERRORS = frozenset({408, 425, 429})
"""Statuses below 500 after which the same request may succeed."""

PERMANENT_SERVER_ERRORS = frozenset({501, 505})
"""Statuses from 500 up after which it will not."""


def is_retryable(status: int) -> bool:
    """Whether the same request may succeed later. One idempotency key goes with every attempt, so any method may."""
    return status in RETRYABLE_CLIENT_ERRORS or (status >= 500 and status not in PERMANENT_SERVER_ERRORS)


def retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds that the service asks to wait, given in seconds or as a date (RFC 9110, section 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    wait = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(wait, 0.0)
