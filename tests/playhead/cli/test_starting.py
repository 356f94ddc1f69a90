"""The command line: start-up time, connection errors, and completion of names."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from api.schemas.examples import AGENT, SESSION, SESSION_SUMMARY, page_of
from playhead.cli.agents import complete_agents
from playhead.cli.services import announce
from playhead.cli.sessions import complete_sessions
from playhead.config.settings import load_settings
from playhead.exit_codes import FINDING, UNREACHABLE, USAGE
from playhead.temporal.dev_server import ServerAddresses
from tests.playhead.cli.running import playhead, printed
from tests.support.ports import free_port

SESSION_ID = SESSION["id"]
CHECKOUT = Path(__file__).parents[3]
HEAVY = (
    "alembic",
    "domain",
    "fastapi",
    "httpx2",
    "playhead_client",
    "pydantic_ai",
    "rich",
    "sqlalchemy",
    "structlog",
    "temporalio",
    "yaml",
)


def heavy_modules_loaded_by(*arguments: str, loading: str) -> list[str]:
    """The modules among HEAVY that a command has loaded when it ends."""
    report = f"import atexit, sys; atexit.register(lambda: print({loading!r}, *sys.modules, file=sys.stderr))"
    command = f"{report}; from playhead.cli.main import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", command, *arguments],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
    )
    modules = ended.stderr.partition(loading)[2].split()
    assert "playhead.cli.main" in modules
    return sorted(set(HEAVY) & set(modules))


@pytest.mark.parametrize("arguments", [["--help"], ["sessions", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: Sequence[str]) -> None:
    loaded = heavy_modules_loaded_by(*arguments, loading="modules:")
    assert not loaded, f"import these where they are used, inside the command: {loaded}"


def test_no_arguments_show_the_help() -> None:
    result = playhead()
    assert "Commands:" in result.output
    assert {"dev", "worker", "api", "agents", "sessions", "keys", "db", "chat"} <= set(result.output.split())


def test_an_unknown_command_is_wrong_usage() -> None:
    assert playhead("frobnicate").exit_code == USAGE


def test_versions_are_printed_for_people_and_programs() -> None:
    assert "temporalio 1." in playhead("version").stdout
    assert set(printed(playhead("version", "--json"))) == {"playhead", "python", "temporalio"}


@pytest.mark.parametrize("command", [["worker"], ["api"], ["dev"], ["keys", "ls"], ["settings"]])
def test_a_wrong_setting_stops_every_command_that_reads_settings(
    monkeypatch: pytest.MonkeyPatch, command: Sequence[str]
) -> None:
    monkeypatch.setenv("PLAYHEAD_API_PORT", "eighty")
    result = playhead(*command)
    assert result.exit_code == USAGE
    assert result.stderr.splitlines() == [
        "playhead: PLAYHEAD_API_PORT is set to 'eighty'; it must be a port: a whole number from 1 to 65535.",
        "`playhead settings` lists every setting with its meaning.",
    ]


def test_dev_names_the_address_and_the_key_of_a_container(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    settings = load_settings(api_port=8090, keyless=True, data_dir=tmp_path)
    addresses = ServerAddresses(tmp_path, 7233, 8233)
    for data_dir, command in ((None, ""), (tmp_path, f"PLAYHEAD_DATA_DIR={tmp_path} ")):
        announce(settings, addresses, ["booking-line"], as_json=False, data_dir=data_dir)
        shown = " ".join(capsys.readouterr().out.split())
        assert "http://host.docker.internal:8090/v1 with a key of" in shown
        assert f"`{command}playhead keys create container --organization dev`" in shown
        assert "http://127.0.0.1:8090/v1 with the key dev" in shown.replace("localhost", "127.0.0.1")


def test_settings_are_listed_with_their_values_and_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_REQUEST_TIMEOUT_SECONDS", "5")
    monkeypatch.setenv("PLAYHEAD_MODLE", "x")
    result = playhead("settings")
    assert "PLAYHEAD_REQUEST_TIMEOUT_SECONDS = 5\n" in result.stdout
    assert "PLAYHEAD_API_PORT = 8080 (default)" in result.stdout
    assert "did you mean PLAYHEAD_MODEL?" in result.stderr
    values = {row["variable"]: row["value"] for row in printed(playhead("settings", "--json"))}
    assert values["PLAYHEAD_REQUEST_TIMEOUT_SECONDS"] == "5"


def test_an_unreachable_api_is_reported_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_API_URL", f"http://127.0.0.1:{free_port()}")
    result = playhead("sessions", "ls")
    assert result.exit_code == UNREACHABLE
    assert "cannot be reached" in result.stderr
    assert "playhead dev" in result.stderr


def test_an_invalid_address_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_API_URL", "localhost:8080")
    result = playhead("agents", "ls")
    assert result.exit_code == USAGE
    assert "PLAYHEAD_API_URL is set to 'localhost:8080'" in result.stderr


def test_something_else_that_answers_there_is_not_mistaken_for_the_api(api: HTTPServer) -> None:
    api.expect_request("/v1/agents").respond_with_data("<html>hello</html>")
    result = playhead("agents", "ls")
    assert result.exit_code == UNREACHABLE
    assert "is not the Playhead API" in result.stderr


@pytest.mark.parametrize(
    ("status", "code", "exit_status"),
    [
        (404, "not_found", USAGE),
        (401, "unauthenticated", USAGE),
        (409, "revision_conflict", FINDING),
        (410, "session_ended", FINDING),
        (429, "rate_limited", UNREACHABLE),
        (502, "model_failed", UNREACHABLE),
        (503, "unavailable", UNREACHABLE),
        (504, "wait_timeout", UNREACHABLE),
    ],
)
def test_problems_become_exit_statuses(api: HTTPServer, status: int, code: str, exit_status: int) -> None:
    problem = {"type": "about:blank", "title": "No", "status": status, "code": code, "detail": "It is so."}
    api.expect_request(f"/v1/sessions/{SESSION_ID}").respond_with_json(problem, status=status)
    result = playhead("sessions", "show", SESSION_ID)
    assert result.exit_code == exit_status
    assert result.stderr.startswith("playhead: It is so.\n")
    assert result.stdout == ""


def test_the_api_key_goes_with_every_call(api: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_API_KEY", "phk_secret")
    headers = {"Authorization": "Bearer phk_secret"}
    api.expect_request("/v1/agents", headers=headers).respond_with_json(page_of(AGENT))
    assert playhead("agents", "ls").exit_code == 0


def test_names_and_ids_are_completed_from_the_api(api: HTTPServer) -> None:
    api.expect_request("/v1/agents").respond_with_json(page_of(AGENT, {**AGENT, "name": "support-desk"}))
    api.expect_request("/v1/sessions").respond_with_json(page_of(SESSION_SUMMARY))
    assert complete_agents("book") == ["booking-line"]
    assert complete_sessions("ses_") == [(SESSION_ID, SESSION["name"])]
    assert complete_sessions("other") == []


def test_completion_is_quiet_without_an_api(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PLAYHEAD_API_URL", f"http://127.0.0.1:{free_port()}")
    assert complete_agents("") == []
    assert complete_sessions("") == []
    assert capfd.readouterr() == ("", "")
