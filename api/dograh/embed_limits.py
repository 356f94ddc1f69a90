"""Limits of public chats: turns of a session, and separate rates for tokens, sessions and addresses."""

from datetime import timedelta
from typing import Final

from store.rate_limits import Rate, RateLimit

MAX_TURNS: Final = 50
"""Turns of a public chat, its greeting and failed turns included."""
SESSION_LIFETIME: Final = timedelta(hours=1)
"""Lifetime of a visitor's token, from the opening of the chat."""

OPENINGS_OF_TOKEN: Final = Rate(burst=20, interval=timedelta(milliseconds=200))
OPENINGS_OF_ADDRESS: Final = Rate(burst=10, interval=timedelta(seconds=6))
MESSAGES_OF_TOKEN: Final = Rate(burst=50, interval=timedelta(milliseconds=50))
MESSAGES_OF_SESSION: Final = Rate(burst=5, interval=timedelta(seconds=1))
MESSAGES_OF_ADDRESS: Final = Rate(burst=20, interval=timedelta(milliseconds=500))
READS_OF_ADDRESS: Final = Rate(burst=60, interval=timedelta(milliseconds=100))
"""All other requests, and those of visitors with an unknown session token."""


def opening_by(address: str) -> RateLimit:
    """Chats that are opened from an address."""
    return RateLimit("embed/openings of an address", address, OPENINGS_OF_ADDRESS)


def opening_with(token_id: str) -> RateLimit:
    """Chats that are opened with an embed token."""
    return RateLimit("embed/openings of a token", token_id, OPENINGS_OF_TOKEN)


def messages(address: str, token_id: str, session_id: str) -> tuple[RateLimit, ...]:
    """Messages from an address, with an embed token and in a session."""
    return (
        RateLimit("embed/messages of an address", address, MESSAGES_OF_ADDRESS),
        RateLimit("embed/messages of a token", token_id, MESSAGES_OF_TOKEN),
        RateLimit("embed/messages of a session", session_id, MESSAGES_OF_SESSION),
    )


def reading_by(address: str) -> RateLimit:
    """Configurations and chats that are read from an address, and chats that are ended."""
    return RateLimit("embed/reads of an address", address, READS_OF_ADDRESS)
