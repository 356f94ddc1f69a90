"""`playhead sessions`: list, show, rewind, end, export, compare and erase."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from api.schemas.examples import BRANCH, COMPARISON, GREETING, SESSION, SESSION_SUMMARY, TURN, page_of
from playhead.exit_codes import FINDING, USAGE
from playhead_client import Branch, Comparison, Session
from tests.playhead.cli.running import playhead, printed

SESSION_ID = SESSION["id"]


def test_sessions_are_listed_by_the_given_filters(api: HTTPServer) -> None:
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


def test_a_rewind_sends_its_turn_and_the_expected_revision(api: HTTPServer) -> None:
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
def test_a_rewind_without_a_valid_target_is_wrong_usage(arguments: Sequence[str]) -> None:
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


def test_a_failed_export_leaves_the_file_as_it_was(api: HTTPServer, tmp_path: Path) -> None:
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


def test_equal_branches_are_reported_as_equal(api: HTTPServer) -> None:
    same = {name: {**COMPARISON[name], "turns": []} for name in ("a", "b")}
    api.expect_request(f"/v1/sessions/{SESSION_ID}/branches/compare").respond_with_json({**COMPARISON, **same})
    assert "The branches are equal." in playhead("sessions", "compare", SESSION_ID, "active").stderr


def test_a_session_is_erased_when_that_is_confirmed(api: HTTPServer) -> None:
    api.expect_oneshot_request(f"/v1/sessions/{SESSION_ID}", method="DELETE").respond_with_data(status=204)
    result = playhead("sessions", "rm", SESSION_ID, typed="y\n")
    assert result.exit_code == 0
    assert result.stdout.endswith(f"{SESSION_ID} is erased\n")
    assert "permanently" in result.stderr


def test_a_session_is_kept_when_that_is_not_confirmed(api: HTTPServer) -> None:
    result = playhead("sessions", "rm", SESSION_ID, typed="n\n")
    assert result.exit_code == FINDING
    assert api.log == [], "no request was sent"


def test_a_script_erases_without_being_asked(api: HTTPServer) -> None:
    api.expect_oneshot_request(f"/v1/sessions/{SESSION_ID}", method="DELETE").respond_with_data(status=204)
    assert playhead("sessions", "rm", SESSION_ID, "--yes").stdout == f"{SESSION_ID} is erased\n"
