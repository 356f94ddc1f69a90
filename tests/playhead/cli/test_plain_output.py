"""Words of users and models in the output of every command: none of them controls the operator's terminal."""

import json
from pathlib import Path

import pytest
from pydantic import JsonValue
from pytest_httpserver import HTTPServer

from api.schemas.examples import AGENT, BRANCH, COMPARISON, DOCUMENT, SESSION, SESSION_SUMMARY, TURN, page_of
from api.schemas.suite_examples import SUITE, SUITE_REPORT, SUITE_SUMMARY
from tests.playhead.cli.running import playhead
from tests.playhead.output.test_plain_text import HOSTILE, STEERING

FREE_TEXTS = {
    "agent_name",
    "annotations",
    "completion_reason",
    "criterion",
    "current_node_id",
    "detail",
    "error",
    "hint",
    "message",
    "name",
    "names",
    "node_id",
    "payload",
    "prompt",
    "reason",
    "text",
    "warnings",
    "when",
}
"""The fields whose text users, models or authors of agents write."""


def hostile(value: JsonValue, key: str = "", words: str = HOSTILE) -> JsonValue:
    """A document of the API with hostile words in every free text."""
    if isinstance(value, dict):
        inside = key if key in ("payload", "annotations") else None
        return {name: hostile(part, inside or name, words) for name, part in value.items()}
    if isinstance(value, list):
        return [hostile(part, key, words) for part in value]
    return f"{value}{words}" if isinstance(value, str) and key in FREE_TEXTS else value


SESSION_PATH = f"/v1/sessions/{SESSION['id']}"
COMMANDS = (
    ("/v1/sessions", page_of(SESSION_SUMMARY), ["sessions", "ls"]),
    (SESSION_PATH, SESSION, ["sessions", "show", SESSION["id"]]),
    (f"{SESSION_PATH}/rewind", SESSION, ["sessions", "rewind", SESSION["id"], TURN["id"]]),
    (f"{SESSION_PATH}/end", {**SESSION, "completion_reason": "x"}, ["sessions", "end", SESSION["id"]]),
    (f"{SESSION_PATH}/branches", page_of(BRANCH), ["sessions", "branches", SESSION["id"]]),
    (f"{SESSION_PATH}/branches/compare", COMPARISON, ["sessions", "compare", SESSION["id"], BRANCH["id"]]),
    (
        f"{SESSION_PATH}/messages",
        {**SESSION, "completion_reason": "x", "is_completed": True},
        ["sessions", "message", SESSION["id"], "Hello"],
    ),
    ("/v1/agents", page_of(AGENT), ["agents", "ls"]),
    ("/v1/documents", page_of(DOCUMENT), ["documents", "ls"]),
    ("/v1/suites", page_of(SUITE_SUMMARY), ["simulate", "ls"]),
    (f"/v1/suites/{SUITE['id']}/report", SUITE_REPORT, ["simulate", "report", SUITE["id"]]),
    ("/v1/agents/booking-line", {**AGENT, "warnings": ["careful"]}, ["agents", "show", "booking-line"]),
)


@pytest.mark.parametrize(
    ("path", "document", "arguments"),
    COMMANDS,
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_no_command_lets_words_steer_the_terminal(
    api: HTTPServer, path: str, document: JsonValue, arguments: list[str]
) -> None:
    poisoned = hostile(document)
    assert poisoned != document
    api.expect_request(path).respond_with_json(poisoned)
    for options in ([], ["--json"]):
        result = playhead(*arguments, *options)
        assert result.exit_code == 0, result.output
        assert "ok" in result.stdout
        assert not STEERING.search(result.stdout + result.stderr)


@pytest.mark.parametrize(
    ("path", "document", "arguments"),
    [command for command in COMMANDS if command[2][:2] != ["sessions", "message"]],  # prints a reply and nothing else
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_no_words_look_like_a_line_of_the_command(
    api: HTTPServer, path: str, document: JsonValue, arguments: list[str]
) -> None:
    api.expect_request(path).respond_with_json(hostile(document, words="\nFORGED\r\nFORGED"))
    result = playhead(*arguments)
    assert result.exit_code == 0, result.output
    assert "FORGED" in result.stdout
    assert not [line for line in result.stdout.split("\n") if line.startswith("FORGED")], result.stdout


def test_an_agent_is_printed_plainly_in_every_form(api: HTTPServer) -> None:
    api.expect_request("/v1/agents/booking-line").respond_with_json(hostile(AGENT))
    for form in ("--yaml", "--mermaid"):
        result = playhead("agents", "show", "booking-line", form)
        assert result.exit_code == 0, result.output
        assert not STEERING.search(result.stdout)


def test_an_export_is_plain_on_standard_output_and_whole_in_a_file(api: HTTPServer, tmp_path: Path) -> None:
    lines = json.dumps({"text": HOSTILE}, ensure_ascii=False) + "\n"
    for form, transcript in (("text", f"you: {HOSTILE}\n"), ("markdown", HOSTILE), ("jsonl", lines), ("json", lines)):
        api.expect_oneshot_request(f"{SESSION_PATH}/transcript").respond_with_data(transcript)
        result = playhead("sessions", "export", SESSION["id"], "--format", form)
        assert not STEERING.search(result.stdout)
        if form.startswith("json"):
            assert json.loads(result.stdout) == {"text": HOSTILE}
        api.expect_oneshot_request(f"{SESSION_PATH}/transcript").respond_with_data(transcript)
        file = tmp_path / form
        assert playhead("sessions", "export", SESSION["id"], "--format", form, "--output", str(file)).exit_code == 0
        assert file.read_bytes() == transcript.encode()
        assert file.stat().st_mode & 0o777 == 0o600


def test_an_error_of_the_api_is_printed_plainly(api: HTTPServer) -> None:
    error = {"type": "x", "title": "x", "status": 404, "code": "not_found", "detail": f"There is no {HOSTILE}."}
    api.expect_request(SESSION_PATH).respond_with_json(error, status=404)
    result = playhead("sessions", "show", SESSION["id"])
    assert "There is no ok" in result.stderr
    assert not STEERING.search(result.stderr)
