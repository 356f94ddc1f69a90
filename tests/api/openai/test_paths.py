"""Errors and addresses of OpenAI's protocol: its form everywhere, and no path refused for its slashes."""

import gzip
import json
import zlib
from collections.abc import AsyncIterator

import httpx2
import pytest

from api.http.body_limit import MAX_BODY_BYTES
from api.sessions.reader import SessionReader
from tests.api.openai.talking import user
from tests.support.api_agents import library
from tests.support.running_api import Caller, Json, RunningApi, done, problem

pytestmark = pytest.mark.parametrize("running_api", ["sqlite"], indirect=True, scope="session")

CHAT = "/v1/chat/completions"


def error_of(response: httpx2.Response, status: int, code: str) -> Json:
    """The error of an answer in the protocol's form, with this status and code."""
    body = done(response, status)
    assert set(body) == {"error"}, body
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["code"] == code, body
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    error: Json = body["error"]
    return error


async def test_every_error_below_the_protocols_paths_has_its_form(running_api: RunningApi, caller: Caller) -> None:
    json_type = {"content-type": "application/json"}
    error_of(await caller.http.get(CHAT), 405, "method_not_allowed")
    error_of(await caller.http.delete("/v1/models"), 405, "method_not_allowed")
    error_of(
        await caller.http.post(CHAT, content=b"{}", headers={"content-type": "text/plain"}),
        415,
        "unsupported_media_type",
    )
    error_of(await caller.http.post(CHAT, content=b"{", headers=json_type), 400, "invalid_request")
    large = b" " * (MAX_BODY_BYTES + 1)
    error_of(await caller.http.post(CHAT, content=large, headers=json_type), 413, "too_large")
    encoded = {**json_type, "content-encoding": "br"}
    error_of(await caller.http.post(CHAT, content=b"{}", headers=encoded), 415, "unsupported_media_type")
    for path in (
        "/v1/chat",
        "/v1/audio/speech",
        "/v1/files/file-1",
        "/v1/assistants",
        "/v1/engines/x",
        "/v1/chatkit/sessions",
    ):
        assert path in error_of(await caller.get(path), 404, "unknown_url")["message"]
    async with running_api.stranger() as stranger:
        error_of(await stranger.get("/v1/models"), 401, "unauthenticated")


async def test_errors_of_other_paths_keep_their_form(caller: Caller) -> None:
    for path in ("/v1/chatter", "/v1/modelsx", "/chat/completions", "/v2/models"):
        problem(await caller.get(path), 404, "not_found")
    problem(await caller.http.put("/v1/sessions"), 405, "method_not_allowed")


async def test_unexpected_error_has_the_protocols_form(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*args: object) -> None:
        raise LookupError("a secret detail")

    monkeypatch.setattr(SessionReader, "session", broken)
    body = {"model": "library", "messages": [user("Hi")], "metadata": {"session_id": "ses_1"}}
    await caller.push(library())
    error = error_of(await caller.post(CHAT, body), 500, "internal_error")
    assert error["type"] == "server_error"
    assert "secret" not in str(error)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings"])
async def test_unsupported_endpoints_name_an_alternative(caller: Caller, path: str) -> None:
    error = error_of(await caller.post(path, {"model": "library", "prompt": "Hi"}), 404, "unknown_url")
    assert "not served here" in error["message"]
    assert "/v1/chat/completions" in error["message"] or "embedding" in error["message"]


async def test_double_and_trailing_slashes_are_served(caller: Caller) -> None:
    await caller.push(library())
    body = {"model": "library", "messages": [user("Hi")]}
    for path in (f"{CHAT}/", f"/{CHAT}", "/v1//chat//completions", "//v1/chat/completions//"):
        answer = await caller.http.post(f"{caller.http.base_url}".rstrip("/") + path, json=body)
        assert done(answer, 200)["object"] == "chat.completion", path
    for path in ("/v1/models/", "/v1//models", "/v1/models/library/"):
        done(await caller.http.get(f"{caller.http.base_url}".rstrip("/") + path), 200)


async def test_param_names_the_value_and_no_internal_type(caller: Caller) -> None:
    await caller.push(library())
    for messages, param in (
        ([{"role": "user", "content": 7}], "messages[0].content"),
        ([{"role": "user", "content": [{"text": "Hi"}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "text", "text": 7}]}], "messages[0].content[0].text"),
        ([{"role": "nobody", "content": "Hi"}], "messages[0].role"),
        ([user("Hi"), "Hi"], "messages[1]"),
        ("Hi", "messages"),
    ):
        error = error_of(await caller.post(CHAT, {"model": "library", "messages": messages}), 400, "validation_error")
        assert error["param"] == param, error
        assert "body." not in error["message"]
    for fields, param in (
        ({"input": 7}, "input"),
        ({"input": [{"role": "user", "content": 7}]}, "input[0].content"),
        ({"input": "Hi", "stream": "perhaps"}, "stream"),
        ({"input": "Hi", "conversation": {"id": 7}}, "conversation.id"),
    ):
        answer = await caller.post("/v1/responses", {"model": "library", **fields})
        assert error_of(answer, 400, "validation_error")["param"] == param, answer.text


async def test_error_that_a_retry_cannot_fix_is_no_conflict(caller: Caller) -> None:
    await caller.push(library())
    for text, status in (("One", 200), ("Two", 400)):
        body = {"model": "library", "messages": [user(text)]}
        answer = await caller.http.post(CHAT, json=body, headers={"Idempotency-Key": "same"})
        assert answer.status_code == status
    error = error_of(answer, 400, "idempotency_mismatch")
    assert "message id" not in error["message"]
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("path", [CHAT, "/v1/agents"])
async def test_body_in_gzip_is_read(caller: Caller, path: str) -> None:
    await caller.push(library())
    body = {"model": "library", "messages": [user("Hi")]} if path == CHAT else library(name="packed")
    content = gzip.compress(json.dumps(body).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip"}

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 10):
            yield content[start : start + 10]

    for sent in (content, in_pieces()):
        assert (await caller.http.post(path, content=sent, headers=headers)).is_success


async def test_gzip_that_expands_without_end_costs_no_more_than_the_limit(caller: Caller) -> None:
    packer = zlib.compressobj(wbits=31)
    first, again = (packer.compress(b" " * MAX_BODY_BYTES) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    bomb = first + 499 * again
    assert len(bomb) < MAX_BODY_BYTES
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    refused = error_of(await caller.http.post(CHAT, content=bomb, headers=headers), 413, "too_large")
    assert str(MAX_BODY_BYTES) in refused["message"]
    problem(await caller.http.post("/v1/agents", content=bomb, headers=headers), 413, "too_large")


@pytest.mark.parametrize("damage", ["cut", "no gzip", "doubled"])
async def test_gzip_that_is_damaged_is_refused(caller: Caller, damage: str) -> None:
    whole = gzip.compress(json.dumps({"model": "library", "messages": [user("Hi")]}).encode())
    content = {"cut": whole[:-9], "no gzip": b"hello", "doubled": whole * 2}[damage]
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    for path in (CHAT, "/v1/sessions", "/v1/agents"):
        answer = await caller.http.post(path, content=content, headers=headers)
        assert answer.status_code == 400, (path, answer.text)


async def test_every_answer_has_a_request_id(running_api: RunningApi, caller: Caller) -> None:
    await caller.push(library())
    session = await caller.open("library")
    seen = set()
    for path in (
        "/v1/agents",
        "/nowhere",
        "/healthz",
        "/openapi.json",
        f"/v1/sessions/{session['id']}",
        "/v1/models",
        "/",
    ):
        seen.add((await caller.get(path)).headers["x-request-id"])
    seen.add((await caller.http.head("/healthz")).headers["x-request-id"])
    seen.add((await caller.http.put("/v1/sessions")).headers["x-request-id"])
    assert len(seen) == 9
    kept = await caller.http.get("/healthz", headers={"x-request-id": "from-the-proxy.1"})
    assert kept.headers.get_list("x-request-id") == ["from-the-proxy.1"]
    for hostile in ("a b", "x" * 200, "\x1b[31m"):
        replaced = await caller.http.get("/healthz", headers={b"x-request-id": hostile.encode()})
        assert replaced.headers["x-request-id"].startswith("req_")
