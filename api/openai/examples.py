"""Examples of chat completions in the OpenAPI document."""

from typing import Any, Final

from api.schemas.examples import AGENT, SESSION, TURN

_ABOUT: Final[dict[str, Any]] = {
    "id": f"chatcmpl-{TURN['id']}",
    "created": 1795456807,
    "model": f"{AGENT['name']}@{AGENT['version']}",
    "session_id": SESSION["id"],
}

REQUEST: Final[dict[str, Any]] = {
    "model": AGENT["name"],
    "messages": [{"role": "user", "content": TURN["user_message"]["text"]}],
    "metadata": {"session_id": SESSION["id"]},
}
COMPLETION: Final[dict[str, Any]] = {
    **_ABOUT,
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": TURN["assistant_message"]["text"], "refusal": None},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": {
        "prompt_tokens": 412,
        "completion_tokens": 31,
        "total_tokens": 443,
        "prompt_tokens_details": {"cached_tokens": 0},
    },
    "metadata": {
        "session_id": SESSION["id"],
        "turn_id": TURN["id"],
        "node_id": TURN["node_id"],
        "status": "completed",
    },
}
CHUNK: Final[dict[str, Any]] = {
    **_ABOUT,
    "object": "chat.completion.chunk",
    "choices": [
        {
            "index": 0,
            "delta": {"content": "With pleasure."},
            "finish_reason": None,
            "logprobs": None,
        }
    ],
    "usage": None,
}
MODEL: Final[dict[str, Any]] = {
    "id": AGENT["name"],
    "object": "model",
    "created": 1795456500,
    "owned_by": "playhead",
}
