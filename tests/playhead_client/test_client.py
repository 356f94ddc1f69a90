"""The Python client over real HTTP: requests, results and retries."""

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any, get_type_hints

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from api.http.problems import PROBLEM_TYPES, Problem
from api.schemas.examples import (
    AGENT,
    BRANCH,
    COMPARISON,
    DEFINITION_YAML,
    GREETING,
    LEDGER_ROW,
    SESSION,
    TURN,
    USAGE,
    page_of,
)
from playhead_client import (
    NO_RETRIES,
    APIConnectionError,
    APIStatusError,
    AsyncPlayhead,
    InvalidAddress,
    ModelFailed,
    NotFound,
    Playhead,
    RetryPolicy,
    RevisionConflict,
    Session,
    SessionLimits,
    SimulatorConfig,
    TooLarge,
    UnexpectedResponse,
    WaitTimeout,
)
from playhead_client.errors import PROBLEMS
from tests.support.ports import free_port

SESSION_ID = SESSION["id"]
PATH = f"/v1/sessions/{SESSION_ID}"

Pauses = list[float]


@pytest.fixture
def pauses() -> Pauses:
    """Seconds that the client would have waited before its further attempts."""
    return []


@pytest.fixture
def playhead(httpserver: HTTPServer, pauses: Pauses) -> Iterator[Playhead]:
    with Playhead(httpserver.url_for(""), sleep=pauses.append) as client:
        yield client
    httpserver.check_assertions()


def answer(code: str, *, retry_after: str | None = None, **figures: object) -> Response:
    """A problem as the API writes it."""
    kind = PROBLEM_TYPES[code]
    written = Problem(code, kind.detail, **(figures or kind.figures)).response()
    headers = {**written.headers, **({"retry-after": retry_after} if retry_after else {})}
    return Response(bytes(written.body), kind.status, headers)


def in_turn(server: HTTPServer, path: str | re.Pattern[str], *answers: Response | dict[str, Any]) -> list[Request]:
    """Let the server send these responses one after the other; returns the requests it received."""
    left, requests = [*answers], list[Request]()

    def give(request: Request) -> Response:
        requests.append(request)
        given = left.pop(0)
        return given if isinstance(given, Response) else Response(json.dumps(given))

    server.expect_request(path).respond_with_handler(give)
    return requests


# --- what is sent -------------------------------------------------------------------------------------------------


def test_a_session_is_opened_with_the_given_arguments_only(httpserver: HTTPServer, playhead: Playhead) -> None:
    requests = in_turn(httpserver, "/v1/sessions", SESSION, SESSION)
    opened = playhead.sessions.open(
        "booking-line", initial_context={"first_name": "Ada"}, limits=SessionLimits(max_turns=3)
    )
    assert opened == Session.model_validate(SESSION)
    playhead.sessions.open("booking-line", version=2, wait=False)
    assert [request.get_json() for request in requests] == [
        {"agent": "booking-line", "initial_context": {"first_name": "Ada"}, "limits": {"max_turns": 3}},
        {"agent": {"id": "booking-line", "version": 2}},
    ]
    assert [request.query_string for request in requests] == [b"", b"wait=false"]


def test_a_simulated_user_is_configured_at_the_start_or_switched_later(
    httpserver: HTTPServer, playhead: Playhead
) -> None:
    opening = in_turn(httpserver, "/v1/sessions", SESSION)
    switching = in_turn(httpserver, f"{PATH}/simulator", SESSION, SESSION)
    simulator = SimulatorConfig(goal="Book a table.", facts={"guests": "4"})
    playhead.sessions.open("booking-line", simulator=simulator)
    playhead.sessions.set_simulator(SESSION_ID, config=simulator, expected_revision=2)
    playhead.sessions.set_simulator(SESSION_ID, enabled=False)
    config = {"goal": "Book a table.", "facts": {"guests": "4"}}
    assert opening[0].get_json() == {"agent": "booking-line", "simulator": {"enabled": True, "config": config}}
    assert [(request.method, request.get_json()) for request in switching] == [
        ("PUT", {"enabled": True, "config": config, "expected_revision": 2}),
        ("PUT", {"enabled": False}),
    ]


def test_the_reply_of_a_session_is_that_of_its_newest_turn(httpserver: HTTPServer, playhead: Playhead) -> None:
    in_turn(httpserver, f"{PATH}/messages", SESSION)
    session = playhead.sessions.send(SESSION_ID, "A table for four on Friday, please.")
    assert session.reply == TURN["assistant_message"]["text"]
    assert session.newest == session.turn_of(TURN["user_message"]["message_id"])
    assert session.turn_of("another") is None
    assert session.model_copy(update={"turns": ()}).reply is None


def test_a_cleared_rewind_sends_a_null_turn(httpserver: HTTPServer, playhead: Playhead) -> None:
    requests = in_turn(httpserver, f"{PATH}/rewind", SESSION)
    playhead.sessions.rewind(SESSION_ID, None)
    assert requests[0].get_json() == {"turn_id": None, "before": False}


def test_ids_cannot_lead_to_another_address(httpserver: HTTPServer, playhead: Playhead) -> None:
    requests = in_turn(httpserver, re.compile(".*"), AGENT)
    playhead.agents.get("../sessions?x")
    assert requests[0].environ["RAW_URI"] == "/v1/agents/..%2Fsessions%3Fx"


def test_a_definition_is_pushed_as_an_object_or_as_it_was_written(httpserver: HTTPServer, playhead: Playhead) -> None:
    requests = in_turn(httpserver, "/v1/agents", AGENT, AGENT)
    playhead.agents.push(AGENT["definition"])
    assert playhead.agents.push(DEFINITION_YAML).definition.start == "greet"
    assert [request.content_type for request in requests] == ["application/json", "application/yaml"]


def test_lists_ask_for_pages_as_they_are_needed(httpserver: HTTPServer, playhead: Playhead) -> None:
    requests = in_turn(
        httpserver, "/v1/usage/ledger", page_of(LEDGER_ROW, LEDGER_ROW, next_cursor="more"), page_of(LEDGER_ROW)
    )
    rows = playhead.usage.ledger(session_id=SESSION_ID, limit=3)
    assert requests == []
    assert next(rows).turn_id == LEDGER_ROW["turn_id"]
    assert len(requests) == 1
    assert len([*rows]) == 2
    assert [request.args.to_dict() for request in requests] == [
        {"session": SESSION_ID, "limit": "3"},
        {"session": SESSION_ID, "limit": "1", "cursor": "more"},
    ]


def test_turns_come_newest_first_over_all_pages(httpserver: HTTPServer, playhead: Playhead) -> None:
    in_turn(httpserver, f"{PATH}/turns", page_of(GREETING, TURN, next_cursor="back"), page_of(GREETING))
    assert [turn.id for turn in playhead.sessions.turns(SESSION_ID)] == [TURN["id"], GREETING["id"], GREETING["id"]]


def test_a_transcript_is_returned_unchanged(httpserver: HTTPServer, playhead: Playhead) -> None:
    transcript = httpserver.expect_oneshot_request(f"{PATH}/transcript", query_string={"format": "markdown"})
    transcript.respond_with_data("# Grüß Gott\n", content_type="text/markdown; charset=utf-8")
    assert playhead.sessions.transcript(SESSION_ID, "markdown") == "# Grüß Gott\n"


def test_a_branch_is_compared_with_the_active_one_by_default(httpserver: HTTPServer, playhead: Playhead) -> None:
    compared = httpserver.expect_oneshot_request(f"{PATH}/branches/compare", query_string={"a": "br_1", "b": "active"})
    compared.respond_with_json(COMPARISON)
    found = playhead.sessions.compare(SESSION_ID, "br_1")
    assert (found.a.branch, found.b.branch, found.common_turns) == (BRANCH["id"], "active", 1)


def test_sessions_are_filtered_by_time_and_status(httpserver: HTTPServer, playhead: Playhead) -> None:
    requests = in_turn(httpserver, "/v1/sessions", page_of())
    noon = datetime(2026, 11, 27, 12, tzinfo=UTC)
    assert [*playhead.sessions.list(status="idle", created_after=noon)] == []
    assert requests[0].args.to_dict() == {
        "status": "idle",
        "created_after": "2026-11-27T12:00:00+00:00",
        "limit": "100",
    }


def test_an_invalid_address_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(InvalidAddress):
        Playhead("localhost:8080")


def test_address_and_key_come_from_the_environment_unless_they_are_given(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYHEAD_API_URL", httpserver.url_for(""))
    monkeypatch.setenv("PLAYHEAD_API_KEY", "phk_environment")
    requests = in_turn(httpserver, "/v1/usage", USAGE, USAGE)
    with Playhead() as by_environment, Playhead(key="phk_given") as given:
        assert by_environment.usage.total() == given.usage.total()
    assert [request.headers["Authorization"] for request in requests] == ["Bearer phk_environment", "Bearer phk_given"]


# --- what goes wrong ----------------------------------------------------------------------------------------------


def test_every_problem_of_the_api_has_a_class_of_its_own() -> None:
    assert set(PROBLEM_TYPES) - set(PROBLEMS) == {"internal_error"}, (
        "give the new problem a class in playhead_client/errors.py"
    )
    assert set(PROBLEMS) <= set(PROBLEM_TYPES)


def test_problems_that_accepted_nothing_are_those_with_a_retry_after_header() -> None:
    with_retry_after = {code for code in PROBLEM_TYPES if "Retry-After" in answer(code).headers}
    assert {code for code, kind in PROBLEMS.items() if kind.nothing_accepted} == with_retry_after


def test_an_error_carries_the_figures_of_its_problem(httpserver: HTTPServer, playhead: Playhead) -> None:
    in_turn(
        httpserver,
        f"{PATH}/messages",
        answer("revision_conflict"),
        answer("validation_error"),
        answer("model_failed", turn={**TURN, "status": "failed"}),
        answer("too_large"),
    )
    with pytest.raises(RevisionConflict) as conflict:
        playhead.sessions.send(SESSION_ID, "Hello", expected_revision=3)
    assert conflict.value.actual_revision == 5
    assert (conflict.value.status, conflict.value.code) == (409, "revision_conflict")
    with pytest.raises(APIStatusError) as invalid:
        playhead.sessions.send(SESSION_ID, "Hello")
    assert invalid.value.errors == [("body.text", "is required")]
    with pytest.raises(ModelFailed) as model_failed:
        playhead.sessions.send(SESSION_ID, "Hello")
    assert model_failed.value.turn is not None
    assert model_failed.value.turn.id == TURN["id"]
    with pytest.raises(TooLarge) as large:
        playhead.sessions.send(SESSION_ID, "Hello")
    assert large.value.problem["limit"] == 32_000


def test_an_unknown_problem_code_is_still_an_api_error(httpserver: HTTPServer, playhead: Playhead) -> None:
    in_turn(httpserver, PATH, Response('{"code": "too_sunny", "title": "Too sunny"}', 418))
    with pytest.raises(APIStatusError, match="Too sunny") as problem:
        playhead.sessions.get(SESSION_ID)
    assert problem.value.code == "too_sunny"


@pytest.mark.parametrize("foreign", [Response("<html>", 200), Response("{}", 200), Response("<html>", 404)])
def test_a_response_of_another_server_is_recognised(
    httpserver: HTTPServer, playhead: Playhead, foreign: Response
) -> None:
    in_turn(httpserver, PATH, foreign)
    with pytest.raises(UnexpectedResponse, match="is not the Playhead API"):
        playhead.sessions.get(SESSION_ID)


# --- trying again -------------------------------------------------------------------------------------------------


def test_a_message_is_sent_again_under_the_same_id(httpserver: HTTPServer, playhead: Playhead, pauses: Pauses) -> None:
    requests = in_turn(
        httpserver,
        f"{PATH}/messages",
        Response("<html>bad gateway</html>", 502),
        answer("wait_timeout"),
        answer("queue_full"),
        SESSION,
    )
    assert playhead.sessions.send(SESSION_ID, "Hello").id == SESSION_ID
    assert len({request.get_json()["message_id"] for request in requests}) == 1
    assert len(requests) == 4
    assert pauses == [0.5, 0.0, 1.0]


def test_two_messages_have_two_ids(httpserver: HTTPServer, playhead: Playhead) -> None:
    requests = in_turn(httpserver, f"{PATH}/messages", SESSION, SESSION)
    for _ in range(2):
        playhead.sessions.send(SESSION_ID, "Hello")
    assert len({request.get_json()["message_id"] for request in requests}) == 2


def test_the_retry_after_pause_is_kept(httpserver: HTTPServer, playhead: Playhead, pauses: Pauses) -> None:
    patient = answer("rate_limited", retry_after="7")
    in_turn(httpserver, PATH, patient, SESSION)
    playhead.sessions.get(SESSION_ID)
    assert pauses == [7.0]


def test_a_retry_after_pause_that_is_too_long_raises_the_error(
    httpserver: HTTPServer, playhead: Playhead, pauses: Pauses
) -> None:
    in_turn(httpserver, PATH, answer("rate_limited", retry_after="3600"))
    with pytest.raises(APIStatusError) as limited:
        playhead.sessions.get(SESSION_ID)
    assert limited.value.retry_after == 3600
    assert pauses == []


def test_attempts_come_to_an_end(httpserver: HTTPServer, playhead: Playhead, pauses: Pauses) -> None:
    in_turn(httpserver, PATH, *[Response("<html>", 503)] * 4)
    with pytest.raises(APIConnectionError):
        playhead.sessions.get(SESSION_ID)
    assert pauses == [0.5, 1.0, 2.0]


def test_a_client_error_is_not_retried(httpserver: HTTPServer, playhead: Playhead, pauses: Pauses) -> None:
    in_turn(httpserver, PATH, answer("not_found"))
    with pytest.raises(NotFound):
        playhead.sessions.get(SESSION_ID)
    assert pauses == []


def test_a_rewind_is_retried_only_if_it_certainly_was_not_accepted(
    httpserver: HTTPServer, playhead: Playhead, pauses: Pauses
) -> None:
    in_turn(httpserver, f"{PATH}/rewind", answer("unavailable"), Response("<html>bad gateway</html>", 502))
    with pytest.raises(APIConnectionError) as lost:
        playhead.sessions.rewind(SESSION_ID, None)
    assert lost.value.was_sent
    assert pauses == [1.0]


@pytest.mark.parametrize("path", ["/v1/sessions", f"{PATH}/fork"])
def test_a_session_is_opened_again_under_the_same_key(
    httpserver: HTTPServer, playhead: Playhead, pauses: Pauses, path: str
) -> None:
    def create(key: str | None = None) -> Session:
        if "fork" in path:
            return playhead.sessions.fork(SESSION_ID, idempotency_key=key)
        return playhead.sessions.open("booking-line", idempotency_key=key)

    late = answer("wait_timeout", session_id=SESSION_ID)
    requests = in_turn(
        httpserver, path, answer("unavailable"), Response("<html>", 502), late, SESSION, SESSION, SESSION
    )
    assert create().id == SESSION_ID
    assert pauses == [1.0, 1.0, 0.0]
    create()
    create("mine")
    keys = [request.headers["Idempotency-Key"] for request in requests]
    assert len(set(keys[:4])) == 1
    assert len(set(keys)) == 3
    assert keys[-1] == "mine"


def test_the_error_of_a_late_greeting_names_the_session(httpserver: HTTPServer, playhead: Playhead) -> None:
    in_turn(httpserver, "/v1/sessions", *[answer("wait_timeout", session_id=SESSION_ID)] * 4)
    with pytest.raises(WaitTimeout) as waited:
        playhead.sessions.open("booking-line")
    assert waited.value.session_id == SESSION_ID
    assert waited.value.turn is None


def test_every_request_is_retried_if_no_connection_was_made(pauses: Pauses) -> None:
    with (
        Playhead(f"http://127.0.0.1:{free_port()}", sleep=pauses.append) as playhead,
        pytest.raises(APIConnectionError, match="cannot be reached") as lost,
    ):
        playhead.sessions.open("booking-line")
    assert not lost.value.was_sent
    assert pauses == [0.5, 1.0, 2.0]


def test_a_client_without_retries_raises_at_once(httpserver: HTTPServer, pauses: Pauses) -> None:
    in_turn(httpserver, PATH, answer("unavailable"))
    with (
        Playhead(httpserver.url_for(""), retries=NO_RETRIES, sleep=pauses.append) as playhead,
        pytest.raises(APIStatusError),
    ):
        playhead.sessions.get(SESSION_ID)
    assert pauses == []


def test_pauses_grow_up_to_the_longest() -> None:
    retries, lost = RetryPolicy(max_retries=6), APIConnectionError("gone", was_sent=False)
    pauses = [retries.pause_after(lost, attempt, repeatable=False) for attempt in range(1, 8)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, None]


def test_a_timeout_is_reported_as_slow(httpserver: HTTPServer, pauses: Pauses) -> None:
    def never(request: Request) -> Response:
        request.environ["werkzeug.socket"].recv(1)  # until the client hangs up
        return Response()

    httpserver.expect_request(f"{PATH}/rewind").respond_with_handler(never)
    with (
        Playhead(httpserver.url_for(""), timeout=0.2, sleep=pauses.append) as playhead,
        pytest.raises(APIConnectionError, match="did not answer in time") as lost,
    ):
        playhead.sessions.rewind(SESSION_ID, None)
    assert (lost.value.was_sent, lost.value.was_slow) == (True, True)
    assert pauses == []


# --- async --------------------------------------------------------------------------------------------------------


async def test_the_async_client_does_the_same(httpserver: HTTPServer, pauses: Pauses) -> None:
    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    requests = in_turn(httpserver, f"{PATH}/messages", Response("<html>", 502), SESSION)
    in_turn(httpserver, f"{PATH}/branches", page_of(BRANCH, next_cursor="more"), page_of(BRANCH))
    in_turn(httpserver, PATH, answer("not_found"))
    async with AsyncPlayhead(httpserver.url_for(""), sleep=sleep) as playhead:
        session = await playhead.sessions.send(SESSION_ID, "Hello")
        assert session.reply == TURN["assistant_message"]["text"]
        assert [branch.id async for branch in playhead.sessions.branches(SESSION_ID)] == [BRANCH["id"]] * 2
        with pytest.raises(NotFound):
            await playhead.sessions.get(SESSION_ID)
    assert len({request.get_json()["message_id"] for request in requests}) == 1
    assert pauses == [0.5]


def test_both_clients_take_the_same_calls() -> None:
    with Playhead("http://127.0.0.1") as client:
        groups = {name: type(group) for name, group in vars(client).items() if not name.startswith("_")}
    groups.pop("url")
    same = AsyncPlayhead("http://127.0.0.1")
    for name, group in groups.items():
        methods = {method for method in vars(group) if not method.startswith("_")}
        assert methods
        assert methods == {method for method in vars(type(getattr(same, name))) if not method.startswith("_")}


def test_methods_have_signatures_and_docstrings() -> None:
    with Playhead("http://127.0.0.1") as client:
        send: Callable[..., Awaitable[Session] | Session] = client.sessions.send
        assert "message_id" in inspect.signature(send).parameters
        assert (inspect.getdoc(send) or "").startswith("Send a message, wait for the reply")
        assert get_type_hints(send)["session_id"] is str
