"""`playhead agents`: validate, push, list and show."""

import json
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from api.schemas.examples import AGENT, DEFINITION_YAML, page_of
from playhead.exit_codes import FINDING, USAGE
from tests.playhead.cli.running import playhead, printed

CHECKOUT = Path(__file__).parents[3]
EXPORT = Path(__file__).parents[2] / "domain" / "dograh" / "exports" / "dental-reception.json"
INVALID = "name: x\nstart: nowhere\nnodes:\n  greet: {prompt: Hello., colour: red}\n"


def agent_file(folder: Path, text: str = DEFINITION_YAML, name: str = "agent.yaml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_valid_definition_passes_without_any_service(tmp_path: Path) -> None:
    result = playhead("agents", "validate", agent_file(tmp_path))
    assert result.exit_code == 0
    assert result.stdout.endswith("agent.yaml: valid\n")


def test_the_examples_are_valid() -> None:
    examples = sorted(str(file) for file in (CHECKOUT / "examples" / "agents").glob("*.yaml"))
    assert len(examples) >= 3
    assert playhead("agents", "validate", *examples).exit_code == 0


def test_every_error_of_every_file_is_listed_with_its_place(tmp_path: Path) -> None:
    good = agent_file(tmp_path)
    bad = agent_file(tmp_path, INVALID, "bad.yaml")
    broken = agent_file(tmp_path, '{"name": ', "broken.json")
    result = playhead("agents", "validate", good, bad, broken)
    assert result.exit_code == FINDING
    assert "bad.yaml: invalid" in result.stdout
    assert "  nodes.greet.colour: " in result.stdout
    assert "  start: " in result.stdout
    assert "  line 1, column 10: " in result.stdout
    result = playhead("agents", "validate", bad, "--json")
    assert result.exit_code == FINDING
    (report,) = json.loads(result.stdout)
    assert not report["valid"]
    assert {error["place"] for error in report["errors"]} >= {"start", "nodes.greet.colour"}


def test_a_file_that_is_not_there_is_wrong_usage() -> None:
    assert playhead("agents", "validate", "nowhere.yaml").exit_code == USAGE


@pytest.mark.parametrize(("name", "media_type"), [("a.yaml", "application/yaml"), ("a.json", "application/json")])
def test_a_definition_is_pushed_as_it_was_written(api: HTTPServer, tmp_path: Path, name: str, media_type: str) -> None:
    stored = {**AGENT, "warnings": ["nodes: no end"]}
    api.expect_request(
        "/v1/agents", method="POST", data=DEFINITION_YAML, headers={"Content-Type": media_type}
    ).respond_with_json(stored, status=201)
    result = playhead("agents", "push", agent_file(tmp_path, name=name))
    assert result.exit_code == 0, result.output
    assert result.stdout == "booking-line version 3 (agt_5f0c91d2a4b7)\n"
    assert result.stderr == "warning: nodes: no end\n"


def test_an_export_is_pushed_under_the_name_of_its_file_or_another(api: HTTPServer, tmp_path: Path) -> None:
    for name, options in (("dental", []), ("front-desk", ["--name", "front-desk"])):
        query = {"format": "dograh", "name": name}
        api.expect_ordered_request("/v1/agents", method="POST", query_string=query).respond_with_json(AGENT, status=201)
        file = agent_file(tmp_path, "{}", "dental.json")
        result = playhead("agents", "push", "--format", "dograh", *options, file)
        assert result.exit_code == 0, result.output


def test_an_export_is_checked_without_any_service(tmp_path: Path) -> None:
    result = playhead("agents", "validate", "--format", "dograh", str(EXPORT))
    assert result.exit_code == 0
    assert "dental-reception.json: valid\n  warning: workflow_definition.nodes" in result.stdout
    result = playhead("agents", "validate", "--format", "dograh", agent_file(tmp_path, "{}", "empty.json"))
    assert result.exit_code == FINDING
    assert "  nodes: " in result.stdout


@pytest.mark.parametrize("command", ["push", "validate"])
def test_a_name_is_for_one_export(command: str, tmp_path: Path) -> None:
    one, other = agent_file(tmp_path, "{}", "one.json"), agent_file(tmp_path, "{}", "other.json")
    assert playhead("agents", command, "--format", "dograh", "--name", "x", one, other).exit_code == USAGE
    assert playhead("agents", command, "--name", "x", one).exit_code == USAGE


def test_the_errors_of_an_invalid_definition_are_listed(api: HTTPServer, tmp_path: Path) -> None:
    problem = {
        "code": "invalid_agent",
        "detail": "The agent definition has 1 error. Nothing was stored.",
        "errors": [{"place": "start", "message": "there is no node nowhere"}],
    }
    api.expect_request("/v1/agents", method="POST").respond_with_json(problem, status=400)
    result = playhead("agents", "push", agent_file(tmp_path, INVALID))
    assert result.exit_code == FINDING
    assert "\n  start: there is no node nowhere\n" in result.stderr


def test_lists_are_read_to_their_end(api: HTTPServer) -> None:
    second = {**AGENT, "name": "support-desk"}
    api.expect_ordered_request("/v1/agents", query_string={"limit": "100"}).respond_with_json(
        page_of(AGENT, next_cursor="more")
    )
    api.expect_ordered_request("/v1/agents", query_string={"limit": "100", "cursor": "more"}).respond_with_json(
        page_of(second)
    )
    assert [agent["name"] for agent in printed(playhead("agents", "ls", "--json"))] == ["booking-line", "support-desk"]


def test_an_agent_is_shown_in_many_forms(api: HTTPServer) -> None:
    api.expect_request("/v1/agents/booking-line").respond_with_json(AGENT)
    api.expect_request("/v1/agents/booking-line/versions/2").respond_with_json({**AGENT, "version": 2})
    assert "to_booking: the caller wants a table -> booking" in playhead("agents", "show", "booking-line").stdout
    assert playhead("agents", "show", "booking-line", "--mermaid").stdout.startswith("flowchart TD\n")
    assert "start: greet" in playhead("agents", "show", "booking-line", "--yaml").stdout
    assert printed(playhead("agents", "show", "booking-line", "--version", "2", "--json"))["version"] == 2
    exported = printed(playhead("agents", "show", "booking-line", "--dograh"))
    start, *_ = exported["workflow_definition"]["nodes"]
    assert start["type"] == "startCall"
    assert playhead("agents", "show", "booking-line", "--yaml", "--json").exit_code == USAGE
    assert playhead("agents", "show", "booking-line", "--dograh", "--json").exit_code == USAGE


def test_an_export_that_is_validated_as_a_definition_is_recognised() -> None:
    result = playhead("agents", "validate", str(EXPORT))
    assert "workflow export of dograh" in result.stdout
    assert "--format dograh" in result.stdout


def test_markup_in_a_name_is_text(api: HTTPServer) -> None:
    api.expect_request("/v1/agents").respond_with_json(page_of({**AGENT, "name": "[bold]x[/nothing]"}))
    assert "[bold]x[/nothing]" in playhead("agents", "ls").stdout
