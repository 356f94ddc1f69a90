"""An agent with tools and variables, and the journal of the web service that its tools call."""

import json
from dataclasses import dataclass

from pytest_httpserver import HTTPServer

from domain.agents.definition import AgentDefinition, parse_definition

RETRIES = 2
"""Repeated calls of a tool after a failure."""


def library_agent(service: str) -> AgentDefinition:
    """A town library with the nodes desk, loans, exit and goodbye, and tools of the web service at an address."""
    return parse_definition(
        {
            "name": "library-desk",
            "prompt": "You speak for the town library.",
            "start": "desk",
            "nodes": {
                "desk": {
                    "prompt": "Find out what the visitor wants.",
                    "greeting": "Good morning, this is the town library.",
                    "tools": ["find_book", "opening_hours"],
                    "transitions": [
                        {
                            "name": "to_loans",
                            "when": "the visitor wants a book",
                            "to": "loans",
                            "say": "It stands on shelf {{shelf | unknown}}.",
                        }
                    ],
                },
                "loans": {
                    "prompt": "Ask for the title. The shelf is {{shelf | not known}}.",
                    "tools": ["find_book"],
                    "extract": [
                        {"name": "title", "hint": "the title of the book"},
                        {"name": "copies", "type": "number"},
                    ],
                    "transitions": [
                        {
                            "name": "checkout",
                            "when": "the title is known",
                            "to": "exit",
                            "say": "{{copies | some}} copies.",
                        }
                    ],
                },
                "exit": {
                    "prompt": "Ask whether that is all.",
                    "transitions": [{"name": "farewell", "when": "that is all", "to": "goodbye"}],
                },
                "goodbye": {
                    "prompt": "Say goodbye.",
                    "extract": [{"name": "content", "type": "boolean"}],
                    "end": True,
                },
            },
            "tools": {
                "find_book": {
                    "kind": "http",
                    "description": "Finds a book.",
                    "parameters": {"type": "object", "properties": {"title": {"type": "string"}}},
                    "url": f"{service}/books",
                    "headers": {"Authorization": "Bearer {{secrets.BOOKING_KEY}}"},
                    "secrets": ["BOOKING_KEY"],
                    "assign": {"shelf": "shelf"},
                    "retries": RETRIES,
                    "retry_pause_seconds": 0.05,
                },
                "opening_hours": {
                    "kind": "http",
                    "description": "Tells when the library is open.",
                    "method": "GET",
                    "url": f"{service}/hours",
                    "retries": 0,
                },
            },
        }
    )


@dataclass(frozen=True)
class ServiceCall:
    """One request that the web service has answered."""

    path: str
    body: object
    authorization: str | None
    key: str | None


def journal_of(service: HTTPServer) -> list[ServiceCall]:
    """Every request that came in, oldest first: an independent record of which tools were called, and how often."""
    return [
        ServiceCall(
            path=request.path,
            body=json.loads(request.data) if request.data else None,
            authorization=request.headers.get("Authorization"),
            key=request.headers.get("Idempotency-Key"),
        )
        for request, _ in service.log
    ]
