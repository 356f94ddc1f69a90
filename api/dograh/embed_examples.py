"""Examples of the public embed routes in the OpenAPI document."""

from typing import Any, Final

_TOKEN: Final = "emb_4m0cU1oY0bN3n1a6QkzYt5c3mP0rX8eJd2sVwH7iLgA"
_SETTINGS: Final[dict[str, Any]] = {"widgetType": "chat", "buttonText": "Ask us", "position": "bottom-left"}

INIT: Final[dict[str, Any]] = {"token": _TOKEN, "context_variables": {"plan": "gold"}}
MESSAGE: Final[dict[str, Any]] = {"text": "A table for four on Friday, please.", "expected_revision": 2}
END: Final[dict[str, Any]] = {"expected_revision": 4}
CHAT: Final[dict[str, Any]] = {
    "revision": 2,
    "state": "running",
    "is_completed": False,
    "turns": [
        {
            "id": "turn_0b1c2d3e4f50",
            "status": "completed",
            "user_message": None,
            "assistant_message": {
                "text": "Hello, this is Osteria Fiorella. How can I help you?",
                "created_at": "2026-11-23T18:00:00.012000+00:00",
            },
        }
    ],
}
OPENED: Final[dict[str, Any]] = {
    "session_token": "emb_session_9Q0wq0cVJ8l2oY1tGkz3bN5mXe7rP4sDa6uHf1iLyTc",
    "workflow_run_id": 17,
    "config": {"workflow_id": 1, "workflow_run_id": 17, **_SETTINGS},
    "widget_type": "chat",
    "chat_session": CHAT,
}
CONFIG: Final[dict[str, Any]] = {
    "workflow_id": 1,
    "settings": _SETTINGS,
    "texts": {"endChatText": "End chat", "chatInputPlaceholder": "Write a message"},
    "theme": "light",
    "position": "bottom-left",
    "button_text": "Ask us",
    "button_color": "#3B82F6",
    "size": "medium",
    "auto_start": False,
    "turn_enabled": False,
    "force_turn_relay": False,
}
