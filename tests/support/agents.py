"""Small agents for the workflow tests."""

from decimal import Decimal

from domain.agents.definition import AgentDefinition, Limits, parse_definition

GREETING = "Good morning, this is the town library."

CLERK = parse_definition(
    {
        "name": "library-clerk",
        "prompt": "You speak for the town library.",
        "start": "desk",
        "nodes": {
            "desk": {
                "prompt": "Find out what the visitor wants.",
                "greeting": "Good {{time_of_day}}, this is the town library.",
                "transitions": [
                    {"name": "to_loans", "when": "the visitor wants a book", "to": "loans", "say": "I look it up."},
                    {"name": "farewell", "when": "the visitor leaves", "to": "goodbye"},
                ],
            },
            "loans": {
                "prompt": "Ask for the title.",
                "transitions": [
                    {"name": "back", "when": "the visitor wants something else", "to": "desk"},
                    {"name": "farewell", "when": "the visitor leaves", "to": "goodbye"},
                ],
            },
            "goodbye": {"prompt": "Say goodbye.", "end": True},
        },
        "context": {"time_of_day": "morning"},
    }
)
"""Greets without a model call, moves between two nodes and ends at a third."""

WANDERER = parse_definition(
    {
        "name": "wanderer",
        "start": "east",
        "nodes": {
            "east": {
                "prompt": "Go west.",
                "greeting": "Hello.",
                "transitions": [{"name": "west", "when": "always", "to": "west"}],
            },
            "west": {"prompt": "Go east.", "transitions": [{"name": "east", "when": "always", "to": "east_again"}]},
            "east_again": {"prompt": "Go west.", "transitions": [{"name": "west", "when": "always", "to": "west"}]},
        },
        "limits": {"max_steps_per_turn": 4},
    }
)
"""Moves in a circle; a turn may take four model calls."""

ASKING = parse_definition(
    {
        "name": "asking",
        "start": "desk",
        "nodes": {
            "desk": {
                "prompt": "Find out which title is wanted.",
                "greeting": "Good morning.",
                "extract": [{"name": "title"}, {"name": "copies", "type": "number"}],
            }
        },
    }
)
"""Extracts two variables, and never leaves its node."""


PARTING = parse_definition(
    {
        "name": "parting",
        "start": "desk",
        "nodes": {
            "desk": {
                "prompt": "Help.",
                "greeting": "Good morning.",
                "transitions": [{"name": "farewell", "when": "the visitor leaves", "to": "goodbye"}],
            },
            "goodbye": {"prompt": "Say goodbye.", "end": True, "extract": [{"name": "content", "type": "boolean"}]},
        },
    }
)
"""Extracts one variable after it has said goodbye."""


def limited(
    definition: AgentDefinition = CLERK,
    *,
    inactivity_seconds: int | None = None,
    max_turns: int | None = None,
    max_cost_usd: str | None = None,
    deadline_seconds: int | None = None,
) -> AgentDefinition:
    """The same agent with other limits."""
    limits = {
        "inactivity_seconds": inactivity_seconds,
        "max_turns": max_turns,
        "deadline_seconds": deadline_seconds,
        "max_cost_usd": Decimal(max_cost_usd) if max_cost_usd else None,
    }
    given = {name: limit for name, limit in limits.items() if limit is not None}
    changed = Limits.model_validate({**definition.limits.model_dump(), **given})
    return definition.model_copy(update={"limits": changed})
