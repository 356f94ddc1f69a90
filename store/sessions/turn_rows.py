"""Database rows of turns: the whole turn as a document, and columns for look-ups."""

from hashlib import sha256
from typing import Any

from domain.turns.turn import Turn

MAX_MESSAGE_KEY_CHARACTERS = 200
"""Longer message ids are looked up by their digest, because PostgreSQL limits the size of indexed values."""


def turn_values(session_id: str, turn: Turn) -> dict[str, Any]:
    """The row of a turn, by column."""
    message_id = turn.user_message.message_id if turn.user_message else None
    return {
        "session_id": session_id,
        "id": turn.id,
        "parent_id": turn.parent_id,
        "idx": turn.index,
        "status": turn.status,
        "message_key": message_key(message_id) if message_id is not None else None,
        "created_at": turn.created_at,
        "document": turn.model_dump_json(),
    }


def message_key(message_id: str) -> str:
    """The look-up key of a message id: the id, or its digest if it is too long for an index."""
    if len(message_id) <= MAX_MESSAGE_KEY_CHARACTERS:
        return message_id
    return f"sha256:{sha256(message_id.encode()).hexdigest()}"
