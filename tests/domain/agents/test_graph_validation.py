"""Validation of agent definitions: every error is reported with its path."""

import copy
import datetime
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from domain.agents.definition import (
    AgentDefinition,
    HttpTool,
    InvalidAgent,
    Limits,
    Transition,
    mermaid,
    parse_definition,
    warnings_for,
)
from domain.agents.validation_errors import MAX_COUNTED_ISSUES, MAX_LISTED_ISSUES

Data = dict[str, Any]

BOOKING: Data = {
    "name": "booking-line",
    "model": "openai:gpt-5-mini",
    "prompt": "You speak for Osteria Fiorella.",
    "start": "greet",
    "nodes": {
        "greet": {
            "prompt": "Find out what {{first_name | the caller}} wants.",
            "greeting": "Good evening {{first_name | and welcome}}, Osteria Fiorella.",
            "tools": ["find_table"],
            "extract": [{"name": "party_size", "type": "number", "hint": "how many guests"}],
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
        "booking": {
            "prompt": "Take the booking.",
            "transitions": [{"name": "done", "when": "it is booked", "to": "goodbye"}],
        },
        "goodbye": {"prompt": "Say goodbye.", "end": True},
    },
    "tools": {
        "find_table": {
            "kind": "http",
            "description": "Find a free table.",
            "parameters": {
                "type": "object",
                "properties": {"guests": {"type": "integer"}},
                "required": ["guests"],
            },
            "method": "POST",
            "url": "https://tables.example/search",
            "headers": {"X-Venue": "fiorella"},
        }
    },
    "context": {"first_name": None},
    "limits": {"inactivity_seconds": 600, "max_turns": 40, "max_cost_usd": "1.00", "max_steps_per_turn": 6},
}


def booking(change: Callable[[Data], object] = lambda data: None) -> Data:
    data = copy.deepcopy(BOOKING)
    change(data)
    return data


def small(**fields: object) -> Data:
    """The smallest valid agent: one node."""
    return {"name": "a", "start": "hi", "nodes": {"hi": {"prompt": "Talk."}}, **fields}


def faults(data: object) -> dict[str, str]:
    with pytest.raises(InvalidAgent) as caught:
        parse_definition(data)
    assert caught.value.issues
    assert all(issue.path in str(caught.value) for issue in caught.value.issues)
    return {issue.path: issue.message for issue in caught.value.issues}


def node(**fields: object) -> Callable[[Data], object]:
    return lambda data: data["nodes"]["greet"].update(fields)


def test_a_sound_definition_is_read_as_written() -> None:
    definition = parse_definition(BOOKING)
    greet = definition.nodes["greet"]
    assert definition.start == "greet"
    assert greet.transitions[0].tool_name == "to_booking"
    assert greet.extract[0].type == "number"
    find_table = definition.tools["find_table"]
    assert isinstance(find_table, HttpTool)
    assert find_table.timeout_seconds == 10
    assert definition.limits == Limits(
        inactivity_seconds=600, max_turns=40, max_cost_usd=Decimal("1.00"), max_steps_per_turn=6
    )


def test_a_definition_survives_its_json_and_keeps_money_as_text() -> None:
    definition = parse_definition(BOOKING)
    written = definition.model_dump_json()
    assert AgentDefinition.model_validate_json(written) == definition
    assert parse_definition(json.loads(written)) == definition
    assert json.loads(written)["limits"]["max_cost_usd"] == "1.00"


def test_the_smallest_agent_takes_every_default() -> None:
    definition = parse_definition(small())
    assert definition.limits == Limits()
    assert definition.nodes["hi"].transitions == ()


def test_a_refused_definition_leaves_the_data_as_it_was() -> None:
    data = booking(node(prompt=3))
    before = copy.deepcopy(data)
    faults(data)
    assert data == before


@pytest.mark.parametrize(
    ("name", "expected"),
    [("to_booking", "to_booking"), ("To Booking!", "to_booking_"), ("größe-2", "gr__e_2"), ("予約", "__")],
)
def test_a_transition_reaches_the_model_under_a_plain_name(name: str, expected: str) -> None:
    assert Transition(name=name, when="x", to="y").tool_name == expected


def transition(index: int, **fields: object) -> Callable[[Data], object]:
    return lambda data: data["nodes"]["greet"]["transitions"][index].update(fields)


def tool(**fields: object) -> Callable[[Data], object]:
    return lambda data: data["tools"]["find_table"].update(fields)


def limit(**fields: object) -> Callable[[Data], object]:
    return lambda data: data["limits"].update(fields)


def top(**fields: object) -> Callable[[Data], object]:
    return lambda data: data.update(fields)


def new_node(name: str, **fields: object) -> Callable[[Data], object]:
    return lambda data: data["nodes"].update({name: {"prompt": "Talk.", **fields}})


ONE_FAULT: list[tuple[Callable[[Data], object], str, str]] = [
    # the form
    (lambda data: data.pop("name"), "name", "is required"),
    (top(name=" "), "name", "must not be empty"),
    (top(name="n" * 201), "name", "at most 200 characters"),
    (top(name=True), "name", "must be text, is true (put it in quotes"),
    (top(model=7), "model", "must be text, is the number 7"),
    (top(prompt="p" * 500_001), "prompt", "at most 500000 characters"),
    (top(promt="x"), "promt", 'unknown field; did you mean "prompt"?'),
    (top(zzz="x"), "zzz", 'unknown field; expected one of: "compaction", "context", "history", "lenient_templates"'),
    (top(context=[1]), "context", "must be a mapping of names to values, is a list"),
    (node(prompt="p" * 500_001), "nodes.greet.prompt", "at most 500000 characters"),
    (node(end="yes"), "nodes.greet.end", 'must be true or false, is the text "yes"'),
    (node(transitionz=[]), "nodes.greet.transitionz", 'did you mean "transitions"?'),
    (transition(0, whenn="x"), "nodes.greet.transitions[0].whenn", 'did you mean "when"?'),
    (transition(1, when="\n"), "nodes.greet.transitions[1].when", "must not be empty"),
    (transition(1, to=None), "nodes.greet.transitions[1].to", "must be text, is empty"),
    (node(transitions=None), "nodes.greet.transitions", "must be a list, is empty"),
    (node(transitions={"a": 1}), "nodes.greet.transitions", "must be a list, is a mapping"),
    (
        node(extract=[{"name": "a", "type": "date"}]),
        "nodes.greet.extract[0].type",
        "'number' or 'boolean', is",
    ),
    (tool(method="FETCH"), "tools.find_table.method", "must be one of 'GET'"),
    (tool(timeout_seconds=301), "tools.find_table.timeout_seconds", "must be at most 300"),
    (tool(hedaers={}), "tools.find_table.hedaers", 'did you mean "headers"?'),
    (limit(inactivity_seconds=4), "limits.inactivity_seconds", "must be at least 5"),
    (limit(inactivity_seconds=30 * 86_400 + 1), "limits.inactivity_seconds", "must be at most 2592000"),
    (limit(max_turns=0), "limits.max_turns", "must be at least 1"),
    (limit(max_turns=True), "limits.max_turns", "must be a whole number, is true"),
    (limit(max_steps_per_turn=101), "limits.max_steps_per_turn", "must be at most 100"),
    (limit(max_cost_usd="0"), "limits.max_cost_usd", "must be more than 0"),
    (limit(max_cost_usd="free"), "limits.max_cost_usd", 'is the text "free"'),
    (limit(max_trns=1), "limits.max_trns", 'did you mean "max_turns"?'),
    # what JSON cannot hold
    (top(context={"day": datetime.date(2026, 1, 2)}), "context.day", "is a date, which JSON cannot hold"),
    (top(context={"x": [1, float("nan")]}), "context.x[1]", "must be a finite number"),
    (top(context={"x": 10**5000}), "context.x", "is too large a number"),
    (top(context={"x": "a\x00"}), "context.x", "cannot be stored"),
    (top(context={"\ud800": 1}), "context", "cannot be stored"),
    (top(context={True: 1}), "context", "the key True is not text; put it in quotes"),
    # the meaning
    (top(start="gret"), "start", 'no node "gret"; did you mean "greet"?'),
    (transition(0, to="bookin"), "nodes.greet.transitions[0].to", 'did you mean "booking"?'),
    (new_node("island"), "nodes.island", 'no path of transitions leads here from the start "greet"'),
    (
        lambda data: data["nodes"]["booking"].update(end=True),
        "nodes.booking.transitions",
        "an end node has no",
    ),
    (node(tools=["find_tabel"]), "nodes.greet.tools[0]", 'no tool "find_tabel"; did you mean "find_table"?'),
    (node(tools=["find_table"] * 2), "nodes.greet.tools[1]", "twice"),
    (transition(0, name="Find Table"), "nodes.greet.transitions[0].name", "has a tool called"),
    (node(extract=[{"name": "a"}, {"name": "a"}]), "nodes.greet.extract[1].name", "twice"),
    (node(extract=[{"name": "a b"}]), "nodes.greet.extract[0].name", "must start with a letter"),
    (top(prompt="You are {{bot"), "prompt", "line 1, column 9"),
    (node(prompt="{{user name}}"), "nodes.greet.prompt", "does not name a variable"),
    (node(greeting="Hello {{"), "nodes.greet.greeting", "never closed"),
    (transition(0, say="Hm {{"), "nodes.greet.transitions[0].say", "never closed"),
    (tool(url="ftp://tables.example"), "tools.find_table.url", "http:// or https://"),
    (tool(url="https://[broken"), "tools.find_table.url", "address with a host"),
    (tool(headers={"X Venue": "a"}), 'tools.find_table.headers["X Venue"]', "is not a valid HTTP header"),
    (tool(headers={"X-Venue": "a\r\nB: c"}), "tools.find_table.headers.X-Venue", "is not a valid HTTP header"),
    (tool(parameters={"type": "array"}), "tools.find_table.parameters.type", 'must be "object"'),
    (
        tool(parameters={"type": "object", "properties": 1}),
        "tools.find_table.parameters.properties",
        "mapping",
    ),
    (
        tool(parameters={"type": "object", "properties": {"a": 1}}),
        "tools.find_table.parameters.properties.a",
        "must be a JSON schema",
    ),
    (
        tool(parameters={"type": "object", "required": ["a"]}),
        "tools.find_table.parameters.required[0]",
        'no parameter "a"',
    ),
]


@pytest.mark.parametrize(("change", "place", "message"), ONE_FAULT)
def test_one_fault_is_reported_once_with_its_path(change: Callable[[Data], object], place: str, message: str) -> None:
    found = faults(booking(change))
    assert list(found) == [place]
    assert message in found[place]


@pytest.mark.parametrize("name", ["two words", "1st", "", "x" * 65, "a.b"])
def test_names_of_nodes_and_tools_have_one_form(name: str) -> None:
    shape = "must start with a letter"
    nodes = {
        "hi": {"prompt": "p", "transitions": [{"name": "t", "when": "w", "to": name}]},
        name: {"prompt": "q"},
    }
    assert [shape in message for message in faults(small(nodes=nodes)).values()] == [True]
    tools = {name: BOOKING["tools"]["find_table"]}
    assert [shape in message for message in faults(small(tools=tools)).values()] == [True]


def test_transitions_with_the_same_tool_name_are_all_reported() -> None:
    found = faults(booking(transition(1, name="To Booking")))
    assert list(found) == ["nodes.greet.transitions[0].name", "nodes.greet.transitions[1].name"]
    assert '"to_booking"' in found["nodes.greet.transitions[0].name"]


@pytest.mark.parametrize(
    ("fields", "silent"),
    [
        ({}, True),
        ({"prompt": " \n"}, True),
        ({"greeting": "Hello."}, False),
        ({"prompt": "Talk."}, False),
        ({"end": True}, True),
    ],
)
def test_a_node_needs_a_prompt_or_a_greeting(fields: Data, silent: bool) -> None:
    data = small(nodes={"hi": fields})
    if silent:
        assert list(faults(data)) == ["nodes.hi.prompt"]
    else:
        parse_definition(data)


def test_the_agents_prompt_replaces_a_nodes_only_where_it_is_used() -> None:
    parse_definition(small(prompt="You are kind.", nodes={"hi": {}}))
    found = faults(small(prompt="You are kind.", nodes={"hi": {"use_global_prompt": False}}))
    assert list(found) == ["nodes.hi.prompt"]


def test_sizes_are_bounded() -> None:
    ring = {
        f"n{i}": {"prompt": "p", "transitions": [{"name": "go", "when": "w", "to": f"n{(i + 1) % 201}"}]}
        for i in range(201)
    }
    assert faults(small(start="n0", nodes=ring))["nodes"] == "has 201 entries, at most 200 are allowed"
    ways = [{"name": f"t{i}", "when": "w", "to": "hi"} for i in range(51)]
    found = faults(small(nodes={"hi": {"prompt": "p", "transitions": ways}}))
    assert found == {"nodes.hi.transitions": "has 51 entries, at most 50 are allowed"}
    ways[50]["when"] = ""
    assert "nodes.hi.transitions[50].when" in faults(small(nodes={"hi": {"prompt": "p", "transitions": ways}}))
    assert faults(small(nodes={})) == {"nodes": "must have at least 1 entry"}


@pytest.mark.parametrize("broken", [None, 7, "text", [], {"prompt": 1}, {"transitions": [1, {"to": []}]}])
def test_a_malformed_node_does_not_hide_the_faults_of_others(broken: object) -> None:
    def change(data: Data) -> None:
        data["nodes"]["booking"] = broken
        data["nodes"]["goodbye"] = {"prompt": "{{", "colour": "red"}
        transition(1, to="nowhere")(data)

    found = faults(booking(change))
    assert {"nodes.goodbye.prompt", "nodes.goodbye.colour", "nodes.greet.transitions[1].to"} <= found.keys()
    assert any(place.startswith("nodes.booking") for place in found)
    # The targets of malformed transitions are unknown, so no node is reported as unreachable.
    assert not any("no path" in message for message in found.values())


@pytest.mark.parametrize("data", [None, [], "name: x", 3])
def test_a_definition_that_is_not_a_mapping_is_refused(data: object) -> None:
    assert faults(data) == {"definition": "must be a mapping with name, start and nodes"}


def test_data_that_contains_itself_is_refused() -> None:
    data = small()
    data["context"] = data
    assert "contains itself" in next(iter(faults(data).values()))


def test_aliases_that_unfold_to_billions_of_values_are_refused() -> None:
    bomb: list[object] = ["ha"] * 10
    for _ in range(20):
        bomb = [bomb] * 10
    assert "values" in faults(small(context={"bomb": bomb}))["definition"]


def test_suggestions_for_unknown_names_are_limited() -> None:
    ways = [{"name": f"t{i}", "when": "w", "to": f"missing{i}"} for i in range(50)]
    nodes = {f"n{n}": {"prompt": "p", "transitions": ways} for n in range(40)}
    with pytest.raises(InvalidAgent) as caught:
        parse_definition(small(nodes=nodes, start="n0"))
    assert caught.value.count == MAX_COUNTED_ISSUES
    messages = [issue.message for issue in caught.value.issues]
    assert sum("no node" in message for message in messages) == MAX_LISTED_ISSUES
    assert sum("expected one of" in message for message in messages) <= 50


def test_variables_without_a_value_or_a_fallback_are_warned_about() -> None:
    def change(data: Data) -> None:
        node(greeting="Hello {{first_name}}, {{venue.city}}, {{venue.name}}, {{other | friend}}.")(data)
        data["context"]["venue"] = {"city": "Turin"}

    warnings = warnings_for(parse_definition(booking(change)))
    assert [warning.split(" ")[:2] for warning in warnings] == [
        ["nodes.greet.greeting:", "first_name"],
        ["nodes.greet.greeting:", "venue.name"],
    ]


def test_an_agent_that_never_ends_is_warned_about() -> None:
    (warning,) = warnings_for(parse_definition(small()))
    assert "never ends a session" in warning


def test_the_picture_shows_every_node_and_transition() -> None:
    assert mermaid(parse_definition(booking(transition(0, name='say "hi" #1 <b>')))).splitlines() == [
        "flowchart TD",
        '    n0(["greet"])',
        '    n1["booking"]',
        '    n2((("goodbye")))',
        '    n0 -->|"say #quot;hi#quot; #35;1 #lt;b#gt;"| n1',
        '    n0 -->|"to_goodbye"| n2',
        '    n1 -->|"done"| n2',
    ]
