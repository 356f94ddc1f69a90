"""Definitions that run in dograh are imported, with a warning at the place of everything unusual."""

from typing import Any

import pytest

from domain.agents.definition import parse_definition
from domain.agents.templates import render
from domain.dograh.importer import ImportedAgent, import_dograh
from domain.turns.extraction import extracted_values, extraction_instructions, extraction_schema


def imported(node: dict[str, Any] | None = None, edge: dict[str, Any] | None = None, **file: object) -> ImportedAgent:
    start = {"name": "Hi", "prompt": "Talk.", **(node or {})}
    graph = {
        "nodes": [
            {"id": "1", "type": "startCall", "data": start},
            {"id": "2", "type": "endCall", "data": {"name": "Bye", "prompt": "Say goodbye."}},
        ],
        "edges": [{"source": "1", "target": "2", "data": {"label": "done", "condition": "Done.", **(edge or {})}}],
    }
    return import_dograh({"workflow_definition": graph, **file}, name="a")


LITERALS = ['{{"a": 1}}', "{{name}", "{{first name}}", "{{ $json.name }}", "{{user@id}}", "{{current_time_Mars/X}}"]


@pytest.mark.parametrize("text", LITERALS)
@pytest.mark.parametrize("field", ["prompt", "greeting"])
def test_braces_that_name_no_variable_stay(field: str, text: str) -> None:
    agent = imported({field: text})
    path = f"workflow_definition.nodes[0].data.{field}: "
    assert [each.startswith(path) for each in agent.warnings] == [True]
    assert agent.definition.lenient_templates
    assert getattr(agent.definition.nodes["hi"], field) == text
    assert parse_definition(agent.definition.model_dump(mode="json")) == agent.definition, "it can be stored again"


def test_braces_that_name_no_variable_are_rendered_as_they_are() -> None:
    assert [render(text, {"name": "Asha"}) for text in LITERALS[:5]] == LITERALS[:5]


def test_a_regular_export_is_checked_strictly() -> None:
    assert not imported({"greeting": "Hello {{first_name | there}}."}).definition.lenient_templates


@pytest.mark.parametrize("name", ["customer name", "Название", "1st_choice", "a.b", "x" * 65, "$price"])
def test_a_variable_keeps_its_name(name: str) -> None:
    variables = [{"name": name, "type": "string", "prompt": "The name."}, {"name": "n_1", "type": "number"}]
    agent = imported({"extraction_enabled": True, "extraction_variables": variables})
    (warning,) = agent.warnings
    assert warning.startswith("workflow_definition.nodes[0].data.extraction_variables[0].name: ")
    extract = agent.definition.nodes["hi"].extract
    assert [each.name for each in extract] == [name, "n_1"]
    properties = extraction_schema(extract)["properties"]
    assert isinstance(properties, dict)
    asked = next(iter(properties))
    assert asked.isascii()
    assert len(asked) <= 64
    assert " " not in asked
    assert extracted_values(extract, {asked: "Asha", "n_1": 3}) == {name: "Asha", "n_1": 3}


def test_variables_whose_provider_names_collide_stay_distinct() -> None:
    variables = [{"name": "a b"}, {"name": "a_b"}, {"name": "a?b"}, {"name": "a_b_1"}]
    extract = imported({"extraction_enabled": True, "extraction_variables": variables}).definition.nodes["hi"].extract
    properties = extraction_schema(extract)["properties"]
    assert isinstance(properties, dict)
    assert len(properties) == 4
    found = {asked: str(number) for number, asked in enumerate(properties)}
    assert extracted_values(extract, dict(found)) == {"a b": "0", "a_b": "1", "a?b": "2", "a_b_1": "3"}


@pytest.mark.parametrize(
    ("node", "edge", "place"),
    [
        ({"prompt": "p" * 50_001}, {}, "nodes[0].data.prompt"),
        ({}, {"condition": "c" * 2_001}, "edges[0].data.condition"),
        (
            {"extraction_enabled": True, "extraction_variables": [{"name": "a"}], "extraction_prompt": "e" * 2_001},
            {},
            "nodes[0].data.extraction_prompt",
        ),
        (
            {"extraction_enabled": True, "extraction_variables": [{"name": "a", "prompt": "e" * 2_001}]},
            {},
            "nodes[0].data.extraction_variables[0].prompt",
        ),
    ],
)
def test_a_long_text_is_kept_with_a_warning(node: dict[str, Any], edge: dict[str, Any], place: str) -> None:
    (warning,) = imported(node, edge).warnings
    assert warning.startswith(f"workflow_definition.{place}: has ")


def test_extraction_prompts_and_hints_are_rendered_once() -> None:
    variables = [{"name": "day", "prompt": "The day for {{name}}."}, {"name": "hour", "prompt": ""}]
    fields = {"extraction_enabled": True, "extraction_prompt": "{{name}} speaks.", "extraction_variables": variables}
    node = imported(fields).definition.nodes["hi"]
    values = {"name": "Asha"}
    assert extraction_instructions(node, values).endswith("\n\nAsha speaks.")
    assert extraction_schema(node.extract, values)["properties"] == {
        "day": {"type": "string", "description": "The day for Asha."},
        "hour": {"type": "string"},
    }


@pytest.mark.parametrize(
    ("seconds", "kept", "warned"), [(900, 900, False), (1, 5, True), (10**9, 2_592_000, True), ("soon", 3600, True)]
)
def test_the_timeout_of_text_chats_becomes_a_limit(seconds: object, kept: int, warned: bool) -> None:
    agent = imported(workflow_configurations={"text_chat_inactivity_timeout_seconds": seconds})
    assert agent.definition.limits.inactivity_seconds == kept
    assert bool(agent.warnings) is warned


def test_template_variables_become_the_context() -> None:
    agent = imported(template_context_variables={"company": "Acme", "vip": True, "secrets": "x"})
    assert agent.definition.context == {"company": "Acme", "vip": True}
    (warning,) = agent.warnings
    assert warning.startswith("template_context_variables.secrets: ")


def hook(**data: object) -> dict[str, Any]:
    return {"id": "9", "type": "webhook", "data": {"name": "CRM", "endpoint_url": "https://crm.example/x", **data}}


def with_hooks(*hooks: dict[str, Any]) -> ImportedAgent:
    start = {"id": "1", "type": "startCall", "data": {"name": "Hi", "prompt": "Talk."}}
    return import_dograh({"nodes": [start, *hooks], "edges": []}, name="a")


def test_a_webhook_node_becomes_the_webhook() -> None:
    agent = with_hooks(hook(http_method="POST"))
    assert agent.definition.webhook is not None
    assert agent.definition.webhook.url == "https://crm.example/x"
    (warning,) = agent.warnings
    assert f"credential {agent.definition.webhook.secret}" in warning


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"enabled": False}, "it is disabled"),
        ({"endpoint_url": ""}, "no endpoint_url"),
        ({"endpoint_url": "https://{{host}}/x"}, "must not be a template"),
        ({"endpoint_url": "ftp://crm.example"}, "http://"),
    ],
)
def test_a_webhook_node_that_cannot_be_kept_is_left_out_with_the_reason(data: dict[str, Any], reason: str) -> None:
    agent = with_hooks(hook(**data))
    assert agent.definition.webhook is None
    (warning,) = agent.warnings
    assert reason in warning


def test_everything_that_a_webhook_loses_is_warned_about() -> None:
    lost = {
        "http_method": "PUT",
        "credential_uuid": "x",
        "custom_headers": [{"k": "v"}],
        "payload_template": {"a": "b"},
    }
    agent = with_hooks(hook(**lost), {**hook(), "id": "10"})
    paths = [warning.partition(": ")[0] for warning in agent.warnings]
    assert paths == ["nodes[1]", *(f"nodes[1].data.{field}" for field in lost), "nodes[2]"]
