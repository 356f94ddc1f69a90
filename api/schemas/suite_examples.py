"""Examples of suites in the OpenAPI document: simulated users of a restaurant's booking line."""

from typing import Any, Final

from api.schemas.examples import GREETING, TURN

_SESSION_ID: Final = "ses_91c04be1a86f3d5207aa4c11"

DEFINITION: Final[dict[str, Any]] = {
    "name": "booking-evenings",
    "agent": "booking-line",
    "repeats": 3,
    "scenarios": [
        {
            "id": "four-on-friday",
            "goal": "Book a table for four on Friday at eight.",
            "facts": {"name": "Ada Rossi", "guests": 4},
            "success": ["The agent confirmed a table for four on Friday."],
            "checks": {"must_visit": ["booking"], "max_turns": 8},
            "tags": ["smoke"],
        }
    ],
}

DEFINITION_YAML: Final = """\
name: booking-evenings
agent: booking-line
repeats: 3
scenarios:
  - id: four-on-friday
    goal: Book a table for four on Friday at eight.
    facts: {name: Ada Rossi, guests: 4}
    success: [The agent confirmed a table for four on Friday.]
    checks: {must_visit: [booking], max_turns: 8}
    tags: [smoke]
"""

SUITE_SUMMARY: Final[dict[str, Any]] = {
    "id": "sui_7d1f0b2c9e55",
    "name": "booking-evenings",
    "agent_id": "agt_5f0c91d2a4b7",
    "agent_version": 3,
    "agent_name": "booking-line",
    "status": "completed",
    "outcome": "failed",
    "planned": 3,
    "seed": 0,
    "concurrency": 10,
    "budget_usd": "1.5",
    "min_pass_rate": 1.0,
    "created_at": "2026-11-23T18:00:00Z",
    "updated_at": "2026-11-23T18:00:41Z",
    "temporal": {"workflow_id": "suite-sui_7d1f0b2c9e55", "run_id": None, "ui_url": None},
}

SUITE: Final[dict[str, Any]] = {
    **SUITE_SUMMARY,
    "progress": {
        "planned": 3,
        "running": 0,
        "passed": 2,
        "failed": 1,
        "inconclusive": 0,
        "turns": 17,
        "cost": {"currency": "USD", "total": "0.00412"},
        "held": "0",
    },
    "scenarios": [
        {
            "id": "four-on-friday",
            "tags": ["smoke"],
            "planned": 3,
            "passed": 2,
            "failed": 1,
            "inconclusive": 0,
            "pass_rate": 0.6666666666666666,
            "outcome": "failed",
        }
    ],
}

SUITE_RUN: Final[dict[str, Any]] = {
    "scenario": "four-on-friday",
    "repeat": 1,
    "seed": 1804289383,
    "session_id": _SESSION_ID,
    "state": "done",
    "outcome": "failed",
    "criteria": [
        {
            "criterion": "The agent confirmed a table for four on Friday.",
            "outcome": "failed",
            "reason": f"In {TURN['id']} it asked for the time, and never confirmed anything.",
            "turn_ids": [TURN["id"]],
            "quotes": [{"turn_id": TURN["id"], "text": "At what time?"}],
        }
    ],
    "findings": [],
    "cut_short": None,
    "completion_reason": "caller_hung_up",
    "error": None,
    "turn_count": 2,
    "last_said": "With pleasure. At what time?",
    "cost": {
        "currency": "USD",
        "total": "0.00137",
        "breakdown": {"openai:gpt-5-mini": "0.00137"},
        "unpriced_models": [],
    },
    "cost_by_purpose": {"turn": "0.00068", "caller": "0.00041", "judge": "0.00028"},
    "started_at": "2026-11-23T18:00:00Z",
    "seconds": 9.4,
    "updated_at": "2026-11-23T18:00:09.4Z",
}

EVENTS: Final = """\
event: run_updated
data: {"scenario":"four-on-friday","repeat":1,"state":"talking","turn_count":2,"last_said":"At what time?"}
id: 1795456809400

"""

SUITE_REPORT: Final[dict[str, Any]] = {
    "suite": SUITE,
    "runs": [
        {
            "scenario": "four-on-friday",
            "repeat": 1,
            "seed": 1804289383,
            "session_id": _SESSION_ID,
            "outcome": "failed",
            "criteria": [
                {
                    "criterion": "The agent confirmed a table for four on Friday.",
                    "outcome": "failed",
                    "reason": f"In {TURN['id']} it asked for the time, and never confirmed anything.",
                    "turn_ids": [TURN["id"]],
                    "quotes": [{"turn_id": TURN["id"], "text": "At what time?"}],
                }
            ],
            "findings": [],
            "cut_short": None,
            "error": None,
            "completion_reason": "caller_hung_up",
            "turn_count": 2,
            "cost": "0.00137",
            "unpriced_models": [],
            "started_at": "2026-11-23T18:00:00Z",
            "seconds": 9.4,
            "turns_before": 0,
            "turns": [GREETING, TURN],
        }
    ],
    "baseline": None,
}
