"""Validation of suites: every error is reported with its path, and impossible checks before the run."""

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from domain.agents.definition import ClientTool, parse_definition
from domain.agents.tool_mocks import ToolMock, find_mock, mocks_for_tool
from domain.suites.compatibility import compatibility_issues
from domain.suites.scenario import InvalidSuite, parse_suite

Data = dict[str, Any]

AGENT = parse_definition(
    {
        "name": "booking-line",
        "start": "greet",
        "context": {"first_name": None},
        "nodes": {
            "greet": {
                "greeting": "Good evening.",
                "prompt": "Find out what the caller wants.",
                "tools": ["find_table"],
                "extract": [{"name": "party_size", "type": "number"}],
                "transitions": [{"name": "Done", "when": "it is booked", "to": "goodbye"}],
            },
            "goodbye": {"prompt": "Say goodbye.", "end": True},
        },
        "tools": {
            "find_table": {
                "kind": "http",
                "description": "Find a free table.",
                "url": "https://tables.example/search",
                "parameters": {
                    "type": "object",
                    "properties": {"guests": {"type": "integer"}, "room": {"enum": ["inside", "terrace"]}},
                },
                "assign": {"table": "table.number"},
            },
            "unused": {"kind": "http", "description": "Nobody offers it.", "url": "https://tables.example/none"},
            "crm": {"kind": "mcp", "url": "https://crm.example/mcp"},
        },
    }
)

SUITE: Data = {
    "name": "evening calls",
    "agent": "booking-line@3",
    "caller_model": "demo",
    "concurrency": 4,
    "budget_usd": "2.50",
    "repeats": 2,
    "seed": 7,
    "min_pass_rate": 0.9,
    "scenarios": [
        {
            "id": "books-a-table",
            "persona": {"name": "Anna", "manner": "friendly, in a hurry", "language": "Italian"},
            "goal": "Book a table for four on Friday.",
            "facts": {"party size": 4, "date": "Friday", "smoker": False},
            "opening": "Good evening!",
            "context": {"first_name": "Anna"},
            "success": ["The agent read the booking back before it confirmed it."],
            "checks": {
                "must_visit": ["goodbye"],
                "must_call": [{"tool": "find_table", "arguments": {"guests": 4}}],
                "variables": {"party_size": 4, "table": 12},
                "never_says": ["discount"],
                "never_matches": ["(?i)credit card"],
                "max_turns": 12,
                "max_cost_usd": "0.10",
                "ended_with": ["end_node"],
            },
            "mocks": [
                {"tool": "find_table", "arguments": {"guests": 4}, "result": {"table": {"number": 12}}},
                {"tool": "find_table", "error": "no table left"},
            ],
            "min_turns": 2,
            "limits": {"max_turns": 20, "max_cost_usd": "0.50", "seconds": 600, "max_stalled_turns": 3},
            "tags": ["smoke"],
        },
        {"id": "asks", "goal": "Ask about parking.", "success": ["The question was answered."], "repeats": 5},
    ],
}


def suite_data(change: Callable[[Data], object] = lambda data: None) -> Data:
    data = copy.deepcopy(SUITE)
    change(data)
    return data


def first(data: Data) -> Data:
    scenario: Data = data["scenarios"][0]
    return scenario


def faults_of(data: object) -> dict[str, str]:
    with pytest.raises(InvalidSuite) as invalid:
        parse_suite(data)
    return {issue.path: issue.message for issue in invalid.value.issues}


def test_a_suite_is_read_with_all_its_fields() -> None:
    suite = parse_suite(SUITE)
    books, asks = suite.scenarios
    assert (suite.agent_name, suite.agent_version, suite.budget_usd) == ("booking-line", 3, Decimal("2.50"))
    assert (suite.repeats_of(books), suite.repeats_of(asks)) == (2, 5)
    assert books.facts == {"party size": 4, "date": "Friday", "smoker": False}
    assert (books.limits.max_cost_usd, asks.limits.max_turns, asks.min_turns) == (Decimal("0.50"), 40, 0)


def test_an_agent_without_a_version_is_the_latest() -> None:
    suite = parse_suite(suite_data(lambda data: data.update(agent="booking-line")))
    assert (suite.agent_name, suite.agent_version) == ("booking-line", None)


def test_a_simulated_user_follows_its_scenario_and_prefers_the_scenarios_model() -> None:
    books, _ = parse_suite(SUITE).scenarios
    config = books.simulator(model="demo", seed=5)
    assert (config.goal, config.opening, config.min_turns) == (books.goal, "Good evening!", 2)
    assert (config.model, config.seed, config.persona.language) == ("demo", 5, "Italian")
    own = books.model_copy(update={"caller_model": "openai:gpt-5-mini"})
    assert own.simulator(model="demo", seed=5).model == "openai:gpt-5-mini"


def test_every_run_has_a_stable_seed_of_its_own() -> None:
    suite = parse_suite(SUITE)
    seeds = {suite.seed_of(scenario.id, repeat) for scenario in suite.scenarios for repeat in (1, 2, 3)}
    assert len(seeds) == 6
    assert suite.seed_of("asks", 1) == parse_suite(SUITE).seed_of("asks", 1)
    assert suite.seed_of("asks", 1) != parse_suite(suite_data(lambda data: data.update(seed=8))).seed_of("asks", 1)


def test_a_list_is_not_too_short_because_its_entries_are_invalid() -> None:
    without_goal = {"id": "asks", "success": ["It was polite."]}
    assert faults_of({**SUITE, "scenarios": [without_goal]}) == {"scenarios[0].goal": "is required"}
    assert faults_of({**SUITE, "scenarios": []}) == {"scenarios": "must have at least 1 entry"}


def test_every_fault_is_reported_with_its_path() -> None:
    def spoil(data: Data) -> None:
        data["consurrency"] = 3
        data["scenarios"][1]["id"] = "books-a-table"
        scenario = first(data)
        scenario["persona"]["maner"] = "friendly"
        scenario["facts"]["when"] = ["Friday"]
        scenario["checks"]["max_turns"] = "twelve"
        scenario["checks"]["must_call"][0]["argument"] = {}
        scenario["checks"]["never_matches"] = ["(?=card)"]
        scenario["limits"]["max_turns"] = 1

    faults = faults_of(suite_data(spoil))
    assert faults["consurrency"] == 'unknown field; did you mean "concurrency"?'
    assert faults["scenarios[0].persona.maner"] == 'unknown field; did you mean "manner"?'
    assert faults["scenarios[0].checks.must_call[0].argument"] == 'unknown field; did you mean "arguments"?'
    assert faults["scenarios[0].checks.max_turns"] == 'must be a whole number, is the text "twelve"'
    assert "is not a supported regular expression" in faults["scenarios[0].checks.never_matches[0]"]
    assert faults["scenarios[0].min_turns"] == "is 2, but the simulated user stops after 1 turns (limits.max_turns)"
    assert faults["scenarios[1].id"] == '2 scenarios have the id "books-a-table"; rename them'
    assert "scenarios[0].facts.when" in faults


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        (lambda data: data.update(agent="booking-line@latest"), "agent", "booking-line@3"),
        (lambda data: data.update(scenarios=[]), "scenarios", "at least 1 entry"),
        (lambda data: data["scenarios"][1].pop("success"), "scenarios[1]", "so it cannot fail"),
        (lambda data: first(data).update(id="no spaces"), "scenarios[0].id", "must start with a letter"),
        (lambda data: first(data).update(history={"session": "ses_1"}), "scenarios[0].context", "remove context"),
        (lambda data: first(data).update(success=["Done.", "Done."]), "scenarios[0].success[1]", "is a duplicate"),
        (lambda data: first(data)["mocks"].reverse(), "scenarios[0].mocks[1]", "is never used"),
        (lambda data: first(data)["mocks"][1].update(result=1), "scenarios[0].mocks[1]", "one of them"),
        (lambda data: data.update(min_pass_rate=1.5), "min_pass_rate", "at most 1"),
    ],
)
def test_each_invalid_field_is_refused_with_its_path(
    change: Callable[[Data], object], place: str, message: str
) -> None:
    assert message in faults_of(suite_data(change))[place]


def test_a_suite_that_is_not_a_mapping_is_refused() -> None:
    assert faults_of([1, 2]) == {"definition": "must be a mapping with name, agent and scenarios"}


def test_a_suite_that_is_compatible_with_its_agent_has_no_faults() -> None:
    assert compatibility_issues(parse_suite(SUITE), AGENT) == ()


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        (lambda one: one["checks"].update(must_visit=["godbye"]), "checks.must_visit[0]", 'did you mean "goodbye"?'),
        (lambda one: one["checks"]["must_call"][0].update(tool="find"), "checks.must_call[0].tool", "no tool"),
        (lambda one: one["checks"]["variables"].update(size=4), "checks.variables.size", "no variable"),
        (lambda one: one["mocks"][0].update(tool="unused", arguments={}), "mocks[0].tool", "no node offers"),
        (lambda one: one["mocks"][0].update(tool="crn__find"), "mocks[0].tool", "no tool"),
        (lambda one: one["mocks"][0].update(arguments={"guest": 4}), "mocks[0].arguments.guest", '"guests"'),
        (
            lambda one: one["mocks"][0].update(arguments={"guests": "4"}),
            "mocks[0].arguments.guests",
            "is not allowed by the parameters",
        ),
        (lambda one: one["mocks"][0].update(arguments={"guests": True}), "mocks[0].arguments.guests", "is not allowed"),
        (
            lambda one: one["mocks"][0].update(arguments={"room": "roof"}),
            "mocks[0].arguments.room",
            "is not allowed by the parameters",
        ),
        (
            lambda one: one["checks"].update(must_call=[{"tool": "done", "arguments": {"a": 1}}]),
            "checks.must_call[0].arguments",
            "takes no arguments",
        ),
    ],
)
def test_impossible_checks_and_mocks_are_reported_before_the_run(
    change: Callable[[Data], object], place: str, message: str
) -> None:
    suite = parse_suite(suite_data(lambda data: change(first(data))))
    [issue] = compatibility_issues(suite, AGENT)
    assert issue.path == f"scenarios[0].{place}"
    assert message in issue.message


def test_a_call_of_a_client_tool_needs_a_mock() -> None:
    client = ClientTool(kind="client", description="Transfers the call.")
    node = AGENT.nodes["greet"].model_copy(update={"tools": ("find_table", "transfer")})
    agent = AGENT.model_copy(
        update={"tools": {**AGENT.tools, "transfer": client}, "nodes": {**AGENT.nodes, "greet": node}}
    )
    expected = suite_data(lambda data: first(data)["checks"].update(must_call=[{"tool": "transfer"}]))
    [issue] = compatibility_issues(parse_suite(expected), agent)
    assert issue.path == "scenarios[0].checks.must_call[0].tool"
    assert "add a mock" in issue.message
    first(expected)["mocks"].append({"tool": "transfer", "result": "Connected."})
    assert compatibility_issues(parse_suite(expected), agent) == ()


def test_a_transition_can_be_required_like_a_tool_call() -> None:
    suite = parse_suite(suite_data(lambda data: first(data)["checks"].update(must_call=[{"tool": "done"}])))
    assert compatibility_issues(suite, AGENT) == ()


def test_the_first_mock_that_a_call_satisfies_answers_it() -> None:
    four = ToolMock(tool="find_table", arguments={"guests": 4}, result="free")
    rest = ToolMock(tool="find_table", error="full")
    other = ToolMock(tool="cancel")
    mocks = mocks_for_tool([four, rest, other], "find_table")
    assert mocks == (four, rest)
    assert find_mock(mocks, {"guests": 4.0, "room": "inside"}) == four
    assert find_mock(mocks, {"guests": 5}) == rest
    assert find_mock([four], {"guests": True}) is None
    assert find_mock([four], {}) is None


def test_nested_arguments_match_by_what_they_include() -> None:
    mock = ToolMock(tool="book", arguments={"guest": {"name": "Anna"}, "dates": [1, 2]})
    assert find_mock([mock], {"guest": {"name": "Anna", "age": 40}, "dates": [1, 2]}) == mock
    assert find_mock([mock], {"guest": {"name": "Anna"}, "dates": [1, 2, 3]}) is None
    assert find_mock([mock], {"guest": "Anna", "dates": [1, 2]}) is None
