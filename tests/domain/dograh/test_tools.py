"""Tools beside an imported graph, in the form of dograh's API."""

from typing import Any

import pytest

from domain.agents.definition import AgentDefinition, parse_definition
from domain.agents.tools import BuiltinTool, HttpTool, McpTool
from domain.dograh.exporter import OWN_COPY, export_dograh
from domain.dograh.importer import ImportedAgent, import_dograh

Data = dict[str, Any]


def listed(uuid: str, category: str, name: str = "A tool", description: str | None = None, **config: object) -> Data:
    definition = {"schema_version": 1, "type": category, **({"config": config} if config else {})}
    return {"tool_uuid": uuid, "name": name, "description": description, "category": category, "definition": definition}


def imported(*tools: Data, uuids: list[object] | None = None, **node: object) -> ImportedAgent:
    wanted = [tool["tool_uuid"] for tool in tools] if uuids is None else uuids
    graph = {
        "nodes": [
            {"id": "1", "type": "startCall", "data": {"name": "Hi", "prompt": "Talk.", "tool_uuids": wanted, **node}},
            {"id": "2", "type": "endCall", "data": {"name": "Bye", "prompt": "Say goodbye."}},
        ],
        "edges": [{"source": "1", "target": "2", "data": {"label": "done", "condition": "Done."}}],
    }
    return import_dograh({"workflow_definition": graph, "tools": list(tools)}, name="a")


@pytest.mark.parametrize(
    ("tool", "name", "expected"),
    [
        (
            listed("t", "end_call", "End Call!", "At the end.", messageType="custom", customMessage="Bye, {{name}}."),
            "end_call",
            {"action": "end_session", "description": "At the end.", "say": "Bye, {{name}}."},
        ),
        (
            listed("t", "end_call", "Hang up", endCallReason=True, endCallReasonDescription="One word."),
            "hang_up",
            {"action": "end_session", "description": "Hang up", "reason": "One word."},
        ),
        (
            listed("t", "transfer_call", "To a person", destination="{{initial_context.desk}}", timeout=30),
            "to_a_person",
            {"action": "hand_over", "description": "To a person", "to": "{{initial_context.desk}}"},
        ),
        (listed("t", "calculator", "Sum"), "safe_calculator", {"action": "calculate", "description": "Sum"}),
    ],
)
def test_built_in_tools_are_imported(tool: Data, name: str, expected: Data) -> None:
    agent = imported(tool)
    assert agent.warnings == ()
    assert agent.definition.tools == {name: BuiltinTool.model_validate({"kind": "builtin", **expected})}
    assert agent.definition.nodes["hi"].tools == (name,)


def test_a_web_service_is_imported_with_its_parameters() -> None:
    tool = listed(
        "t",
        "http_api",
        "Find table",
        "Finds one.",
        method="post",
        url="https://a.example/{{initial_context.place}}",
        headers={"X-Place": "1"},
        parameters=[
            {"name": "guests", "type": "number", "description": "How many."},
            {"name": "day", "type": "date", "required": False},
        ],
        preset_parameters=[{"name": "who", "type": "string", "value_template": "{{initial_context.name}}"}],
        timeout_ms=2500,
    )
    agent = imported(tool)
    assert agent.warnings == ()
    find = agent.definition.tools["find_table"]
    assert isinstance(find, HttpTool)
    assert (find.method, find.timeout_seconds, find.retries, find.headers) == ("POST", 2.5, 0, {"X-Place": "1"})
    assert find.parameters == {
        "type": "object",
        "properties": {"guests": {"type": "number", "description": "How many."}, "day": {"type": "string"}},
        "required": ["guests"],
    }
    assert find.body == {"guests": "{{guests}}", "day": "{{day}}", "who": "{{initial_context.name}}"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example", "https://a.example?who={{n}}"),
        ("https://a.example?x=1", "https://a.example?x=1&who={{n}}"),
    ],
)
def test_preset_parameters_of_a_get_request_are_part_of_its_address(url: str, expected: str) -> None:
    preset = [{"name": "who", "type": "string", "value_template": "{{n}}"}]
    find = imported(listed("t", "http_api", "Find", method="GET", url=url, preset_parameters=preset)).definition.tools[
        "find"
    ]
    assert isinstance(find, HttpTool)
    assert (find.url, find.body) == (expected, None)


def test_a_server_is_imported_with_its_filter() -> None:
    agent = imported(listed("t", "mcp", "CRM", url="https://crm.example/mcp", tools_filter=["find"], timeout_secs=9))
    crm = agent.definition.tools["crm"]
    assert isinstance(crm, McpTool)
    assert (crm.allow, crm.timeout_seconds) == (("find",), 9.0)


@pytest.mark.parametrize(
    ("tool", "place"),
    [
        (listed("t", "http_api", url="https://a.example", credential_uuid="c"), "config.credential_uuid: left out"),
        (listed("t", "http_api", url="https://a.example", customMessage="Wait."), "config.customMessage: left out"),
        (listed("t", "http_api", url="https://a.example", description=None), None),
        (listed("t", "http_api", url="ftp://a.example"), "is left out: url must be"),
        (listed("t", "http_api", url="https://{{host}}/"), "is left out: url the scheme"),
        (listed("t", "http_api"), "is left out: url"),
        (listed("t", "mcp", url="https://crm.example", credential_uuid="c"), "config.credential_uuid: left out"),
        (listed("t", "end_call", messageType="audio", audioRecordingId="7"), "recording 7; it is kept"),
        (listed("t", "transfer_call", destination=""), "is left out: it has no destination"),
        (listed("t", "transfer_call", destination_source="dynamic"), "is left out: its target"),
        (listed("t", "native"), "is left out"),
    ],
)
def test_unsupported_tools_and_options_have_a_warning(tool: Data, place: str | None) -> None:
    warnings = imported(tool).warnings
    assert [place is not None and place in warning for warning in warnings] == [True] * (place is not None)


def test_tools_that_the_file_does_not_define_have_a_warning() -> None:
    (warning,) = imported(listed("t", "calculator"), uuids=["t", "other"]).warnings
    assert warning.startswith("workflow_definition.nodes[0].data.tool_uuids: 1 of 2 left out")


def test_tools_with_the_same_name_stay_distinct_and_unused_ones_are_left_out() -> None:
    agent = imported(
        listed("1", "end_call", "Bye"),
        listed("2", "end_call", "bye!"),
        listed("3", "end_call", "Other"),
        uuids=["1", "2"],
    )
    assert list(agent.definition.tools) == ["bye", "bye_2"]
    assert agent.warnings == ()


def test_a_filter_of_one_node_has_a_warning() -> None:
    (warning,) = imported(listed("t", "mcp", "CRM", url="https://crm.example"), mcp_tool_filters={"t": ["a"]}).warnings
    assert warning.startswith("workflow_definition.nodes[0].data.mcp_tool_filters: left out")


def test_tools_survive_an_export_and_a_new_import() -> None:
    nodes = {"a": {"prompt": "Talk.", "tools": ["bye", "person", "sum", "find", "crm", "clock"]}}
    url = "https://a.example/x"
    tools = {
        "bye": {
            "kind": "builtin",
            "action": "end_session",
            "say": "Bye.",
            "reason": "Why.",
            "description": "At the end.",
        },
        "person": {"kind": "builtin", "action": "hand_over", "to": "+39", "description": "To a person."},
        "sum": {"kind": "builtin", "action": "calculate"},
        "clock": {"kind": "builtin", "action": "current_time"},
        "find": {"kind": "http", "description": "Finds.", "url": url, "retries": 0, "body": {"a": "{{a}}"}},
        "crm": {"kind": "mcp", "url": url, "retries": 0, "allow": ["find"]},
    }
    agent = parse_definition({"name": "a", "start": "a", "nodes": nodes, "tools": tools})
    file = export_dograh(agent)
    assert import_dograh(file).definition == agent
    graph = import_dograh({name: value for name, value in file.items() if name != OWN_COPY})
    assert graph.warnings == ()
    assert graph.definition.nodes["a"].tools == ("bye", "person", "safe_calculator", "find", "crm")
    assert kept(graph.definition) == kept(agent)


def kept(agent: AgentDefinition) -> Data:
    """The tools that dograh has too, except its calculator, which has a name and description of its own."""
    return {name: tool for name, tool in agent.tools.items() if name not in ("sum", "clock", "safe_calculator")}
