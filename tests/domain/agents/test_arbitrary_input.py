"""Arbitrary input as an agent is a definition or a list of errors, never another exception."""

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.agents.definition import AgentDefinition, InvalidAgent, mermaid, parse_definition, warnings_for

Data = dict[str, Any]

BOOKING: Data = {
    "name": "booking-line",
    "prompt": "You speak for {{venue | the house}}.",
    "start": "greet",
    "nodes": {
        "greet": {
            "greeting": "Good evening {{first_name}}.",
            "tools": ["find_table"],
            "extract": [{"name": "party_size", "type": "number"}],
            "transitions": [
                {
                    "name": "to booking",
                    "when": "the caller wants a table",
                    "to": "booking",
                    "say": "One moment.",
                },
                {"name": "to_goodbye", "when": "the caller is done", "to": "goodbye"},
            ],
        },
        "booking": {"prompt": "Book.", "transitions": [{"name": "done", "when": "booked", "to": "goodbye"}]},
        "goodbye": {"prompt": "Say goodbye.", "end": True, "use_global_prompt": False},
    },
    "tools": {
        "find_table": {
            "kind": "http",
            "description": "Find a free table.",
            "parameters": {"type": "object", "properties": {"to": {"type": "integer"}}, "required": ["to"]},
            "url": "https://tables.example/search",
            "headers": {"X-Venue": "fiorella"},
        }
    },
    "context": {"first_name": None, "guests": [1, 2.5]},
    "limits": {"inactivity_seconds": 600, "max_cost_usd": "1.00"},
}

WORDS = st.sampled_from(["greet", "booking", "goodbye", "find_table", "to", "prompt", "{{", "{{a}}", "", "object"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS,
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8) | WORDS, children, max_size=4)
    ),
    max_leaves=12,
)


def places_in(value: object) -> list[tuple[Any, Any]]:
    """Every container with a key or index in it, depth first."""
    if isinstance(value, dict):
        return [place for key, item in value.items() for place in [(value, key), *places_in(item)]]
    if isinstance(value, list):
        return [place for index, item in enumerate(value) for place in [(value, index), *places_in(item)]]
    return []


@st.composite
def mutated_definitions(draw: st.DrawFn) -> Data:
    """The agent with a few of its parts replaced, removed, renamed or exchanged."""
    data = copy.deepcopy(BOOKING)
    for _ in range(draw(st.integers(1, 4))):
        places = places_in(data)
        if not places:
            break
        container, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(["replace", "remove", "rename", "exchange"])):
            case "remove":
                container.pop(key)
            case "rename" if isinstance(container, dict):
                container[draw(st.text(max_size=8) | WORDS)] = container.pop(key)
            case "exchange":
                other, other_key = draw(st.sampled_from(places))
                container[key] = copy.deepcopy(other[other_key])
            case _:
                container[key] = draw(JSON)
    return data


def outcome_of(data: object) -> AgentDefinition | InvalidAgent:
    try:
        return parse_definition(data)
    except InvalidAgent as error:
        return error


def parsed_or_refused(data: object) -> None:
    outcome = outcome_of(data)
    if isinstance(outcome, InvalidAgent):
        assert outcome.issues
        assert all(issue.path and issue.message for issue in outcome.issues)
        assert len(set(outcome.issues)) == len(outcome.issues)
        str(outcome).encode()  # messages about text that cannot be encoded can be encoded
        return
    assert parse_definition(json.loads(outcome.model_dump_json())) == outcome
    assert all(warnings_for(outcome))
    arrows = sum(len(part.transitions) for part in outcome.nodes.values())
    assert len(mermaid(outcome).splitlines()) == 1 + len(outcome.nodes) + arrows


@given(JSON)
def test_any_json_is_parsed_or_refused(data: object) -> None:
    parsed_or_refused(data)


@settings(max_examples=400)
@given(mutated_definitions())
def test_any_mutated_definition_is_parsed_or_refused(data: Data) -> None:
    parsed_or_refused(data)
