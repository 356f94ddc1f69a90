"""`playhead sessions message|edit|regenerate|cancel|restore|fork`: requests, output and exit status."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from typer.testing import Result

from api.schemas.examples import SESSION, TURN
from playhead.exit_codes import FINDING, UNREACHABLE, USAGE
from tests.playhead.cli.running import playhead

SESSION_ID, TURN_ID = SESSION["id"], TURN["id"]
PATH = f"/v1/sessions/{SESSION_ID}"
REPLY = f"{TURN['assistant_message']['text']}\n"


def sessions(*arguments: str, typed: str | None = None) -> Result:
    return playhead("sessions", *arguments, typed=typed)


def sent(api: HTTPServer) -> Any:
    """The body of the one request that came."""
    ((request, _),) = api.log
    return request.get_json()


def test_a_message_prints_the_reply_alone(api: HTTPServer) -> None:
    api.expect_request(f"{PATH}/messages", method="POST").respond_with_json(SESSION)
    result = sessions("message", SESSION_ID, "A table, please.", "--message-id", "m-1", "--on-busy", "interrupt")
    assert (result.exit_code, result.stdout) == (0, REPLY)
    assert sent(api) == {"text": "A table, please.", "message_id": "m-1", "on_busy": "interrupt"}


def test_a_message_is_read_from_standard_input(api: HTTPServer) -> None:
    api.expect_request(f"{PATH}/messages", method="POST").respond_with_json(SESSION)
    assert sessions("message", SESSION_ID, "-", typed="Two lines,\nplease.\n").exit_code == 0
    assert sent(api)["text"] == "Two lines,\nplease."


def test_a_message_that_is_not_waited_for_prints_its_turn(api: HTTPServer) -> None:
    accepted = {"turn_id": TURN_ID, "revision": 5}
    path = f"{PATH}/messages"
    api.expect_request(path, query_string={"wait": "false"}).respond_with_json(accepted, status=202)
    assert sessions("message", SESSION_ID, "Hello", "--no-wait").stdout == f"{TURN_ID}\n"
    assert json.loads(sessions("message", SESSION_ID, "Hello", "--no-wait", "--json").stdout) == accepted


def test_the_end_of_a_session_is_printed_beside_the_reply(api: HTTPServer) -> None:
    ended = {**SESSION, "is_completed": True, "completion_reason": "end_node"}
    api.expect_request(f"{PATH}/messages").respond_with_json(ended)
    result = sessions("message", SESSION_ID, "Bye")
    assert (result.stdout, result.stderr) == (REPLY, "The session has ended (end_node).\n")


def test_a_turn_is_edited(api: HTTPServer) -> None:
    api.expect_request(f"{PATH}/turns/{TURN_ID}/edit", method="POST").respond_with_json(SESSION)
    result = sessions("edit", SESSION_ID, TURN_ID, "For three.", "--expected-revision", "4")
    assert (result.exit_code, result.stdout) == (0, REPLY)
    body = sent(api)
    assert body.pop("message_id").startswith("msg_")
    assert body == {"text": "For three.", "expected_revision": 4}


def test_a_turn_is_answered_again(api: HTTPServer) -> None:
    api.expect_request(f"{PATH}/turns/{TURN_ID}/regenerate", method="POST").respond_with_json(SESSION)
    result = sessions("regenerate", SESSION_ID, TURN_ID, "--message-id", "again-1", "--json")
    assert json.loads(result.stdout)["id"] == SESSION_ID
    assert sent(api) == {"message_id": "again-1"}


def test_a_reply_is_cancelled(api: HTTPServer) -> None:
    stopped = {**SESSION, "turns": [{**TURN, "status": "interrupted"}]}
    api.expect_request(f"{PATH}/cancel", method="POST").respond_with_json(stopped)
    result = sessions("cancel", SESSION_ID)
    assert (result.stdout, result.stderr) == (REPLY, "(interrupted)\n")
    assert sent(api) == {}


def test_a_branch_is_restored(api: HTTPServer) -> None:
    api.expect_request(f"{PATH}/branches/br_1/restore", method="POST").respond_with_json(SESSION)
    result = sessions("restore", SESSION_ID, "br_1", "--expected-revision", "6")
    assert result.exit_code == 0
    assert TURN["assistant_message"]["text"] in result.stdout
    assert sent(api) == {"expected_revision": 6}


def test_a_session_is_forked_and_the_new_one_named(api: HTTPServer) -> None:
    api.expect_request(f"{PATH}/fork", method="POST").respond_with_json({**SESSION, "id": "ses_new"}, status=201)
    result = sessions("fork", SESSION_ID, "--turn", TURN_ID, "--agent", "booking-line", "--version", "2")
    assert (result.exit_code, result.stdout) == (0, "ses_new\n")
    assert sent(api) == {"turn_id": TURN_ID, "agent": {"id": "booking-line", "version": 2}}
    assert sessions("fork", SESSION_ID, "--version", "2").exit_code == USAGE


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (["message", SESSION_ID, "Hello"], "messages"),
        (["edit", SESSION_ID, TURN_ID, "Hello"], f"turns/{TURN_ID}/edit"),
        (["regenerate", SESSION_ID, TURN_ID], f"turns/{TURN_ID}/regenerate"),
        (["cancel", SESSION_ID], "cancel"),
        (["restore", SESSION_ID, "br_1"], "branches/br_1/restore"),
        (["fork", SESSION_ID], "fork"),
    ],
)
@pytest.mark.parametrize(
    ("status", "code", "exit_status"),
    [
        (404, "not_found", USAGE),
        (409, "revision_conflict", FINDING),
        (409, "turn_not_pending", FINDING),
        (410, "session_ended", FINDING),
        (502, "model_failed", UNREACHABLE),
    ],
)
def test_rejections_become_exit_statuses(
    api: HTTPServer, *, arguments: Sequence[str], path: str, status: int, code: str, exit_status: int
) -> None:
    api.expect_request(f"{PATH}/{path}").respond_with_json({"code": code, "detail": "It is so."}, status=status)
    result = sessions(*arguments)
    assert (result.exit_code, result.stdout) == (exit_status, "")
    assert result.stderr.startswith("playhead: It is so.\n")
