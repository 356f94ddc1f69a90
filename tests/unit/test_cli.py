"""The command line: what it prints, its exit statuses, and that it starts fast."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner, Result

from api.examples import AGENT, BRANCH, COMPARISON, DEFINITION_YAML, GREETING, SESSION, SESSION_SUMMARY, TURN, page_of
from playhead.cli import app
from playhead.cli_agents import complete_agents
from playhead.cli_sessions import complete_sessions
from playhead.client import Branch, Comparison, Session
from playhead.failures import FINDING, UNREACHABLE, USAGE
from playhead.temporal_server import free_port

CHECKOUT = Path(__file__).parents[2]
EXPORT = Path(__file__).parent / "exports" / "dental-reception.json"
HEAVY = (
    "alembic",
    "domain",
    "fastapi",
    "httpx",
    "pydantic_ai",
    "rich",
    "sqlalchemy",
    "structlog",
    "temporalio",
    "yaml",
)
SESSION_ID = SESSION["id"]
FAULTY = "name: x\nstart: nowhere\nnodes:\n  greet: {prompt: Hello., colour: red}\n"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and an environment without settings: tests must not see those of this machine."""
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith(("PLAYHEAD_", "TEMPORAL_", "OPENAI_", "ANTHROPIC_")):
            monkeypatch.delenv(name)


@pytest.fixture
def api(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    """An API that answers what the test says, found as the command line finds one."""
    monkeypatch.setenv("PLAYHEAD_API_URL", httpserver.url_for("").rstrip("/"))
    yield httpserver
    httpserver.check_assertions()


def playhead(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


def printed(result: Result) -> Any:
    """What a command printed for programs."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def agent_file(folder: Path, text: str = DEFINITION_YAML, name: str = "agent.yaml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def as_process(*arguments: str, loading: str) -> list[str]:
    """The modules among HEAVY that a command has loaded when it ends."""
    report = f"import atexit, sys; atexit.register(lambda: print({loading!r}, *sys.modules, file=sys.stderr))"
    command = f"{report}; from playhead.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", command, *arguments],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
    )
    modules = ended.stderr.partition(loading)[2].split()
    assert "playhead.cli" in modules
    return sorted(set(HEAVY) & set(modules))


# --- starting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["sessions", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: Sequence[str]) -> None:
    loaded = as_process(*arguments, loading="modules:")
    assert not loaded, f"import these where they are used, inside the command: {loaded}"


def test_no_arguments_show_the_help() -> None:
    result = playhead()
    assert "Commands:" in result.output
    assert {"dev", "worker", "api", "agents", "sessions", "keys", "db", "chat"} <= set(result.output.split())


def test_an_unknown_command_is_wrong_usage() -> None:
    assert playhead("frobnicate").exit_code == USAGE


def test_versions_are_told_to_people_and_programs() -> None:
    assert "temporalio 1." in playhead("version").stdout
    assert set(printed(playhead("version", "--json"))) == {"playhead", "python", "temporalio"}


# --- settings -----------------------------------------------------------------------------------------------------


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


def test_settings_are_listed_with_their_values_and_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_WAIT_SECONDS", "5")
    monkeypatch.setenv("PLAYHEAD_MODLE", "x")
    result = playhead("settings")
    assert "PLAYHEAD_WAIT_SECONDS = 5\n" in result.stdout
    assert "PLAYHEAD_API_PORT = 8080 (default)" in result.stdout
    assert "did you mean PLAYHEAD_MODEL?" in result.stderr
    values = {row["variable"]: row["value"] for row in printed(playhead("settings", "--json"))}
    assert values["PLAYHEAD_WAIT_SECONDS"] == "5"


# --- the API ------------------------------------------------------------------------------------------------------


def test_an_api_that_is_not_there_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_API_URL", f"http://127.0.0.1:{free_port()}")
    result = playhead("sessions", "ls")
    assert result.exit_code == UNREACHABLE
    assert "cannot be reached" in result.stderr
    assert "playhead dev" in result.stderr


def test_an_address_that_is_none_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
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


# --- agents -------------------------------------------------------------------------------------------------------


def test_a_valid_definition_passes_without_any_service(tmp_path: Path) -> None:
    result = playhead("agents", "validate", agent_file(tmp_path))
    assert result.exit_code == 0
    assert result.stdout.endswith("agent.yaml: valid\n")


def test_the_examples_are_valid() -> None:
    examples = sorted(str(file) for file in (CHECKOUT / "examples" / "agents").glob("*.yaml"))
    assert len(examples) >= 3
    assert playhead("agents", "validate", *examples).exit_code == 0


def test_every_fault_of_every_file_is_listed_with_its_place(tmp_path: Path) -> None:
    good = agent_file(tmp_path)
    bad = agent_file(tmp_path, FAULTY, "bad.yaml")
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
    assert {fault["place"] for fault in report["errors"]} >= {"start", "nodes.greet.colour"}


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


def test_the_faults_of_a_refused_definition_are_listed(api: HTTPServer, tmp_path: Path) -> None:
    problem = {
        "code": "invalid_agent",
        "detail": "The agent definition has 1 fault. Nothing was stored.",
        "errors": [{"place": "start", "message": "there is no node nowhere"}],
    }
    api.expect_request("/v1/agents", method="POST").respond_with_json(problem, status=400)
    result = playhead("agents", "push", agent_file(tmp_path, FAULTY))
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
    assert playhead("agents", "show", "booking-line", "--yaml", "--json").exit_code == USAGE


def test_markup_in_a_name_is_text(api: HTTPServer) -> None:
    api.expect_request("/v1/agents").respond_with_json(page_of({**AGENT, "name": "[bold]x[/nothing]"}))
    assert "[bold]x[/nothing]" in playhead("agents", "ls").stdout


# --- sessions -----------------------------------------------------------------------------------------------------


def test_sessions_are_listed_by_what_is_asked(api: HTTPServer) -> None:
    query = {"limit": "5", "status": "idle", "agent": "booking-line"}
    api.expect_request("/v1/sessions", query_string=query).respond_with_json(page_of(SESSION_SUMMARY))
    result = playhead("sessions", "ls", "--status", "idle", "--agent", "booking-line", "--limit", "5")
    assert SESSION_ID in result.stdout
    assert "0.000165 USD" in result.stdout


def test_an_empty_list_says_what_to_do_next(api: HTTPServer) -> None:
    api.expect_request("/v1/sessions").respond_with_json(page_of())
    result = playhead("sessions", "ls")
    assert result.stdout == ""
    assert "playhead chat AGENT" in result.stderr


def test_a_session_is_shown_as_a_conversation(api: HTTPServer) -> None:
    failed = {**TURN, "status": "failed", "assistant_message": None, "error": "The provider is down."}
    session = {**SESSION, "turns": [GREETING, failed], "cursor_turn_id": GREETING["id"], "discarded_branches": [BRANCH]}
    api.expect_request(f"/v1/sessions/{SESSION_ID}").respond_with_json(session)
    shown = playhead("sessions", "show", SESSION_ID).stdout
    assert "agent  Hello Ada, this is Osteria Fiorella." in shown
    assert "you    A table for four on Friday, please." in shown
    assert "error  The provider is down." in shown
    assert "<- cursor" in shown
    assert "greet -> booking" in shown
    assert "discarded" in shown


def test_a_rewind_says_where_to(api: HTTPServer) -> None:
    body = {"turn_id": TURN["id"], "before": True, "expected_revision": 4}
    path = f"/v1/sessions/{SESSION_ID}/rewind"
    api.expect_request(path, method="POST", json=body).respond_with_json(SESSION)
    arguments = ["sessions", "rewind", SESSION_ID, TURN["id"], "--before", "--expected-revision", "4", "--json"]
    assert Session.model_validate(printed(playhead(*arguments))) == Session.model_validate(SESSION)


def test_a_rewind_is_undone(api: HTTPServer) -> None:
    body = {"turn_id": None, "before": False}
    path = f"/v1/sessions/{SESSION_ID}/rewind"
    api.expect_request(path, method="POST", json=body).respond_with_json(SESSION)
    assert playhead("sessions", "rewind", SESSION_ID, "--clear").exit_code == 0


@pytest.mark.parametrize("arguments", [[], ["turn_1", "--clear"], ["--before"], ["--clear", "--before"]])
def test_a_rewind_to_nowhere_is_wrong_usage(arguments: Sequence[str]) -> None:
    assert playhead("sessions", "rewind", SESSION_ID, *arguments).exit_code == USAGE


def test_a_session_is_ended_with_a_reason(api: HTTPServer) -> None:
    ended = {**SESSION, "is_completed": True, "completion_reason": "tested"}
    path = f"/v1/sessions/{SESSION_ID}/end"
    api.expect_request(path, method="POST", json={"reason": "tested"}).respond_with_json(ended)
    result = playhead("sessions", "end", SESSION_ID, "--reason", "tested")
    assert result.stdout == f"{SESSION_ID} has ended (tested); spent 0.000165 USD\n"


@pytest.mark.parametrize("form", ["text", "markdown", "json", "jsonl"])
def test_an_export_is_the_transcript_as_the_api_writes_it(api: HTTPServer, tmp_path: Path, form: str) -> None:
    written = f"Agent: Grüß Gott.\n({form})\n"
    api.expect_request(f"/v1/sessions/{SESSION_ID}/transcript", query_string={"format": form}).respond_with_data(
        written, content_type="text/plain; charset=utf-8"
    )
    assert playhead("sessions", "export", SESSION_ID, "--format", form).stdout == written
    file = tmp_path / "session.txt"
    assert playhead("sessions", "export", SESSION_ID, "--format", form, "--output", str(file)).stdout == ""
    assert file.read_text("utf-8") == written


def test_an_export_that_is_refused_leaves_the_file_as_it_was(api: HTTPServer, tmp_path: Path) -> None:
    problem = {"status": 404, "code": "not_found", "detail": "There is no session ses_0 in this organization."}
    api.expect_request("/v1/sessions/ses_0/transcript").respond_with_json(problem, status=404)
    file = tmp_path / "session.txt"
    file.write_text("as it was")
    result = playhead("sessions", "export", "ses_0", "--output", str(file))
    assert (result.exit_code, file.read_text()) == (USAGE, "as it was")
    assert "There is no session ses_0" in result.stderr


def test_the_branches_of_a_session_are_listed(api: HTTPServer) -> None:
    api.expect_request(f"/v1/sessions/{SESSION_ID}/branches").respond_with_json(page_of(BRANCH))
    (shown,) = printed(playhead("sessions", "branches", SESSION_ID, "--json"))
    assert Branch.model_validate(shown) == Branch.model_validate(BRANCH)
    row = playhead("sessions", "branches", SESSION_ID).stdout.splitlines()[1]
    assert row.split()[:3] == [BRANCH["id"], GREETING["id"], "1"]
    assert "A table for four" in row


def test_two_branches_are_shown_side_by_side(api: HTTPServer) -> None:
    path = f"/v1/sessions/{SESSION_ID}/branches/compare"
    api.expect_request(path, query_string={"a": BRANCH["id"], "b": "active"}).respond_with_json(COMPARISON)
    compared = Comparison.model_validate(printed(playhead("sessions", "compare", SESSION_ID, BRANCH["id"], "--json")))
    assert compared == Comparison.model_validate(COMPARISON)
    shown = playhead("sessions", "compare", SESSION_ID, BRANCH["id"]).stdout
    assert shown.startswith(f"1 turn(s) in common, the last of them {GREETING['id']}\n")
    assert [line for line in shown.splitlines() if line.count("With pleasure. At what time?") == 2]


def test_branches_that_do_not_differ_are_said_to_be_the_same(api: HTTPServer) -> None:
    same = {name: {**COMPARISON[name], "turns": []} for name in ("a", "b")}
    api.expect_request(f"/v1/sessions/{SESSION_ID}/branches/compare").respond_with_json({**COMPARISON, **same})
    assert "The two are the same." in playhead("sessions", "compare", SESSION_ID, "active").stderr


def test_a_session_is_erased_when_that_is_confirmed(api: HTTPServer) -> None:
    api.expect_oneshot_request(f"/v1/sessions/{SESSION_ID}", method="DELETE").respond_with_data(status=204)
    result = CliRunner().invoke(app, ["sessions", "rm", SESSION_ID], input="y\n")
    assert result.exit_code == 0
    assert result.stdout.endswith(f"{SESSION_ID} is erased\n")
    assert "for good" in result.stderr


def test_a_session_is_kept_when_that_is_not_confirmed(api: HTTPServer) -> None:
    result = CliRunner().invoke(app, ["sessions", "rm", SESSION_ID], input="n\n")
    assert result.exit_code == FINDING
    assert api.log == [], "nothing was asked of the API"


def test_a_script_erases_without_being_asked(api: HTTPServer) -> None:
    api.expect_oneshot_request(f"/v1/sessions/{SESSION_ID}", method="DELETE").respond_with_data(status=204)
    assert playhead("sessions", "rm", SESSION_ID, "--yes").stdout == f"{SESSION_ID} is erased\n"


# --- the store ----------------------------------------------------------------------------------------------------


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    result = playhead("keys", "create", "ci")
    assert result.exit_code == USAGE
    assert "playhead db upgrade" in result.stderr

    assert printed(playhead("db", "upgrade", "--json"))["applied"]
    assert playhead("db", "upgrade").stdout == "The store was up to date.\n"

    result = playhead("keys", "create", "ci")
    secret = result.stdout.strip()
    assert secret.startswith("phk_"), "the secret stands alone on standard output, for scripts"
    made = printed(playhead("keys", "create", "web", "--organization", "acme", "--json"))
    assert made["organization"] == "acme"

    listed = {key["name"]: key for key in printed(playhead("keys", "ls", "--json"))}
    assert listed["ci"]["ends_with"] == secret[-4:]
    assert secret not in playhead("keys", "ls").stdout
    assert playhead("keys", "revoke", made["id"]).exit_code == 0
    result = playhead("keys", "revoke", made["id"])
    assert result.exit_code == USAGE
    assert "playhead keys ls" in result.stderr


def test_what_organizations_pay_and_may_spend_is_set_and_listed() -> None:
    playhead("db", "upgrade")
    playhead("keys", "create", "web", "--organization", "acme")
    result = playhead("orgs", "set", "acme", "--price-per-second", "0.002", "--monthly-limit", "25")
    assert result.exit_code == 0, result.output
    assert playhead("orgs", "set", "acme", "--price-per-second", "none").exit_code == 0
    acme = {"id": "acme", "name": "acme", "price_per_second": None, "monthly_limit": "25", "spent_this_month": "0"}
    assert printed(playhead("orgs", "ls", "--json")) == [acme]
    listed = playhead("orgs", "ls").stdout
    assert "acme" in listed
    assert "25" in listed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["acme"], "Nothing to set"),
        (["acme", "--monthly-limit", "a lot"], "not 'a lot'"),
        (["acme", "--monthly-limit", "-1"], "not between 0 and 1000000"),
        (["acme", "--price-per-second", "1e-13"], "more than twelve decimals"),
        (["nobody", "--monthly-limit", "1"], "playhead orgs ls"),
    ],
)
def test_terms_that_cannot_be_set_are_told_and_change_nothing(arguments: list[str], told: str) -> None:
    playhead("db", "upgrade")
    playhead("keys", "create", "web", "--organization", "acme")
    result = playhead("orgs", "set", *arguments)
    assert result.exit_code == USAGE
    assert told in result.stderr
    [acme] = printed(playhead("orgs", "ls", "--json"))
    assert (acme["price_per_second"], acme["monthly_limit"]) == (None, None)


def test_a_store_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_DATABASE_URL", f"postgresql://anna:hunter2@127.0.0.1:{free_port()}/x")
    result = playhead("db", "upgrade")
    assert result.exit_code == UNREACHABLE
    assert "cannot be reached" in result.stderr
    assert "hunter2" not in result.output


def test_nothing_is_pruned_while_temporal_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    assert playhead("db", "upgrade").exit_code == 0
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_port()}")
    result = playhead("db", "prune")
    assert result.exit_code == UNREACHABLE
    assert "Temporal cannot be reached" in result.stderr


def test_a_file_that_is_no_database_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database")
    monkeypatch.setenv("PLAYHEAD_DATABASE_URL", "sqlite:///notes.txt")
    result = playhead("keys", "ls")
    assert result.exit_code == USAGE
    assert "file is not a database" in result.stderr


# --- completion ---------------------------------------------------------------------------------------------------


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
