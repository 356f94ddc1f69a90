"""Import of dograh exports: equivalent agents, or every error with its path in the export."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from domain.agents.definition import HttpTool, InvalidAgent, parse_definition, warnings_for
from domain.dograh.importer import ImportedAgent, import_dograh

Data = dict[str, Any]

DOWNLOAD: Data = json.loads((Path(__file__).parent / "exports" / "dental-reception.json").read_text())


def node(node_id: str, node_type: str, **data: object) -> Data:
    return {"id": node_id, "type": node_type, "position": {"x": 0, "y": 0}, "data": data}


def edge(source: str, target: str, label: str, **data: object) -> Data:
    return {
        "id": f"{source}-{target}",
        "source": source,
        "target": target,
        "data": {"label": label, "condition": "It is time.", **data},
    }


def small() -> Data:
    """Start, one step and an end."""
    return {
        "nodes": [
            node("a", "startCall", name="Hello", prompt="Greet."),
            node("b", "agentNode", name="Talk", prompt="Talk."),
            node("c", "endCall", name="Bye", prompt="Say goodbye."),
        ],
        "edges": [edge("a", "b", "go on"), edge("b", "c", "done")],
        "viewport": {"x": 0, "y": 0, "zoom": 1},
    }


def changed(change: Callable[[Data], object]) -> Data:
    export = small()
    change(export)
    return export


def started(**data: object) -> Data:
    """The small export with fields of its start node set."""
    return changed(lambda export: export["nodes"][0]["data"].update(data))


def read(export: object) -> ImportedAgent:
    return import_dograh(export, name="agent")


def ids_in_export(imported: ImportedAgent) -> dict[str, str]:
    """The export's id of each node of the agent."""
    return {name: imported.definition.origin_of(name).id for name in imported.definition.nodes}


def faults(export: object) -> dict[str, str]:
    with pytest.raises(InvalidAgent) as caught:
        read(export)
    assert caught.value.issues
    return {issue.path: issue.message for issue in caught.value.issues}


def warning(export: object) -> str:
    (only,) = read(export).warnings
    return only


def test_a_small_export_is_an_agent_without_warnings() -> None:
    imported = read(small())
    assert imported.warnings == ()
    assert imported.definition == parse_definition(
        {
            "name": "agent",
            "start": "hello",
            "nodes": {
                "hello": {
                    "origin": {"id": "a", "name": "Hello"},
                    "prompt": "Greet.",
                    "transitions": [{"name": "go on", "when": "It is time.", "to": "talk"}],
                },
                "talk": {
                    "origin": {"id": "b", "name": "Talk"},
                    "prompt": "Talk.",
                    "transitions": [{"name": "done", "when": "It is time.", "to": "bye"}],
                },
                "bye": {"origin": {"id": "c", "name": "Bye"}, "prompt": "Say goodbye.", "end": True},
            },
        }
    )


def test_the_file_that_the_editor_downloads_is_read_whole() -> None:
    definition = import_dograh(DOWNLOAD, name="dental-reception").definition
    assert definition.name == "dental-reception"
    assert definition.start == "reception"
    assert definition.prompt.startswith("You are the receptionist")
    assert list(definition.nodes) == ["reception", "book_a_visit", "billing_question", "goodbye", "goodbye_2"]
    assert [name for name, each in definition.nodes.items() if each.end] == ["goodbye", "goodbye_2"]
    assert [name for name, each in definition.nodes.items() if not each.use_global_prompt] == [
        "billing_question",
        "goodbye",
    ]
    assert definition.nodes["reception"].greeting == (
        "Hello {{first_name | and welcome}}, Larkspur Dental, how can I help?"
    )
    wants_visit, billing = definition.nodes["reception"].transitions
    assert wants_visit.name == "Wants a visit!"
    assert wants_visit.tool_name == "wants_a_visit_"
    assert wants_visit.when == "The caller wants an appointment."
    assert wants_visit.to == "book_a_visit"
    assert wants_visit.say == "Let me open the calendar, {{first_name | one moment}}."
    assert billing.say is None
    assert all(warnings_for(definition))


def test_variables_are_extracted_with_the_instructions_of_their_node() -> None:
    nodes = import_dograh(DOWNLOAD, name="dental-reception").definition.nodes
    assert [(each.name, each.type, each.hint) for each in nodes["book_a_visit"].extract] == [
        ("visit_day", "string", "The day that was agreed on."),
        ("new_patient", "boolean", ""),
        ("visits", "number", ""),
    ]
    assert nodes["book_a_visit"].extract_prompt == "Use what the caller said last."
    assert nodes["billing_question"].extract == (), "extraction is switched off there"


def test_a_pre_call_fetch_is_imported_as_a_tool_that_the_model_is_not_offered() -> None:
    definition = read(started(pre_call_fetch_mode="always", pre_call_fetch_url="https://a.example/who")).definition
    assert definition.pre_call_fetch == "pre_call_fetch"
    tool = definition.tools["pre_call_fetch"]
    assert isinstance(tool, HttpTool)
    assert (tool.method, tool.url) == ("POST", "https://a.example/who")
    assert tool.body == {
        "event": "call_inbound",
        "call_inbound": {
            "agent_id": "{{agent_number}}",
            "from_number": "{{caller_number | }}",
            "to_number": "{{called_number | }}",
        },
    }
    assert all(not node.tools for node in definition.nodes.values()), "the model is not offered it"


@pytest.mark.parametrize("off", [{"pre_call_fetch_mode": "disabled"}, {"pre_call_fetch_enabled": False}])
def test_a_disabled_pre_call_fetch_is_not_imported(off: Data) -> None:
    definition = read(started(pre_call_fetch_url="https://a.example/who", **off)).definition
    assert (definition.pre_call_fetch, definition.tools) == (None, {})


def test_only_the_start_node_fetches() -> None:
    export = changed(lambda export: export["nodes"][1]["data"].update(pre_call_fetch_mode="always"))
    assert warning(export).startswith("nodes[1].data.pre_call_fetch_mode: left out; only what the startCall node names")
    assert read(export).definition.pre_call_fetch is None


def test_a_fault_of_a_pre_call_fetch_is_reported_at_its_field() -> None:
    assert "nodes[0].data.pre_call_fetch_url" in faults(
        started(pre_call_fetch_mode="always", pre_call_fetch_url=["https://a.example"])
    )


def test_everything_left_out_of_a_download_is_named() -> None:
    warnings = import_dograh(DOWNLOAD, name="dental-reception").warnings
    places = [each.partition(": ")[0].removeprefix("workflow_definition.") for each in warnings]
    assert places == [
        "nodes[0].data.pre_call_fetch_credential_uuid",
        "nodes[1].data.tool_uuids",
        "nodes[2].data.document_uuids",
        "nodes[6]",
        "nodes[8]",
        "edges[0]",
        "edges[3].data.transition_speech_type",
        "nodes[7]",
        "nodes[7].data.payload_template",
    ]
    assert 'the webhook node "Practice software" becomes the webhook' in warnings[7]
    assert 'qa node "9"' in warnings[4], "a node without a name is known by its id"
    assert 'from "Recall list" to "Réception"' in warnings[5]


def test_an_import_leaves_the_export_as_it_was() -> None:
    before = copy.deepcopy(DOWNLOAD)
    import_dograh(DOWNLOAD, name="dental-reception")
    assert before == DOWNLOAD


@pytest.mark.parametrize(
    "label", ["to_booking", "Wants a visit!", "größe-2", "予約", "  spaced  out ", "ÀÉÎ", "A1__b", "line\nbreak", "ẞß"]
)
def test_the_model_is_offered_an_edge_under_the_name_it_had(label: str) -> None:
    # As in dograh: lower case, every other character an underscore.
    offered = re.sub("[^a-z0-9]", "_", label.lower())
    export = changed(lambda export: export["edges"][0]["data"].update(label=label))
    assert read(export).definition.nodes["hello"].transitions[0].tool_name == offered


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Greeting", "Greeting", "greeting!"], ["greeting", "greeting_2", "greeting_3"]),
        (["step", "step 2", "step"], ["step", "step_2", "step_3"]),
        (["step 2", "step", "Step"], ["step_2", "step", "step_3"]),
        (["1. Greeting", "24/7", "Adiós"], ["greeting", "node_b", "adios"]),
        (["नमस्ते", None, 7], ["node_a", "node_b", "node_c"]),
        (["x" * 200, "x" * 200, ""], ["x" * 40, "x" * 40 + "_2", "node_c"]),
    ],
)
def test_node_ids_read_like_the_names_and_are_unique(names: list[object], expected: list[str]) -> None:
    export = small()
    for each, name in zip(export["nodes"], names, strict=True):
        each["data"]["name"] = name
    imported = read(export)
    assert list(imported.definition.nodes) == expected
    assert ids_in_export(imported) == dict(zip(expected, "abc", strict=True))


def test_the_conversation_may_return_to_the_start() -> None:
    export = changed(lambda export: export["edges"].append(edge("b", "a", "again")))
    assert [each.to for each in read(export).definition.nodes["talk"].transitions] == ["bye", "hello"]


@pytest.mark.parametrize(
    ("data", "place", "said"),
    [
        ({"tool_uuids": ["x"]}, "nodes[0].data.tool_uuids", "declare them in the agent"),
        ({"document_uuids": ["x"]}, "nodes[0].data.document_uuids", "declare a tool of kind documents"),
        ({"greeting_type": "audio"}, "nodes[0].data.greeting_type", "the model speaks for itself"),
        ({"greeting_type": "audio", "greeting": "Hi."}, "nodes[0].data.greeting_type", "the text beside it is said"),
        ({"pre_call_fetch_enabled": True}, "nodes[0].data.pre_call_fetch_enabled", "no pre_call_fetch_url"),
        ({"pre_call_fetch_mode": "always"}, "nodes[0].data.pre_call_fetch_mode", "no pre_call_fetch_url"),
        (
            {
                "pre_call_fetch_mode": "always",
                "pre_call_fetch_url": "https://a.example",
                "pre_call_fetch_credential_uuid": "x",
            },
            "nodes[0].data.pre_call_fetch_credential_uuid",
            "tools.pre_call_fetch.secrets",
        ),
        ({"delayed_start": True}, "nodes[0].data.delayed_start", "does not wait"),
        ({"is_end": True}, "nodes[0].data.is_end", "unknown"),
        ({"temperature": 0}, "nodes[0].data.temperature", "unknown"),
        ({"mcp_tool_filters": {"x": ["y"]}}, "nodes[0].data.mcp_tool_filters", "in its allow"),
        (
            {"extraction_enabled": True, "extraction_variables": [{"name": "a", "format": "date"}]},
            "nodes[0].data.extraction_variables[0].format",
            "unknown",
        ),
    ],
)
def test_a_field_that_agents_do_not_have_is_warned_about(data: Data, place: str, said: str) -> None:
    reported = warning(started(**data))
    assert reported.startswith(f"{place}: ")
    assert said in reported


@pytest.mark.parametrize(
    "data",
    [
        {"allow_interrupt": True, "detect_voicemail": True, "delayed_start": False, "delayed_start_duration": 2},
        {"pre_call_fetch_mode": "always", "pre_call_fetch_url": "https://a.example"},
        {"pre_call_fetch_mode": "disabled", "pre_call_fetch_url": "https://a.example"},
        {"pre_call_fetch_enabled": False, "pre_call_fetch_url": "https://a.example"},
        {"greeting_type": "text", "greeting_recording_id": None, "tool_uuids": [], "document_uuids": None},
        {"is_start": True, "is_end": False, "temperature": None, "notes": "  ", "options": {}},
        {"invalid": True, "validationMessage": "Name is required", "selected": True, "dragging": True},
    ],
)
def test_fields_without_meaning_for_a_text_chat_are_ignored(data: Data) -> None:
    assert read(started(**data)).warnings == ()


def test_unknown_nodes_and_settings_around_the_graph_are_warned_about() -> None:
    export = small()
    export["nodes"].append(node("d", "crmSync", name="Sync"))
    export["edges"].append(edge("b", "d", "sync"))
    export["edges"][0]["data"]["priority"] = 3
    reported = read({"workflow_definition": export, "workflow_configurations": {"ambient_noise": {"on": 1}}}).warnings
    assert reported[0].startswith("workflow_configurations.ambient_noise: ")
    assert reported[1].startswith('workflow_definition.nodes[3]: the node "Sync" (id "d")')
    assert '"crmSync"' in reported[1]
    assert reported[2].startswith("workflow_definition.edges[0].data.priority: ")
    assert reported[3].startswith('workflow_definition.edges[2]: the edge from "Talk" to "Sync"')
    assert len(reported) == 4


@pytest.mark.parametrize("export", [None, [], "{}", 3, {1: 2}])
def test_data_that_is_not_an_export_is_refused(export: object) -> None:
    assert faults(export)


def test_an_agent_of_our_own_form_is_refused_as_an_export() -> None:
    found = faults({"name": "a", "start": "hi", "nodes": {"hi": {"prompt": "Talk."}}})
    assert "dograh" in found["nodes"]
    assert "dograh" in found["edges"]


def test_an_export_starts_at_exactly_one_node() -> None:
    def renamed(index: int, node_type: str) -> Data:
        return changed(lambda export: export["nodes"][index].update(type=node_type))

    assert faults(renamed(0, "agentNode")) == {"nodes": "no node is a startCall; exactly one is needed"}
    assert faults(renamed(1, "startCall")) == {"nodes[1]": "is a second startCall, beside nodes[0]; remove one"}
    hook = node("w", "webhook", name="Practice software")
    assert faults({"nodes": [hook], "edges": []}) == {"nodes": "no node is a startCall; exactly one is needed"}


def test_an_export_has_at_most_one_global_prompt() -> None:
    more = [node("g", "globalNode", prompt="Be kind."), node("h", "globalNode", prompt="Be brief.")]
    found = faults(changed(lambda export: export["nodes"].extend(more)))
    assert list(found) == ["nodes[4]"]
    assert "nodes[3]" in found["nodes[4]"]


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        (lambda e: e["nodes"].append("node"), "nodes[3]", "must be a mapping of fields"),
        (lambda e: e["nodes"][1].pop("id"), "nodes[1].id", "is required"),
        (lambda e: e["nodes"][1].update(id=7), "nodes[1].id", "must be text, is 7"),
        (lambda e: e["nodes"][1].pop("type"), "nodes[1].type", "is required"),
        (lambda e: e["nodes"][1].update(data=[]), "nodes[1].data", "must be a mapping of fields"),
        (lambda e: e["nodes"][1].pop("data"), "nodes[1].data.prompt", "neither a greeting nor a prompt"),
        (lambda e: e["nodes"][2].update(id="b"), "nodes[2].id", '"b" is the id of nodes[1] too'),
        (lambda e: e["nodes"][1]["data"].update(prompt=None), "nodes[1].data.prompt", "is empty"),
        (lambda e: e["nodes"][1]["data"].update(prompt=3), "nodes[1].data.prompt", "must be text"),
        (lambda e: e["nodes"][1]["data"].update(greeting=["Hi"]), "nodes[1].data.greeting", "must be text"),
        (lambda e: e["nodes"][1]["data"].update(add_global_prompt="no"), "nodes[1].data.add_global_prompt", "true or"),
        (lambda e: e["nodes"][1]["data"].update(extraction_enabled=1), "nodes[1].data.extraction_enabled", "true or"),
        (lambda e: e["edges"].append(None), "edges[2]", "must be a mapping of fields"),
        (lambda e: e["edges"][1].pop("target"), "edges[1].target", "is required"),
        (lambda e: e["edges"][1].update(source="z"), "edges[1].source", 'no node has the id "z"; expected one of'),
        (lambda e: e["edges"][1].pop("data"), "edges[1].data.label", "is required"),
        (lambda e: e["edges"][1]["data"].pop("condition"), "edges[1].data.condition", "is required"),
        (lambda e: e["edges"][1]["data"].update(label="x" * 65), "edges[1].data.label", "too long"),
        (lambda e: e["edges"].append(edge("b", "a", "Done")), "edges[2].data.label", 'reach the model as "done"'),
        (lambda e: e["edges"].append(edge("c", "a", "again")), "edges[2]", 'leads out of "Bye", which ends'),
        (lambda e: e["nodes"].append(node("d", "agentNode", prompt="x")), "nodes[3]", "no path of transitions"),
        (lambda e: e["nodes"][1]["data"].update(notes="\x00"), "nodes[1].data.notes", "cannot be stored"),
        (lambda e: e["nodes"][1]["data"].update(prompt="\x00"), "nodes[1].data.prompt", "cannot be stored"),
    ],
)
def test_every_fault_has_its_path_in_the_export(change: Callable[[Data], object], place: str, message: str) -> None:
    found = faults(changed(change))
    assert message in found[place]
    assert all(re.match(r"(nodes|edges)\[\d+\]", each) for each in found), f"{list(found)} are not in the export"


@pytest.mark.parametrize(
    ("data", "place", "message"),
    [
        ({"extraction_variables": "day"}, "extraction_variables", "must be a list"),
        ({"extraction_variables": [3]}, "extraction_variables[0]", "must be a mapping"),
        ({"extraction_variables": [{"type": "string"}]}, "extraction_variables[0].name", "is required"),
        ({"extraction_variables": [{"name": "a", "type": "date"}]}, "extraction_variables[0].type", "must be one of"),
        ({"extraction_variables": [{"name": "a", "prompt": 3}]}, "extraction_variables[0].prompt", "must be text"),
        (
            {"extraction_variables": [{"name": "a", "prompt": "x" * 50_001}]},
            "extraction_variables[0].prompt",
            "too long",
        ),
        (
            {"extraction_variables": [{"name": "a"}], "extraction_prompt": "x" * 500_001},
            "extraction_prompt",
            "too long",
        ),
        ({"extraction_variables": [{"name": "a"}], "extraction_prompt": 3}, "extraction_prompt", "must be text"),
    ],
)
def test_a_fault_of_a_variable_has_its_path_in_the_export(data: Data, place: str, message: str) -> None:
    assert message in faults(started(extraction_enabled=True, **data))[f"nodes[0].data.{place}"]


def test_all_faults_of_an_export_are_named_at_once() -> None:
    export = small()
    export["nodes"][0]["data"]["prompt"] = 3
    export["nodes"][1]["data"]["greeting"] = 3
    export["edges"][1]["target"] = "z"
    assert list(faults(export)) == ["edges[1].target", "nodes[0].data.prompt", "nodes[1].data.greeting"]


def test_faults_of_a_download_have_their_path_in_the_file() -> None:
    export = copy.deepcopy(DOWNLOAD)
    export["workflow_definition"]["nodes"][5]["data"]["prompt"] = 3
    assert list(faults(export)) == ["workflow_definition.nodes[5].data.prompt"]


def test_a_name_that_no_agent_can_have_is_a_fault() -> None:
    with pytest.raises(InvalidAgent) as caught:
        import_dograh(small(), name=" ")
    assert [issue.path for issue in caught.value.issues] == ["name"]


def test_a_large_export_is_refused_without_delay() -> None:
    nodes = [node(str(number), "agentNode", name="Step", prompt="Talk.") for number in range(1_000)]
    edges = [edge("a", str(number), f"to {number}") for number in range(1_000)]
    found = faults(changed(lambda export: (export["nodes"].extend(nodes), export["edges"].extend(edges))))
    assert "at most 200" in found["nodes"]


def test_a_name_in_the_file_is_that_of_the_agent() -> None:
    download = {"name": " Front desk ", "workflow_definition": small()}
    assert import_dograh(download).definition.name == "Front desk"
    assert import_dograh(download, name="other").definition.name == "other"
    with pytest.raises(InvalidAgent) as caught:
        import_dograh(small())
    assert [issue.path for issue in caught.value.issues] == ["name"]
