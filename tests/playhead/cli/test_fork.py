"""`playhead simulate fork`: a run continued from one of its turns with its simulated user, and followed to its end."""

import json
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from typer.testing import Result
from werkzeug import Request, Response

from api.schemas.examples import GREETING, SESSION, TURN, page_of
from api.schemas.suite_examples import SUITE, SUITE_RUN
from playhead.cli import run_forks
from playhead.exit_codes import USAGE
from tests.playhead.cli.running import playhead

SUITE_ID = SUITE["id"]
SOURCE_ID = SUITE_RUN["session_id"]
SIMULATOR = {"enabled": False, "config": {"goal": "Book a table.", "seed": 7}, "has_the_floor": False, "lines": 2}
SOURCE = {**SESSION, "id": SOURCE_ID, "simulator": SIMULATOR}
FORK = {**SESSION, "id": "ses_fork", "turns": [GREETING]}
ANSWERED = {**TURN, "assistant_message": {**TURN["assistant_message"], "text": "At eight, then."}}
PENDING = {**TURN, "status": "pending", "assistant_message": None}


@pytest.fixture
def api(api: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> HTTPServer:
    """An API that knows the suite, its run and the run's turns."""
    monkeypatch.setattr(run_forks, "POLL_SECONDS", 0.001)
    runs, of_scenario = f"/v1/suites/{SUITE_ID}/runs", {"scenario": SUITE_RUN["scenario"], "limit": "100"}
    waiting = {**SUITE_RUN, "repeat": 2, "session_id": None, "state": "waiting"}
    api.expect_request(runs, query_string=of_scenario).respond_with_json(page_of(SUITE_RUN, waiting))
    api.expect_request(runs).respond_with_json(page_of())
    api.expect_request(f"/v1/suites/{SUITE_ID}").respond_with_json(SUITE)
    api.expect_request(f"/v1/sessions/{SOURCE_ID}/turns").respond_with_json(page_of(GREETING, TURN))
    return api


def fork(*options: str) -> Result:
    return playhead("simulate", "fork", SUITE_ID, SUITE_RUN["scenario"], *options)


def serve(api: HTTPServer, source: dict[str, Any], *states: dict[str, Any]) -> list[tuple[str, Any]]:
    """Serve a session and the successive states of its fork; returns the commands that were sent."""
    commands: list[tuple[str, Any]] = []
    left = [*states]

    def answer(request: Request) -> Response:
        if request.method != "GET":
            commands.append((request.path.rpartition("/")[2], request.get_json()))
            return Response(json.dumps(FORK), 201 if request.method == "POST" else 200)
        return Response(json.dumps(left.pop(0) if len(left) > 1 else left[0]))

    api.expect_request(f"/v1/sessions/{SOURCE_ID}", method="GET").respond_with_json(source)
    for path in (f"/v1/sessions/{SOURCE_ID}/fork", "/v1/sessions/ses_fork/simulator", "/v1/sessions/ses_fork"):
        api.expect_request(path).respond_with_handler(answer)
    return commands


def test_a_run_continues_from_a_turn_with_its_simulated_user_and_another_version(api: HTTPServer) -> None:
    answered = {**FORK, "turns": [GREETING, ANSWERED]}
    ended = {**answered, "is_completed": True, "completion_reason": "caller_hung_up"}
    commands = serve(api, SOURCE, {**FORK, "turns": [GREETING, PENDING]}, answered, ended)
    result = fork("--turn", "1", "--agent", "booking-line@5", "--model", "demo")
    assert result.exit_code == 0, result.output
    (forked, body), (switched, simulator) = commands
    assert (forked, switched) == ("fork", "simulator")
    assert body == {"turn_id": GREETING["id"], "agent": {"id": "booking-line", "version": 5}, "model": "demo"}
    assert simulator["enabled"] is True
    assert simulator["config"]["goal"] == "Book a table."
    assert result.stdout.count("At eight, then.") == 1
    assert "ses_fork has ended: caller_hung_up" in result.stdout


def test_a_turn_can_be_named_by_its_id(api: HTTPServer) -> None:
    commands = serve(api, SOURCE, {**FORK, "is_completed": True})
    assert fork("--turn", TURN["id"]).exit_code == 0
    assert commands[0] == ("fork", {"turn_id": TURN["id"]})


def test_a_session_without_a_simulated_user_is_forked_for_a_person(api: HTTPServer) -> None:
    serve(api, {**SOURCE, "simulator": None}, FORK)
    result = fork("--turn", "2")
    assert result.exit_code == 0
    assert "playhead chat --session ses_fork" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--turn", "9"], "has no turn 9"),
        (["--turn", "1", "--repeat", "4"], "Its repeats are 1."),
        (["--turn", "1", "--agent", "booking-line@latest"], "has no valid version"),
    ],
)
def test_a_missing_turn_repeat_or_version_is_wrong_usage(api: HTTPServer, options: list[str], message: str) -> None:
    api.expect_request(f"/v1/sessions/{SOURCE_ID}").respond_with_json(SOURCE)
    result = fork(*options)
    assert result.exit_code == USAGE
    assert message in result.stderr


def test_an_unknown_scenario_is_wrong_usage(api: HTTPServer) -> None:
    result = playhead("simulate", "fork", SUITE_ID, "nobody", "--turn", "1")
    assert result.exit_code == USAGE
    assert f"Its scenarios are {SUITE['scenarios'][0]['id']}" in result.stderr
