"""Examples in the OpenAPI document: one conversation with a restaurant's booking line."""

import json
from typing import Any, Final

_SESSION_ID: Final = "ses_5f0c2a9e41b71d20c3aa9e04"
_USAGE_OF_GREETING: Final[dict[str, Any]] = {"llm": {}, "duration_seconds": 0.012, "model_seconds": 0.0}
_NO_COST: Final[dict[str, Any]] = {"currency": "USD", "total": "0", "breakdown": {}, "unpriced_models": []}
_MODEL_USAGE: Final[dict[str, Any]] = {
    "prompt_tokens": 412,
    "completion_tokens": 31,
    "total_tokens": 443,
    "cache_read_input_tokens": 0,
    "cache_creation_input_tokens": 0,
    "requests": 1,
}
_COST: Final[dict[str, Any]] = {
    "currency": "USD",
    "total": "0.000165",
    "breakdown": {"openai:gpt-5-mini": "0.000165"},
    "unpriced_models": [],
}
_CALCULATED: Final[dict[str, Any]] = {"calculated_at": "2026-11-23T18:00:08.204Z"}

GREETING: Final[dict[str, Any]] = {
    "id": "turn_0b1c2d3e4f50",
    "parent_id": None,
    "index": 0,
    "status": "completed",
    "created_at": "2026-11-23T18:00:00Z",
    "user_message": None,
    "assistant_message": {
        "text": "Hello Ada, this is Osteria Fiorella. How can I help you?",
        "created_at": "2026-11-23T18:00:00.012Z",
    },
    "events": [
        {
            "type": "node_transition",
            "created_at": "2026-11-23T18:00:00Z",
            "payload": {"from_node": None, "to_node": "greet"},
        }
    ],
    "usage": {**_USAGE_OF_GREETING, "first_word_seconds": 0.012},
    "cost": _NO_COST,
    "node_id": "greet",
    "error": None,
    "imported": False,
}

_USAGE_OF_TURN: Final[dict[str, Any]] = {
    "llm": {"openai:gpt-5-mini": _MODEL_USAGE},
    "duration_seconds": 1.204,
    "model_seconds": 1.03,
}
TURN: Final[dict[str, Any]] = {
    "id": "turn_5f0c2a9e41b7",
    "parent_id": GREETING["id"],
    "index": 1,
    "status": "completed",
    "created_at": "2026-11-23T18:00:07Z",
    "user_message": {
        "text": "A table for four on Friday, please.",
        "created_at": "2026-11-23T18:00:07Z",
        "message_id": "m-1",
    },
    "assistant_message": {"text": "With pleasure. At what time?", "created_at": "2026-11-23T18:00:08.204Z"},
    "events": [
        {
            "type": "node_transition",
            "created_at": "2026-11-23T18:00:07.801Z",
            "payload": {"from_node": "greet", "to_node": "booking", "transition": "to_booking"},
        }
    ],
    "usage": {**_USAGE_OF_TURN, "first_word_seconds": 0.612},
    "cost": _COST,
    "node_id": "booking",
    "error": None,
    "imported": False,
}

TREE_TURN: Final[dict[str, Any]] = {
    "id": TURN["id"],
    "parent_id": GREETING["id"],
    "index": 1,
    "status": "completed",
    "node_id": "booking",
    "branch": "active",
    "created_at": TURN["created_at"],
    "seconds": 1.204,
    "cost": _COST,
    "total_tokens": 443,
    "text": "A table for four on Friday, please.",
    "copied": False,
}

STEP: Final[dict[str, Any]] = {
    "index": 0,
    "purpose": "turn",
    "model": "openai:gpt-5-mini",
    "node_id": "greet",
    "request": {
        "instructions": "You speak for Osteria Fiorella. The caller is Ada.",
        "variables": [{"start": 46, "end": 49, "name": "first_name", "source": "initial_context"}],
        "messages": [
            {
                "role": "user",
                "content": "A table for four on Friday, please.",
                "turn_id": TURN["id"],
                "is_new": True,
                "tool_calls": [],
                "tool_call_id": None,
            }
        ],
        "tools": [
            {
                "name": "to_booking",
                "kind": "transition",
                "description": "the caller wants a table",
                "parameters": {"type": "object", "properties": {}},
                "to": "booking",
            }
        ],
        "settings": {"timeout": 120.0},
        "context": {
            "tokens": 412,
            "max_tokens": 32_000,
            "counted_by": "provider",
            "turns": 1,
            "turns_left_out": 0,
            "summary_turn_id": None,
        },
    },
    "fidelity": "exact",
    "digest": "9f2b7c1e5d0a4f8e6b3c2d1a0f9e8d7c6b5a493827161504f3e2d1c0b9a89786",
    "reply": {
        "text": "",
        "tool_calls": [{"id": "call_1", "name": "to_booking", "arguments": {}}],
        "raw": {"kind": "response", "parts": [{"part_kind": "tool-call", "tool_name": "to_booking"}]},
    },
    "usage": {
        "prompt_tokens": 412,
        "completion_tokens": 31,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
    },
    "cost": _COST,
    "started_at": "2026-11-23T18:00:07.010Z",
    "first_word_seconds": None,
    "seconds": 0.78,
    "finish_reason": "tool_call",
    "attempts": 1,
    "error": None,
}

BRANCH: Final[dict[str, Any]] = {
    "id": "br_9a8b7c6d5e4f",
    "rewound_from_turn_id": GREETING["id"],
    "discarded_at": "2026-11-23T18:00:07Z",
    "turn_count": 1,
    "cost": _COST,
    "head_turn_id": "turn_9a8b7c6d5e4f",
    "turns": [{**TURN, "id": "turn_9a8b7c6d5e4f"}],
}

SESSION_SUMMARY: Final[dict[str, Any]] = {
    "id": _SESSION_ID,
    "workflow_run_id": 17,
    "agent_id": "agt_5f0c91d2a4b7",
    "agent_name": "booking-line",
    "suite_id": None,
    "turn_count": 2,
    "agent_version": 3,
    "model": "openai:gpt-5-mini",
    "name": "WR-TEXT-7K2QDX",
    "status": "idle",
    "revision": 4,
    "cursor_turn_id": None,
    "current_node_id": "booking",
    "approvals": [],
    "client_calls": [],
    "forked_from": None,
    "is_completed": False,
    "completion_reason": None,
    "disposition": None,
    "tags": [],
    "initial_context": {"first_name": "Ada"},
    "gathered_context": {},
    "annotations": {"ticket": "T-1042"},
    "simulator": None,
    "usage": {"llm": {"openai:gpt-5-mini": _MODEL_USAGE}, "duration_seconds": 8.204, "model_seconds": 1.03},
    "cost": {**_COST, **_CALCULATED},
    "created_at": "2026-11-23T18:00:00Z",
    "updated_at": "2026-11-23T18:00:08.204Z",
    "as_of": "2026-11-23T18:00:08.204Z",
    "temporal": {
        "workflow_id": f"session-{_SESSION_ID}",
        "run_id": "0199e6b2-2f7c-7d06-93a4-3f1e1f0a6f55",
        "ui_url": "http://127.0.0.1:8233/namespaces/default/workflows/"
        f"session-{_SESSION_ID}/0199e6b2-2f7c-7d06-93a4-3f1e1f0a6f55/history",
    },
}

FORKED_FROM: Final[dict[str, Any]] = {"session_id": "ses_0a1b2c3d4e5f60718293a4b5", "turn_id": TURN["id"]}

SESSION: Final[dict[str, Any]] = {
    **SESSION_SUMMARY,
    "turns_before": 0,
    "turns": [GREETING, TURN],
    "discarded_branches": [],
}

COMPARISON: Final[dict[str, Any]] = {
    "common_turns": 1,
    "last_common_turn": GREETING,
    "a": {"branch": BRANCH["id"], "leaf_turn_id": "turn_9a8b7c6d5e4f", "turns": BRANCH["turns"], "turns_after": 0},
    "b": {"branch": "active", "leaf_turn_id": TURN["id"], "turns": [TURN], "turns_after": 0},
    "as_of": "2026-11-23T18:00:08.204Z",
}

TRANSCRIPT: Final[dict[str, Any]] = {
    "session_id": _SESSION_ID,
    "name": "WR-TEXT-7K2QDX",
    "agent": "booking-line",
    "agent_version": 3,
    "created_at": "2026-11-23T18:00:00Z",
    "completion_reason": None,
    "as_of": "2026-11-23T18:00:08.204Z",
    "entries": [
        {
            "turn_id": TURN["id"],
            "index": 1,
            "at": "2026-11-23T18:00:07Z",
            "speaker": "user",
            "text": "A table for four on Friday, please.",
        }
    ],
}
TRANSCRIPTS: Final = {
    "text": "User: A table for four on Friday, please.\nAgent: With pleasure. At what time?\n",
    "markdown": "# WR-TEXT-7K2QDX\n\n**User**\n\n> A table for four on Friday, please.\n",
    "json": TRANSCRIPT,
    "jsonl": json.dumps(TRANSCRIPT["entries"][0]) + "\n",
}

SESSION_COMPLETED: Final[dict[str, Any]] = {
    "type": "session.completed",
    "timestamp": "2026-11-23T18:00:21.040Z",
    "data": {
        "id": _SESSION_ID,
        "workflow_run_id": 17,
        "agent_id": "agt_5f0c91d2a4b7",
        "agent_version": 3,
        "agent_name": "booking-line",
        "model": "openai:gpt-5-mini",
        "name": "WR-TEXT-7K2QDX",
        "revision": 5,
        "completion_reason": "user_hangup",
        "disposition": "user_hangup",
        "tags": ["user_hangup"],
        "current_node_id": "booking",
        "initial_context": {"first_name": "Ada"},
        "gathered_context": {},
        "annotations": {"ticket": "T-1042"},
        "simulator": None,
        "usage": {"llm": {"openai:gpt-5-mini": _MODEL_USAGE}, "duration_seconds": 21.04, "model_seconds": 0.98},
        "cost": _COST,
        "created_at": "2026-11-23T18:00:00Z",
        "updated_at": "2026-11-23T18:00:21.040Z",
        "turns_before": 0,
        "transcript": TRANSCRIPT["entries"],
    },
}

DEFINITION: Final[dict[str, Any]] = {
    "name": "booking-line",
    "prompt": "You speak for Osteria Fiorella. Be brief and warm.",
    "start": "greet",
    "nodes": {
        "greet": {
            "prompt": "Find out what the caller wants.",
            "greeting": "Hello {{first_name | and welcome}}, this is Osteria Fiorella. How can I help you?",
            "transitions": [{"name": "to_booking", "when": "the caller wants a table", "to": "booking"}],
        },
        "booking": {
            "prompt": "Ask for date, time, party size and a name.",
            "transitions": [{"name": "finished", "when": "the booking is complete", "to": "goodbye"}],
        },
        "goodbye": {"prompt": "Say goodbye in one sentence.", "end": True},
    },
    "context": {"first_name": None},
}

DEFINITION_YAML: Final = """\
name: booking-line
prompt: You speak for Osteria Fiorella. Be brief and warm.
start: greet
nodes:
  greet:
    prompt: Find out what the caller wants.
    greeting: "Hello {{first_name | and welcome}}, this is Osteria Fiorella. How can I help you?"
    transitions:
      - {name: to_booking, when: the caller wants a table, to: booking}
  booking:
    prompt: Ask for date, time, party size and a name.
    transitions:
      - {name: finished, when: the booking is complete, to: goodbye}
  goodbye: {prompt: Say goodbye in one sentence., end: true}
context: {first_name: null}
"""

AGENT: Final[dict[str, Any]] = {
    "id": "agt_5f0c91d2a4b7",
    "name": "booking-line",
    "version": 3,
    "workflow_id": 1,
    "definition": DEFINITION,
    "warnings": [],
    "created_at": "2026-11-23T17:55:00Z",
}

AGENT_VERSION: Final[dict[str, Any]] = {
    "version": 3,
    "created_at": "2026-11-23T17:55:00Z",
    "node_count": len(DEFINITION["nodes"]),
    "warnings": 0,
}

DOCUMENT: Final[dict[str, Any]] = {
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "names": ["menu.md"],
    "format": "markdown",
    "bytes": 5_120,
    "characters": 5_034,
    "pages": None,
    "passages": 7,
    "created_at": "2026-11-23T17:55:00Z",
}

AGENT_DRY_RUN: Final[dict[str, Any]] = {
    "name": "booking-line",
    "version": 4,
    "changed": True,
    "warnings": [],
    "definition": DEFINITION,
}

ABOUT: Final[dict[str, Any]] = {
    "version": "0.1.0",
    "organization": "osteria",
    "keyless": False,
    "models": ["openai:gpt-5-mini"],
    "default_model": "openai:gpt-5-mini",
    "month": "2026-11",
    "spent": "12.4031",
    "quota": {"limit": "50", "spent": "12.4031", "currency": "USD", "month": "2026-11"},
}

LEDGER_ROW: Final[dict[str, Any]] = {
    "id": "led_2b7d9f0a1c3e5f607182",
    "session_id": _SESSION_ID,
    "turn_id": TURN["id"],
    "purpose": "turn",
    "agent_id": "agt_5f0c91d2a4b7",
    "suite_id": None,
    "usage": _USAGE_OF_TURN,
    "cost": _COST,
    "created_at": "2026-11-23T18:00:08.204Z",
}

USAGE: Final[dict[str, Any]] = {
    "turns": 2,
    "usage": {"llm": {"openai:gpt-5-mini": _MODEL_USAGE}, "duration_seconds": 1.216, "model_seconds": 1.03},
    "cost": {
        **_COST,
        "total": "0.00068",
        "breakdown": {"duration": "0.000515", "openai:gpt-5-mini": "0.000165"},
        **_CALCULATED,
    },
    "rows": [
        {
            "day": "2026-11-23",
            "agent_id": "agt_5f0c91d2a4b7",
            "agent_name": "booking-line",
            "model": None,
            "purpose": None,
            "turns": 2,
            "prompt_tokens": 412,
            "completion_tokens": 31,
            "cost": {
                **_COST,
                "total": "0.00068",
                "breakdown": {"duration": "0.000515", "openai:gpt-5-mini": "0.000165"},
            },
        }
    ],
}

NEW_SESSION: Final[dict[str, Any]] = {
    "agent": "booking-line",
    "initial_context": {"first_name": "Ada"},
    "annotations": {"ticket": "T-1042"},
}
NEW_MESSAGE: Final[dict[str, Any]] = {
    "text": "A table for four on Friday, please.",
    "message_id": "m-1",
    "expected_revision": 2,
}
REWIND: Final[dict[str, Any]] = {"turn_id": GREETING["id"], "expected_revision": 4}
SIMULATOR: Final[dict[str, Any]] = {
    "enabled": True,
    "config": {
        "persona": {"name": "Anna Bell", "manner": "in a hurry", "language": "English"},
        "goal": "Book a table for dinner.",
        "facts": {"date": "Friday", "time": "19:30", "party size": 4, "name": "Anna Bell"},
    },
}
END: Final[dict[str, Any]] = {"reason": "user_hangup"}


def page_of(*items: dict[str, Any], next_cursor: str | None = None) -> dict[str, Any]:
    """A page of a list with these items."""
    return {"items": list(items), "next_cursor": next_cursor}


EVENTS = "\n".join(
    (
        "event: turn_started",
        'data: {"turn_id":"turn_5f0c2a9e41b7","created_at":"2026-11-27T10:00:05Z","parent_id":"turn_1b2c3d4e5f60",'
        '"index":1,"user_message":{"text":"A table for two","created_at":"2026-11-27T10:00:05Z","message_id":"m-1"}}',
        "id: 4",
        "",
        "event: reply_delta",
        'data: {"turn_id":"turn_5f0c2a9e41b7","text":"With pleasure."}',
        "",
        "",
    )
)
"""A piece of a stream of events."""

EVENT_TICKET: Final[dict[str, Any]] = {
    "ticket": "key_1a2b3c4d5e6f.1795000000.hB4pD0y0Yv2dJt7m4m1t5o0o1w8m3n5b2c9d6e4f0a1",
    "expires_at": "2026-11-18T11:06:40Z",
}
