"""Validation of tools: every error is reported with its path."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from domain.agents.definition import ApprovalRule, HttpTool, InvalidAgent, McpTool, parse_definition, warnings_for
from domain.agents.tools import MAX_TOOL_NAME_CHARACTERS, find_tool, mcp_tool_name

Data = dict[str, Any]

AGENT: Data = {
    "name": "booking-line",
    "start": "greet",
    "nodes": {
        "greet": {
            "prompt": "Find out what {{first_name}} wants.",
            "tools": ["find_table", "crm"],
            "transitions": [{"name": "done", "when": "all is said", "to": "bye"}],
        },
        "bye": {"prompt": "Say goodbye.", "end": True},
    },
    "tools": {
        "find_table": {
            "kind": "http",
            "description": "Finds a free table.",
            "parameters": {"type": "object", "properties": {"guests": {"type": "integer"}, "pattern": {}}},
            "method": "PUT",
            "url": "https://tables.example:8443/v1/{{venue.id | main}}?q={{guests}}",
            "headers": {"Authorization": "Bearer {{secrets.TABLES}}", "X-Venue": "{{venue.name | a b}}"},
            "retries": 5,
            "retry_pause_seconds": 0.5,
            "max_response_bytes": 10_000,
            "assign": {"table": "tables.0.number", "everything": ""},
            "approval": {"timeout_seconds": 60, "reason": "Books a table for {{guests}}."},
            "secrets": ["TABLES"],
            "body": {"guests": "{{guests}}", "notes": ["{{note | none}}", 1, None]},
        },
        "crm": {
            "kind": "mcp",
            "url": "https://crm.example/mcp?key={{secrets.CRM}}",
            "headers": {"X-Customer": "{{customer}}"},
            "secrets": ["CRM"],
            "allow": ["find/customer"],
        },
    },
}


def agent(change: Callable[[Data], object] = lambda data: None) -> Data:
    data = copy.deepcopy(AGENT)
    change(data)
    return data


def faults(data: object) -> dict[str, str]:
    with pytest.raises(InvalidAgent) as caught:
        parse_definition(data)
    return {issue.path: issue.message for issue in caught.value.issues}


def http(**fields: object) -> Callable[[Data], object]:
    return lambda data: data["tools"]["find_table"].update(fields)


def mcp(**fields: object) -> Callable[[Data], object]:
    return lambda data: data["tools"]["crm"].update(fields)


def without(tool: str, field: str) -> Callable[[Data], object]:
    return lambda data: data["tools"][tool].pop(field)


def renamed(tool: str, name: str) -> Callable[[Data], object]:
    def change(data: Data) -> None:
        data["tools"][name] = data["tools"].pop(tool)
        names = data["nodes"]["greet"]["tools"]
        names[names.index(tool)] = name

    return change


def another(name: str) -> Callable[[Data], object]:
    return lambda data: data["tools"].update({name: data["tools"]["find_table"]})


def top(**fields: object) -> Callable[[Data], object]:
    return lambda data: data.update(fields)


def test_tools_are_read_as_written() -> None:
    definition = parse_definition(AGENT)
    find_table, crm = definition.tools["find_table"], definition.tools["crm"]
    assert isinstance(find_table, HttpTool)
    assert isinstance(crm, McpTool)
    assert find_table.approval == ApprovalRule(timeout_seconds=60, reason="Books a table for {{guests}}.")
    assert (find_table.retries, find_table.secrets, crm.allow) == (5, ("TABLES",), ("find/customer",))
    assert (crm.retries, crm.timeout_seconds, crm.approval) == (2, 30.0, None)
    assert type(definition).model_validate_json(definition.model_dump_json()) == definition


def test_tool_from_before_retries_and_credentials_existed_still_loads() -> None:
    tool = HttpTool.model_validate({"kind": "http", "description": "d", "url": "https://a.example"})
    assert (tool.retries, tool.max_response_bytes, tool.assign, tool.approval) == (2, 65_536, {}, None)
    assert (tool.secrets, tool.body) == ((), None)


TOOL = "tools.find_table"
ONE_FAULT: list[tuple[Callable[[Data], object], str, str]] = [
    # the form
    (
        http(kind="htpp"),
        f"{TOOL}.kind",
        "must be one of 'http', 'mcp', 'builtin', 'client' or 'documents', is the text \"htpp\"",
    ),
    (without("crm", "kind"), "tools.crm.kind", "is required"),
    (http(retries=11), f"{TOOL}.retries", "must be at most 10"),
    (http(retries=-1), f"{TOOL}.retries", "must be at least 0"),
    (http(retry_pause_seconds=0), f"{TOOL}.retry_pause_seconds", "must be more than 0"),
    (http(max_response_bytes=2_000_000), f"{TOOL}.max_response_bytes", "must be at most 1048576"),
    (http(aproval={}), f"{TOOL}.aproval", 'did you mean "approval"?'),
    (http(approval={"timeout": 3}), f"{TOOL}.approval.timeout", 'did you mean "timeout_seconds"?'),
    (http(approval={"timeout_seconds": 0}), f"{TOOL}.approval.timeout_seconds", "must be at least 1"),
    (http(approval={"reason": "{{"}), f"{TOOL}.approval.reason", "never closed"),
    (http(approval={"reason": "{{secrets.TABLES}}"}), f"{TOOL}.approval.reason", "must not refer to credentials"),
    (http(allow=["x"]), f"{TOOL}.allow", "unknown field"),
    (mcp(method="GET"), "tools.crm.method", "unknown field"),
    (mcp(allow=[" "]), "tools.crm.allow[0]", "must not be empty"),
    (mcp(url=""), "tools.crm.url", "must not be empty"),
    # addresses
    (http(url="https://{{host}}/x"), f"{TOOL}.url", "must not be templates"),
    (http(url="https://tables.example{{x}}/x"), f"{TOOL}.url", "must not be templates"),
    (http(url="https://tables.example:{{port}}"), f"{TOOL}.url", "must not be templates"),
    (http(url="{{secrets.TABLES}}/x"), f"{TOOL}.url", "must not be templates"),
    (http(url="https://ann:word@tables.example"), f"{TOOL}.url", "must not hold a user name"),
    (http(url="https://tables.example\\@evil.example"), f"{TOOL}.url", "address with a host"),
    (mcp(url="ws://crm.example"), "tools.crm.url", "http:// or https://"),
    (http(url="https://tables.example/{{x"), f"{TOOL}.url", "never closed"),
    # headers
    (http(headers={"Host": "x"}), f"{TOOL}.headers.Host", "is set by Playhead"),
    (http(headers={"idempotency-KEY": "x"}), f"{TOOL}.headers.idempotency-KEY", "is set by Playhead"),
    (http(headers={"X-A": "1", "x-a": "2"}), f"{TOOL}.headers.x-a", "is a duplicate"),
    (http(headers={"X-A": "{{"}), f"{TOOL}.headers.X-A", "never closed"),
    (mcp(headers={"Mcp-Session-Id": "x"}), "tools.crm.headers.Mcp-Session-Id", "is set by Playhead"),
    (mcp(headers={"Accept": "x"}), "tools.crm.headers.Accept", "is set by Playhead"),
    # credentials
    (http(secrets=["TABLES", "a b"]), f"{TOOL}.secrets[1]", "must start with a letter"),
    (http(body={"k": ["{{secrets.TABELS}}"]}), f"{TOOL}.body.k[0]", 'not listed under secrets; did you mean "TABLES"?'),
    (http(body="{{secrets}}"), f"{TOOL}.body", "refers to a credential without its name; write {{secrets.NAME}}"),
    (
        http(body="{{secrets.TABLES.x}}"),
        f"{TOOL}.body",
        "refers to a credential without its name; write {{secrets.NAME}}",
    ),
    (mcp(headers={"X-A": "{{secrets.TABLES}}"}), "tools.crm.headers.X-A", "not listed under secrets"),
    (top(prompt="My key is {{secrets.TABLES}}."), "prompt", "only tools may use credentials"),
    (top(context={"secrets": {}}), "context.secrets", "rename the variable"),
    # the request and the response
    (http(method="GET"), f"{TOOL}.body", "a GET request has no body"),
    (http(assign={"a b": "x"}), f'{TOOL}.assign["a b"]', "must start with a letter"),
    (http(assign={"secrets": "x"}), f"{TOOL}.assign.secrets", "rename the variable"),
    (http(assign={"a": "$.x"}), f"{TOOL}.assign.a", "must be a path into the answer"),
    (http(assign={"a": "x..y"}), f"{TOOL}.assign.a", "must be a path into the answer"),
    (http(secrets=["TABLES"] + [f"S{n}" for n in range(20)]), f"{TOOL}.secrets", "at most 20"),
    # parameters
    (
        http(parameters={"type": "object", "properties": {"secrets": {}}}),
        f"{TOOL}.parameters.properties.secrets",
        "is a reserved name; rename the parameter",
    ),
    (
        http(parameters={"type": "object", "properties": {"malformed": {}}}),
        f"{TOOL}.parameters.properties.malformed",
        "is a reserved name; rename the parameter",
    ),
    (
        http(parameters={"type": "object", "properties": {"a": {"items": [{"pattern": "(?=x)"}]}}}),
        f"{TOOL}.parameters.properties.a.items[0].pattern",
        "is not a supported regular expression",
    ),
    (
        http(parameters={"type": "object", "patternProperties": {"^x": {}}}),
        f"{TOOL}.parameters.patternProperties",
        "is not supported",
    ),
    # names
    (another("crm__find"), "tools.crm__find", 'are reserved for the MCP server "crm"'),
    (renamed("crm", "crm__x"), "tools.crm__x", "is the prefix of the server's tools"),
    (renamed("crm", "crm_"), "tools.crm_", "is the prefix of the server's tools"),
    (renamed("crm", "c" * 33), f"tools.{'c' * 33}", "at most 32 characters"),
    (
        lambda data: data["nodes"]["greet"]["transitions"][0].update(name="CRM  find"),
        "nodes.greet.transitions[0].name",
        'as a tool of the MCP server "crm" would',
    ),
]


@pytest.mark.parametrize(
    ("change", "place", "message"),
    ONE_FAULT,
    ids=[f"{number}-{place}" for number, (_, place, _) in enumerate(ONE_FAULT)],
)
def test_one_fault_is_reported_once_with_its_path(change: Callable[[Data], object], place: str, message: str) -> None:
    found = faults(agent(change))
    assert list(found) == [place]
    assert message in found[place]


def test_a_value_named_pattern_is_not_checked_as_a_pattern() -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [{"pattern": "("}], "default": {"pattern": "("}}}}
    parse_definition(agent(http(parameters=schema)))


def test_credentials_over_plain_http_are_warned_about() -> None:
    change = http(url="http://tables.example/")
    (warning,) = [each for each in warnings_for(parse_definition(agent(change))) if each.startswith("tools.")]
    assert warning.startswith("tools.find_table.url: sends credentials over http://")
    assert not [each for each in warnings_for(parse_definition(AGENT)) if each.startswith("tools.")]


@pytest.mark.parametrize(
    ("called", "tool"),
    [
        ("find_table", "find_table"),
        ("crm__find", "crm"),
        ("crm__find__more", "crm"),
        ("crm", None),
        ("crm__", None),
        ("__find", None),
        ("find_table__x", None),
        ("other", None),
        ("", None),
    ],
)
def test_the_name_that_the_model_calls_resolves_to_its_tool(called: str, tool: str | None) -> None:
    assert find_tool(parse_definition(AGENT).tools, called) == tool


def test_tools_of_a_server_have_names_that_every_provider_takes() -> None:
    assert mcp_tool_name("crm", "find") == "crm__find"
    assert mcp_tool_name("crm", "find/customer.v2 ä") == "crm__find_customer_v2__"
    long_names = [mcp_tool_name("crm", "x" * 128), mcp_tool_name("crm", "x" * 127 + "y")]
    assert len(set(long_names)) == 2
    assert all(len(name) == MAX_TOOL_NAME_CHARACTERS for name in long_names)
    tools = parse_definition(AGENT).tools
    assert [find_tool(tools, name) for name in long_names] == ["crm", "crm"]
