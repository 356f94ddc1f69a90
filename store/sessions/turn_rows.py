"""The row of a turn: the whole turn as a document, and beside it what it is looked up by."""

from hashlib import sha256
from typing import Any

from domain.turns.turn import Turn

MAX_MESSAGE_KEY = 200
"""Message ids longer than this are looked up by their digest: PostgreSQL's indexes take no long values."""


def turn_values(session_id: str, turn: Turn) -> dict[str, Any]:
    """The values of the row."""
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
    """What a message id is looked up by: itself, or its digest where it is too long for an index."""
    if len(message_id) <= MAX_MESSAGE_KEY:
        return message_id
    return f"sha256:{sha256(message_id.encode()).hexdigest()}"
