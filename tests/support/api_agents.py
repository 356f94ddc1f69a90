"""Agents for the API tests, as request bodies."""

from tests.support.running_api import Json

GREETING = "Good morning, this is the town library."


def library(model: str | None = None, **changes: object) -> Json:
    """An agent that greets without a model call and ends at `goodbye`."""
    return {
        "name": "library",
        "model": model,
        "prompt": "You speak for the town library.",
        "start": "desk",
        "nodes": {
            "desk": {
                "prompt": "Find out what the visitor wants.",
                "greeting": "Good {{time_of_day}}, this is the town library.",
                "transitions": [{"name": "farewell", "when": "the visitor leaves", "to": "goodbye"}],
            },
            "goodbye": {"prompt": "Say goodbye.", "end": True},
        },
        "context": {"time_of_day": "morning"},
        **changes,
    }
