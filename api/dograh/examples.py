"""Examples of the dograh routes in the OpenAPI document: a text chat of two turns."""

from typing import Any, Final

_GREETING: Final[dict[str, Any]] = {
    "id": "turn_0b1c2d3e4f50",
    "status": "completed",
    "created_at": "2026-11-23T18:00:00+00:00",
    "user_message": None,
    "assistant_message": {
        "text": "Hello Ada, this is Osteria Fiorella. How can I help you?",
        "created_at": "2026-11-23T18:00:00.012000+00:00",
    },
    "events": [
        {
            "type": "node_transition",
            "created_at": "2026-11-23T18:00:00+00:00",
            "payload": {
                "node_id": "1",
                "node_name": "Greet",
                "previous_node_id": None,
                "previous_node_name": None,
                "allow_interrupt": False,
            },
        }
    ],
    "usage": {"llm": {}, "tts": {}, "stt": {}, "call_duration_seconds": 0},
    "checkpoint_after_turn": {
        "version": 1,
        "anchor_turn_id": "turn_0b1c2d3e4f50",
        "current_node_id": "1",
        "messages": [{"role": "assistant", "content": "Hello Ada, this is Osteria Fiorella. How can I help you?"}],
        "gathered_context": {},
        "tool_state": {},
    },
}
_CALLED: Final = {
    "workflow_id": 1,
    "name": "WR-TEXT-7K2QDX",
    "mode": "textchat",
    "state": "running",
    "is_completed": False,
    "initial_context": {"first_name": "Ada"},
    "gathered_context": {},
    "annotations": {"tester": {"source": "workflow_editor", "modality": "text"}},
    "created_at": "2026-11-23T18:00:00Z",
}

CREATE: Final[dict[str, Any]] = {"initial_context": {"first_name": "Ada"}}
MESSAGE: Final[dict[str, Any]] = {"text": "A table for four on Friday, please.", "expected_revision": 2}
REWIND: Final[dict[str, Any]] = {"cursor_turn_id": _GREETING["id"], "expected_revision": 4}
END: Final[dict[str, Any]] = {"expected_revision": 5}

TEXT_SESSION: Final[dict[str, Any]] = {
    "workflow_run_id": 17,
    **_CALLED,
    "revision": 2,
    "session_data": {
        "version": 1,
        "status": "idle",
        "cursor_turn_id": None,
        "turns": [_GREETING],
        "discarded_future": [],
        "simulator": {"enabled": False, "config": {}},
    },
    "checkpoint": _GREETING["checkpoint_after_turn"],
    "updated_at": "2026-11-23T18:00:00.012000Z",
}

RUN: Final[dict[str, Any]] = {
    "id": 17,
    **_CALLED,
    "definition_id": 3,
    "call_type": "outbound",
    "transcript_url": None,
    "recording_url": None,
    "usage_info": _GREETING["usage"],
    "cost_info": {
        "cost_breakdown": {},
        "total_cost_usd": 0.0,
        "unpriced_models": [],
        "calculated_at": "2026-11-23T18:00:00.012000+00:00",
        "call_duration_seconds": 0,
    },
    "logs": {
        "realtime_feedback_events": [
            {
                "type": "rtf-node-transition",
                "timestamp": "2026-11-23T18:00:00+00:00",
                "turn": 0,
                "payload": _GREETING["events"][0]["payload"],
                "node_id": "1",
                "node_name": "Greet",
            },
            {
                "type": "rtf-bot-text",
                "timestamp": "2026-11-23T18:00:00.012000+00:00",
                "turn": 0,
                "payload": {
                    "text": "Hello Ada, this is Osteria Fiorella. How can I help you?",
                    "timestamp": "2026-11-23T18:00:00.012000+00:00",
                },
            },
        ]
    },
}

RUN_PAGE: Final[dict[str, Any]] = {
    "runs": [{field: value for field, value in RUN.items() if field not in ("logs", "annotations")}],
    "total_count": 1,
    "page": 1,
    "limit": 50,
    "total_pages": 1,
    "applied_filters": None,
}

WORKFLOW: Final[dict[str, Any]] = {
    "id": 1,
    "name": "booking-line",
    "status": "active",
    "created_at": "2026-11-23T18:00:00Z",
    "workflow_definition": {
        "nodes": [
            {
                "id": "1",
                "type": "startCall",
                "position": {"x": 0, "y": 0},
                "data": {
                    "name": "Greet",
                    "prompt": "Find out what the caller wants.",
                    "add_global_prompt": True,
                    "allow_interrupt": False,
                },
            }
        ],
        "edges": [],
        "viewport": {"x": 0, "y": 0, "zoom": 1},
    },
    "current_definition_id": 3,
    "template_context_variables": {},
    "workflow_configurations": {"text_chat_inactivity_timeout_seconds": 3600},
    "version_number": 3,
    "version_status": "published",
    "workflow_uuid": "agt_5f0c91d2a4b7",
}

WORKFLOW_SUMMARY: Final[dict[str, Any]] = {
    "id": 1,
    "name": "booking-line",
    "status": "active",
    "created_at": "2026-11-23T18:00:00Z",
    "total_runs": 17,
    "folder_id": None,
    "workflow_uuid": "agt_5f0c91d2a4b7",
}
