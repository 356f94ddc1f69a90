"""`playhead sessions tail`: output during a session, and exit status."""

import json
from io import StringIO

import pytest
from pytest_httpserver import HTTPServer
from typer.testing import Result
from werkzeug import Response

from api.schemas.examples import SESSION, TURN
from playhead.exit_codes import UNREACHABLE, USAGE
from playhead.output.event_tail import PlainTail
from tests.playhead.cli.running import playhead
from tests.playhead_client.test_event_stream import (
    AT,
    CLOSED,
    MOVED,
    OVER,
    PATH,
    SESSION_ID,
    SNAPSHOT,
    STARTED,
    TURN_ID,
    SentEvent,
    delta,
    stream,
    wire,
)
from tests.support.client_events import received
from tests.support.ports import free_port


@pytest.fixture
def api(api: HTTPServer) -> HTTPServer:
    """An API that knows the session."""
    api.expect_request(PATH).respond_with_json(SESSION)
    return api


def tail(*arguments: str) -> Result:
    return playhead("sessions", "tail", SESSION_ID, *arguments)


def output_of(*events: SentEvent) -> str:
    """The output for these events."""
    out = StringIO()
    screen = PlainTail(out)
    for event in received(wire(*events)):
        screen.show(event)
    return out.getvalue()


def test_a_session_is_printed_as_a_conversation_until_it_is_over(api: HTTPServer) -> None:
    events = wire(SNAPSHOT, STARTED, delta("With "), MOVED, delta("plea"), delta("sure."), CLOSED, OVER)
    api.expect_request(f"{PATH}/events").respond_with_data(events, content_type="text/event-stream")
    result = tail()
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"{SESSION['name']} {SESSION_ID}: idle, revision 4",
        f"you: {TURN['user_message']['text']}",
        "agent: With ",
        "→ booking",
        "agent: pleasure.",
        "The session has ended: the agent said goodbye.",
    ]


def test_events_are_json_lines_for_programs(api: HTTPServer) -> None:
    api.expect_request(f"{PATH}/events", headers={"Last-Event-ID": "3"}).respond_with_data(
        wire(STARTED, delta("Hi"), OVER), content_type="text/event-stream"
    )
    lines = [json.loads(line) for line in tail("--after", "3", "--json").stdout.splitlines()]
    assert [(line["id"], line["type"]) for line in lines] == [
        (4, "turn_started"),
        (None, "reply_delta"),
        (7, "session_completed"),
    ]
    assert lines[1]["data"] == {"turn_id": TURN_ID, "text": "Hi"}
    assert lines[2]["data"]["reason"] == "end_node"


def test_a_lost_connection_is_reported_and_restored(api: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    answers = [stream(STARTED), Response("<html>", 502), stream(MOVED, CLOSED, OVER)]
    api.expect_request(f"{PATH}/events").respond_with_handler(lambda request: answers.pop(0))
    result = tail("--after", "3")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [
        "Lost the connection to the API. Trying again in 0.5 s.",
        "Lost the connection to the API. Trying again in 1 s.",
    ]
    assert result.stdout.count("you: ") == 1


def test_errors_of_the_first_request_are_reported_at_once(api: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    api.expect_request("/v1/sessions/ses_none").respond_with_json({"code": "not_found", "detail": "No."}, status=404)
    assert playhead("sessions", "tail", "ses_none").exit_code == USAGE
    monkeypatch.setenv("PLAYHEAD_API_URL", f"http://127.0.0.1:{free_port()}")
    result = tail()
    assert (result.exit_code, result.stdout) == (UNREACHABLE, "")


def test_a_reset_reply_is_printed_again() -> None:
    reset: SentEvent = ("reply_reset", {"turn_id": TURN_ID, "text": "Good "}, None)
    assert output_of(delta("Go"), reset, delta("morning."), CLOSED) == "agent: Go\nagent: Good morning.\n"


def test_commands_of_users_and_failures_are_printed() -> None:
    failed = {**TURN, "status": "failed", "assistant_message": None, "error": "The provider is down."}
    assert output_of(
        ("rewound", {"created_at": AT, "cursor_turn_id": TURN_ID, "cleared": False}, 8),
        ("rewound", {"created_at": AT, "cursor_turn_id": None, "cleared": False}, 9),
        ("rewound", {"created_at": AT, "cursor_turn_id": None, "cleared": True}, 10),
        ("branch_restored", {"created_at": AT}, 11),
        ("turn_failed", {"turn_id": TURN_ID, "created_at": AT, "turn": failed}, 12),
        ("invented_later", {"created_at": AT, "anything": 1}, 13),
    ).splitlines() == [
        f"· rewound to {TURN_ID}",
        "· rewound to before the first turn",
        "· the rewind was undone",
        "· a branch was restored",
        "This turn failed: The provider is down.",
    ]


def test_event_text_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in output_of(delta("\x1b[2Jboo"))


def test_a_name_does_not_look_like_a_message() -> None:
    named = {**SESSION, "name": "a\nyou: b"}
    moved = {"turn_id": TURN_ID, "created_at": AT, "from_node": "a", "to_node": "b\nagent: c"}
    lines = output_of(("snapshot", named, 3), ("node_transition", moved, 4)).splitlines()
    assert lines == [f"a you: b {SESSION_ID}: idle, revision 4", "→ b agent: c"]
