"""`playhead simulate`: suites started, followed through outages, detached, controlled, reported and compared."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from typer.testing import Result
from werkzeug import Request, Response

from api.http.problems import PROBLEM_TYPES, Problem
from api.reports.suite_page import page_of_report
from api.schemas.examples import page_of
from api.schemas.suite_examples import DEFINITION_YAML, SUITE, SUITE_REPORT, SUITE_SUMMARY
from playhead.cli import suite_progress
from playhead.cli.simulate import DETACHED, complete_suites
from playhead.cli.suite_progress import Snapshot, SuitePoller, format_duration, status_line
from playhead.exit_codes import FINDING, UNREACHABLE, USAGE
from playhead_client import NO_RETRIES, Playhead, RetryPolicy, Suite
from tests.api.reports.report_data import report_of, run
from tests.playhead.cli.running import playhead

SUITE_ID = SUITE["id"]
PATH = f"/v1/suites/{SUITE_ID}"
RUNNING = {**SUITE, "status": "running", "outcome": None}
PASSED = report_of([run("four-on-friday", 1), run("refund", 1)])
FAILED = report_of([run("four-on-friday", 1), run("four-on-friday", 2, "failed"), run("refund", 1, "inconclusive")])

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite_progress, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(suite_progress, "RETRIES", RetryPolicy(max_retries=None, first_pause=0.001, max_pause=0.001))


@pytest.fixture
def suite_file(tmp_path: Path) -> str:
    (tmp_path / "suite.yaml").write_text(DEFINITION_YAML)
    return str(tmp_path / "suite.yaml")


def simulate(*arguments: str) -> Result:
    return playhead("simulate", *arguments)


def written(report: Any) -> str:
    return str(report.model_dump_json())


def problem(code: str) -> Response:
    answer = Problem(code, PROBLEM_TYPES[code].detail).response()
    return Response(bytes(answer.body), answer.status_code, dict(answer.headers))


def over(report: Any = PASSED) -> Json:
    """The suite of a report, as it is shown once it is over."""
    return dict(json.loads(report.suite.model_dump_json()))


def serve(api: HTTPServer, *states: Json | Response, report: Any = PASSED) -> list[Request]:
    """Serve a suite that starts, and its successive states; returns the requests that started it."""
    starts: list[Request] = []
    left = [*states]

    def start(request: Request) -> Response:
        starts.append(request)
        return Response(json.dumps(RUNNING), 201)

    def show(_: Request) -> Response:
        seen = left.pop(0) if len(left) > 1 else left[0]
        return seen if isinstance(seen, Response) else Response(json.dumps(seen))

    api.expect_request("/v1/suites", method="POST").respond_with_handler(start)
    api.expect_request(PATH, method="GET").respond_with_handler(show)
    api.expect_request(f"{PATH}/report", query_string="format=junit").respond_with_data("<testsuites/>")
    api.expect_request(f"{PATH}/report", query_string="format=html").respond_with_data(page_of_report(report))
    api.expect_request(f"{PATH}/report").respond_with_data(written(report))
    return starts


# --- running a suite ------------------------------------------------------------------------------------------------


def test_a_suite_file_is_sent_unchanged_with_the_options_as_query_parameters(api: HTTPServer, suite_file: str) -> None:
    starts = serve(api, RUNNING, over())
    result = simulate(
        *(suite_file, "--repeat", "3", "--concurrency=4", "--budget=2.50", "--seed", "7"),
        *("--min-pass-rate", "0.9", "--tag", "smoke", "--tag", "nightly"),
    )
    assert result.exit_code == 0, result.output
    (asked,) = starts
    assert asked.get_data(as_text=True) == DEFINITION_YAML
    assert asked.content_type == "application/yaml"
    assert {name: asked.args.getlist(name) for name in asked.args} == {
        "repeats": ["3"],
        "concurrency": ["4"],
        "budget_usd": ["2.50"],
        "seed": ["7"],
        "min_pass_rate": ["0.9"],
        "tag": ["smoke", "nightly"],
    }
    assert asked.headers["Idempotency-Key"].startswith("start_")
    assert "passed: 2 passed, 0 failed, 0 inconclusive of 2" in result.stdout


def test_a_failed_start_is_repeated_under_the_same_key(
    api: HTTPServer, suite_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    keys: list[str] = []

    def start(request: Request) -> Response:
        keys.append(request.headers["Idempotency-Key"])
        return problem("unavailable") if len(keys) == 1 else Response(json.dumps(RUNNING), 201)

    api.expect_request("/v1/suites", method="POST").respond_with_handler(start)
    assert simulate(suite_file, "--detach").stdout == f"{SUITE_ID}\n"
    assert len(keys) == 2
    assert len(set(keys)) == 1


@pytest.mark.parametrize(("report", "status"), [(PASSED, 0), (FAILED, FINDING)])
def test_the_exit_status_shows_whether_the_suite_passed(
    api: HTTPServer, suite_file: str, report: Any, status: int
) -> None:
    serve(api, over(report), report=report)
    result = simulate(suite_file)
    assert result.exit_code == status, result.output


def test_an_inconclusive_suite_is_no_success(api: HTTPServer, suite_file: str) -> None:
    open_ = report_of([run("refund", 1, "inconclusive")])
    report = open_.model_copy(update={"suite": open_.suite.model_copy(update={"outcome": "inconclusive"})})
    serve(api, over(report), report=report)
    result = simulate(suite_file)
    assert result.exit_code == FINDING
    assert "inconclusive refund 1" in result.stdout


def test_reasons_are_shown_for_what_did_not_pass(api: HTTPServer, suite_file: str) -> None:
    serve(api, over(FAILED), report=FAILED)
    shown = simulate(suite_file).stdout
    assert "failed four-on-friday 2" in shown
    assert "The conversation never reached payment." in shown


def test_reports_are_written_to_the_given_files(api: HTTPServer, suite_file: str, tmp_path: Path) -> None:
    serve(api, over(FAILED), report=FAILED)
    simulate(suite_file, "--junit=j.xml", "--html=p.html", "--jsonl=r.jsonl", "--report=r.json")
    assert (tmp_path / "j.xml").read_text() == "<testsuites/>"
    for name in ("j.xml", "p.html", "r.jsonl", "r.json"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600, name
    assert (tmp_path / "p.html").read_bytes() == page_of_report(FAILED)
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [(line["suite"], line["scenario"], line["repeat"], line["outcome"]) for line in lines] == [
        (SUITE_ID, "four-on-friday", 1, "passed"),
        (SUITE_ID, "four-on-friday", 2, "failed"),
        (SUITE_ID, "refund", 1, "inconclusive"),
    ]
    assert json.loads((tmp_path / "r.json").read_text()) == json.loads(written(FAILED))


def test_a_report_that_cannot_be_written_is_wrong_usage(api: HTTPServer, suite_file: str) -> None:
    serve(api, over())
    assert simulate(suite_file, "--jsonl=no/such/folder/r.jsonl").exit_code == USAGE


def test_json_is_the_whole_report(api: HTTPServer, suite_file: str) -> None:
    serve(api, over(FAILED), report=FAILED)
    assert json.loads(simulate(suite_file, "--json").stdout) == json.loads(written(FAILED))


def test_an_invalid_suite_is_a_finding_that_names_the_places(api: HTTPServer, suite_file: str) -> None:
    answer = problem("invalid_suite")
    errors = {"errors": [{"place": "scenarios[0].id", "message": "is there twice"}]}
    body = {**json.loads(answer.get_data()), **errors}
    api.expect_request("/v1/suites").respond_with_json(body, status=400)
    result = simulate(suite_file)
    assert result.exit_code == FINDING
    assert "scenarios[0].id: is there twice" in result.stderr


def test_without_an_api_nothing_starts(suite_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setenv("PLAYHEAD_API_URL", "http://127.0.0.1:1")
    assert simulate(suite_file).exit_code == UNREACHABLE


# --- following one ----------------------------------------------------------------------------------------------------


def test_ctrl_c_leaves_the_suite_running_and_says_how_to_attach_again(
    api: HTTPServer, suite_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(api, RUNNING)

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SuitePoller.__init__, "__kwdefaults__", {"clock": lambda: 0.0, "sleep": interrupted})
    result = simulate(suite_file)
    assert result.exit_code == DETACHED
    assert f"playhead simulate attach {SUITE_ID}" in result.stderr


def test_a_suite_can_be_followed_again(api: HTTPServer) -> None:
    serve(api, RUNNING, over())
    result = simulate("attach", SUITE_ID)
    assert result.exit_code == 0, result.output
    assert "2 passed" in result.stdout


def test_an_unavailable_api_is_polled_until_it_answers(api: HTTPServer) -> None:
    serve(api, RUNNING, problem("unavailable"), Response("<html>a proxy</html>"), over())
    result = simulate("attach", SUITE_ID)
    assert result.exit_code == 0, result.output


def test_a_failed_poll_is_reported_and_keeps_the_last_state(api: HTTPServer) -> None:
    serve(api, RUNNING, problem("unavailable"), over())
    with Playhead(api.url_for(""), retries=NO_RETRIES) as client:
        first, lost, last = SuitePoller(client, SUITE_ID, sleep=lambda seconds: None).snapshots()
    assert first.connection_error is None
    assert lost.connection_error is not None
    assert lost.suite == first.suite
    assert "the suite continues" in status_line(lost)
    assert last.is_final


def test_speed_and_time_left_are_worked_out_from_what_was_seen(api: HTTPServer) -> None:
    states = [_progress(turns=turns, passed=passed) for turns, passed in ((10, 0), (30, 1), (50, 2))]
    serve(api, *states, over())
    began = Suite.model_validate(RUNNING).created_at.timestamp()
    moments = iter([began + 5, began + 7, began + 9, began + 10])
    with Playhead(api.url_for(""), retries=NO_RETRIES) as client:
        snapshots = [
            *SuitePoller(client, SUITE_ID, clock=lambda: next(moments), sleep=lambda seconds: None).snapshots()
        ]
    assert [snapshot.turns_per_second for snapshot in snapshots[:3]] == [0, 10, 10]
    assert [snapshot.left_seconds for snapshot in snapshots[:3]] == [None, 6, 4]
    assert [snapshot.elapsed for snapshot in snapshots[:3]] == [5, 7, 9]


def test_a_snapshot_is_one_line() -> None:
    snapshot = Snapshot(Suite.model_validate(RUNNING), 8.24, 65.0, 3700.0)
    assert status_line(snapshot) == (
        "3 of 3: 2 passed, 1 failed, 0 inconclusive; 8.2 turns/s · 17 turns · 0.00412 of 1.5 USD · 1:05 · "
        "about 1:01:40 left"
    )
    assert format_duration(59.6) == "1:00"


# --- steering and looking ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["pause", "resume", "cancel"])
def test_a_suite_is_paused_resumed_and_cancelled(api: HTTPServer, command: str) -> None:
    api.expect_ordered_request(f"{PATH}/{command}", method="POST").respond_with_json({**RUNNING, "status": "paused"})
    assert simulate(command, SUITE_ID).stdout == f"{SUITE_ID} is paused; 0 conversations are running\n"


def test_a_suite_that_is_over_takes_no_command(api: HTTPServer) -> None:
    api.expect_request(f"{PATH}/pause").respond_with_response(problem("suite_ended"))
    assert simulate("pause", SUITE_ID).exit_code == FINDING


def test_suites_are_listed_for_people_programs_and_completion(api: HTTPServer) -> None:
    api.expect_request("/v1/suites").respond_with_json(page_of(SUITE_SUMMARY))
    assert SUITE_ID in simulate("ls").stdout
    assert [each["id"] for each in json.loads(simulate("ls", "--json").stdout)] == [SUITE_ID]
    assert complete_suites("sui_7") == [(SUITE_ID, SUITE_SUMMARY["name"])]
    assert complete_suites("sui_x") == []


def test_the_report_of_a_suite_under_way_is_shown_without_waiting(api: HTTPServer) -> None:
    report = json.loads(json.dumps({**SUITE_REPORT, "suite": RUNNING}))
    api.expect_request(f"{PATH}/report").respond_with_json(report)
    result = simulate("report", SUITE_ID)
    assert result.exit_code == 0
    assert "running: 2 passed" in result.stdout


# --- comparing --------------------------------------------------------------------------------------------------------


def _many(passed: int, of: int) -> Any:
    runs = [run("refund", number, "passed" if number <= passed else "failed") for number in range(1, of + 1)]
    report = report_of(runs)
    return report.model_copy(update={"suite": report.suite.model_copy(update={"outcome": "passed"})})


def _as_json(report: Any, folder: Path) -> str:
    (folder / "before.json").write_text(written(report))
    return "before.json"


def _as_lines(report: Any, folder: Path) -> str:
    lines = (json.dumps({"suite": "sui_0", **json.loads(written(each))}) for each in report.runs)
    (folder / "before.jsonl").write_text("\n".join(lines))
    return "before.jsonl"


@pytest.mark.parametrize("write", [_as_json, _as_lines])
def test_a_scenario_that_got_worse_is_a_finding(
    api: HTTPServer, suite_file: str, tmp_path: Path, write: Callable[[Any, Path], str]
) -> None:
    now = _many(8, 20)
    serve(api, over(now), report=now)
    result = simulate(suite_file, "--baseline", write(_many(20, 20), tmp_path))
    assert result.exit_code == FINDING
    assert "100% of 20" in result.stdout
    assert "-60%" in result.stdout
    assert "worse" in result.stdout


def test_a_drop_that_chance_explains_is_shown_and_is_no_finding(
    api: HTTPServer, suite_file: str, tmp_path: Path
) -> None:
    now = _many(4, 5)
    serve(api, over(now), report=now)
    result = simulate(suite_file, "--baseline", _as_json(_many(5, 5), tmp_path))
    assert result.exit_code == 0, result.output
    assert "lower, within chance" in result.stdout


def test_an_earlier_suite_is_a_baseline_by_its_id_also_in_the_html_report(
    api: HTTPServer, suite_file: str, tmp_path: Path
) -> None:
    now = _many(5, 5)
    page = {"format": "html", "baseline": "sui_before"}
    api.expect_request(f"{PATH}/report", query_string=page).respond_with_data("the page, compared")
    serve(api, over(now), report=now)
    api.expect_request("/v1/suites/sui_before").respond_with_json(over(_many(5, 5)))
    result = simulate(suite_file, "--baseline", "sui_before", "--html=p.html")
    assert result.exit_code == 0, result.output
    assert "the same" in result.stdout
    assert (tmp_path / "p.html").read_text() == "the page, compared"


def test_a_baseline_that_is_no_report_is_wrong_usage(api: HTTPServer, suite_file: str, tmp_path: Path) -> None:
    serve(api, over())
    (tmp_path / "before.json").write_text("[1]")
    result = simulate(suite_file, "--baseline", "before.json")
    assert result.exit_code == USAGE
    assert "before.json is not a report of a suite" in result.stderr


def _progress(*, turns: int, passed: int) -> Json:
    progress = {**SUITE["progress"], "planned": 4, "passed": passed, "failed": 0, "turns": turns}
    return {**RUNNING, "progress": progress}
