"""Examples of responses in the OpenAPI document."""

from typing import Any, Final

from api.openai.responses_api.ids import ResponsePlace
from api.schemas.examples import AGENT, SESSION, TURN

_PLACE: Final = ResponsePlace(SESSION["id"], TURN["id"])

REQUEST: Final[dict[str, Any]] = {
    "model": AGENT["name"],
    "input": TURN["user_message"]["text"],
    "previous_response_id": _PLACE.response_id,
}
MESSAGE: Final[dict[str, Any]] = {
    "id": _PLACE.message_id,
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": TURN["assistant_message"]["text"], "annotations": [], "logprobs": []}],
}
RESPONSE: Final[dict[str, Any]] = {
    "id": _PLACE.response_id,
    "object": "response",
    "created_at": 1795456807,
    "status": "completed",
    "background": False,
    "conversation": {"id": SESSION["id"]},
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {
        "session_id": SESSION["id"],
        "turn_id": TURN["id"],
        "node_id": TURN["node_id"],
        "status": "completed",
    },
    "model": f"{AGENT['name']}@{AGENT['version']}",
    "output": [MESSAGE],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "session_id": SESSION["id"],
    "store": True,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "usage": {
        "input_tokens": 412,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 31,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 443,
    },
}
DELTA: Final[dict[str, Any]] = {
    "type": "response.output_text.delta",
    "sequence_number": 4,
    "item_id": _PLACE.message_id,
    "output_index": 0,
    "content_index": 0,
    "delta": "With pleasure.",
    "logprobs": [],
}
DELETED: Final[dict[str, Any]] = {"id": _PLACE.response_id, "object": "response", "deleted": True}
