"""Every error is a problem document with a stable code, including those of the framework."""

import json
from collections.abc import AsyncIterator

import pytest

from api.http.body_limit import MAX_BODY_BYTES
from tests.support.api_agents import library
from tests.support.running_api import Caller, Json, problem

pytestmark = pytest.mark.parametrize("running_api", ["sqlite"], indirect=True, scope="session")


@pytest.fixture
async def session_id(caller: Caller) -> str:
    await caller.push(library())
    return str((await caller.open("library"))["id"])


async def test_unknown_addresses_and_methods(caller: Caller) -> None:
    assert "/openapi.json" in problem(await caller.get("/v1/nothing"), 404, "not_found")["detail"]
    response = await caller.http.put("/v1/sessions")
    problem(response, 405, "method_not_allowed")
    assert set(response.headers["allow"].split(", ")) >= {"GET"} or "POST" in response.headers["allow"]


@pytest.mark.parametrize("path", ["", "/turns", "/branches"])
async def test_unknown_sessions_cannot_be_read(caller: Caller, path: str) -> None:
    problem(await caller.get(f"/v1/sessions/ses_none{path}"), 404, "not_found")


@pytest.mark.parametrize(
    ("command", "body"), [("messages", {"text": "Hi"}), ("rewind", {"turn_id": None}), ("end", {})]
)
async def test_unknown_sessions_take_no_commands(caller: Caller, command: str, body: Json) -> None:
    problem(await caller.post(f"/v1/sessions/ses_none/{command}", body), 404, "not_found")


@pytest.mark.parametrize(
    ("path", "body", "place", "message"),
    [
        ("/v1/sessions", {}, "body.agent", "is required"),
        ("/v1/sessions", {"agent": "library", "colour": "red"}, "body.colour", "is not a field of this request"),
        ("/v1/sessions", {"agent": 7}, "body.agent", "must be a JSON object"),
        (
            "/v1/sessions",
            {"agent": {"id": "library", "version": 0}},
            "body.agent.version",
            "greater than or equal to 1",
        ),
        ("/v1/sessions", {"agent": "library", "name": " "}, "body.name", "should match pattern"),
        ("/v1/sessions", {"agent": "library", "limits": {"max_turns": "9"}}, "body.limits.max_turns", "whole number"),
        ("/v1/sessions", {"agent": "library", "limits": {"max_jokes": 9}}, "body.limits.max_jokes", "not a field"),
        ("/v1/sessions", {"agent": "library", "initial_context": []}, "body.initial_context", "valid dictionary"),
        ("/v1/sessions", {"agent": "library", "annotations": {"a": {"b": "\x00"}}}, "body.annotations", "a.b"),
        ("messages", {"message_id": "m-1"}, "body.text", "is required"),
        ("messages", {"text": 7}, "body.text", "must be text"),
        ("messages", {"text": "Hello", "message_id": "two words"}, "body.message_id", "should match pattern"),
        ("messages", {"text": "Hello", "expected_revision": "2"}, "body.expected_revision", "whole number"),
        ("messages", {"text": "Hello", "expected_revision": -1}, "body.expected_revision", "greater than or equal"),
        ("messages", {"text": "Hello", "on_busy": "shout"}, "body.on_busy", "'interrupt' or 'rollback'"),
        ("messages", {"text": "NUL \x00"}, "body.text", "cannot be stored"),
        ("messages", ["Hello"], "body", "must be a JSON object"),
        ("rewind", {}, "body.turn_id", "is required"),
        ("rewind", {"turn_id": None, "before": "yes"}, "body.before", "must be true or false"),
        ("end", {"reason": "x" * 201}, "body.reason", "at most 200 characters"),
    ],
)
async def test_bodies_are_read_strictly(
    caller: Caller, session_id: str, *, path: str, body: object, place: str, message: str
) -> None:
    address = path if path.startswith("/") else f"/v1/sessions/{session_id}/{path}"
    refused = problem(await caller.post(address, body), 422, "validation_error")
    assert refused["errors"][0]["place"] == place
    assert message in refused["errors"][0]["message"]


async def test_an_empty_body_is_reported_as_missing(caller: Caller, session_id: str) -> None:
    refused = problem(await caller.post(f"/v1/sessions/{session_id}/messages"), 422, "validation_error")
    assert refused["errors"] == [{"place": "body", "message": "is required"}]


async def test_invalid_json_is_reported_with_its_position(caller: Caller, session_id: str) -> None:
    response = await caller.http.post(
        f"/v1/sessions/{session_id}/messages",
        content='{"text":\n  "Hello",}',
        headers={"Content-Type": "application/json"},
    )
    refused = problem(response, 400, "invalid_request")
    assert refused["errors"][0]["place"] == "body"
    assert refused["errors"][0]["message"].startswith("line 2, column ")


@pytest.mark.parametrize("text", [b'{"text": "\\ud800"}', b'{"text": "Hi", "expected_revision": NaN}'])
async def test_json_that_only_python_accepts_is_refused(caller: Caller, session_id: str, text: bytes) -> None:
    response = await caller.http.post(
        f"/v1/sessions/{session_id}/messages", content=text, headers={"Content-Type": "application/json"}
    )
    problem(response, 422, "validation_error")


async def test_values_of_a_context_must_be_finite(caller: Caller, session_id: str) -> None:
    body = '{"agent": "library", "initial_context": {"x": Infinity}}'
    response = await caller.http.post("/v1/sessions", content=body, headers={"Content-Type": "application/json"})
    assert "finite" in problem(response, 422, "validation_error")["detail"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_a_body_without_a_json_content_type_is_refused(
    caller: Caller, session_id: str, content_type: str | None
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    response = await caller.http.post(
        f"/v1/sessions/{session_id}/messages", content=b'{"text": "Hello"}', headers=headers
    )
    problem(response, 415, "unsupported_media_type")


async def test_the_text_of_a_message_is_neither_blank_nor_too_long(caller: Caller, session_id: str) -> None:
    path = f"/v1/sessions/{session_id}/messages"
    problem(await caller.post(path, {"text": " \n"}), 422, "validation_error")
    refused = problem(await caller.post(path, {"text": "x" * 32_001}), 413, "too_large")
    assert (refused["limit"], refused["actual"]) == (32_000, 32_001)


async def test_fields_over_their_limit_are_too_large(caller: Caller, session_id: str) -> None:
    body = {"agent": "library", "annotations": {"note": "x" * 70_000}}
    refused = problem(await caller.post("/v1/sessions", body), 413, "too_large")
    assert refused["limit"] == 65_536
    assert refused["errors"][0]["place"] == "body.annotations"


async def test_a_body_over_the_limit_is_refused_whether_announced_or_not(caller: Caller, session_id: str) -> None:
    path = f"/v1/sessions/{session_id}/messages"
    body = json.dumps({"text": "x" * MAX_BODY_BYTES}).encode()

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    headers = {"Content-Type": "application/json"}
    for content in (body, in_pieces()):
        refused = problem(await caller.http.post(path, content=content, headers=headers), 413, "too_large")
        assert refused["limit"] == MAX_BODY_BYTES


async def test_a_turn_that_is_not_on_the_branch_cannot_be_rewound_to(caller: Caller, session_id: str) -> None:
    refused = problem(
        await caller.post(f"/v1/sessions/{session_id}/rewind", {"turn_id": "turn_none"}), 404, "not_found"
    )
    assert refused["turn_id"] == "turn_none"
    before_nothing = {"turn_id": None, "before": True}
    problem(await caller.post(f"/v1/sessions/{session_id}/rewind", before_nothing), 422, "validation_error")


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 201}, {"limit": "many"}])
async def test_pages_have_limits(caller: Caller, query: Json) -> None:
    for path in ("/v1/sessions", "/v1/agents", "/v1/usage/ledger"):
        refused = problem(await caller.get(path, **query), 422, "validation_error")
        assert refused["errors"][0]["place"] == "query.limit"


async def test_invented_cursors_are_refused(caller: Caller, session_id: str) -> None:
    lists = ("/v1/sessions", "/v1/agents", "/v1/usage/ledger", f"/v1/sessions/{session_id}/turns")
    for path in (*lists, f"/v1/sessions/{session_id}/branches"):
        for cursor in ("x", "bm9ib2R5", "%FF", "é"):
            problem(await caller.get(path, cursor=cursor), 400, "invalid_request")
