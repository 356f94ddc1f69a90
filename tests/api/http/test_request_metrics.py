"""Log lines and metrics of requests, and the response to an unexpected error."""

import asyncio
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from api.sessions.reader import SessionReader
from tests.support.api_agents import library
from tests.support.running_api import Caller, RunningApi, problem
from tests.support.waiting import eventually

pytestmark = pytest.mark.parametrize("running_api", ["sqlite"], indirect=True, scope="session")


async def test_requests_are_logged_without_texts_or_secrets(caller: Caller) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    with capture_logs() as lines:
        await caller.say(session_id, "My card number is 4111")
    (line,) = [line for line in lines if line["event"] == "request"]
    assert line["log_level"] == "info"
    assert line["method"] == "POST"
    assert line["route"] == "/v1/sessions/{session_id}/messages"
    assert line["status"] == 200
    assert line["milliseconds"] > 0
    assert line["organization"] == caller.organization
    assert line["session"] == session_id
    assert line["request_id"].startswith("req_")
    assert "4111" not in str(lines)
    assert "phk_" not in str(lines)


async def test_opening_a_session_is_logged_with_its_id(caller: Caller) -> None:
    await caller.push(library())
    with capture_logs() as lines:
        session_id = (await caller.open("library"))["id"]
    assert [line["session"] for line in lines if line["event"] == "request"] == [session_id]


async def test_figures_count_requests_by_route_and_turns_by_status(running_api: RunningApi, caller: Caller) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    await caller.say(session_id, "Hello")
    await caller.get("/nothing/here")
    figures = (await caller.get("/metrics")).text
    route = 'route="/v1/sessions/{session_id}/messages"'
    assert f'playhead_http_requests_total{{method="POST",{route},status="200"}}' in figures
    assert f'playhead_http_request_seconds_bucket{{le="+Inf",method="POST",{route}}}' in figures
    assert 'playhead_http_requests_total{method="GET",route="unknown",status="404"}' in figures
    assert 'playhead_turns_total{status="completed"}' in figures
    assert session_id not in figures


async def test_unexpected_error_is_logged_and_answered_without_internals(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*args: object) -> None:
        raise LookupError("a secret detail")

    monkeypatch.setattr(SessionReader, "session", broken)
    with capture_logs() as lines:
        response = await caller.get("/v1/sessions/ses_any")
    document = problem(response, 500, "internal_error")
    assert "secret detail" not in str(document)
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert line["exc_info"]
    assert line["session"] == "ses_any"


async def test_every_response_is_private_and_of_its_declared_type(caller: Caller) -> None:
    for path in ("/v1/agents", "/v1/agents/nobody", "/nowhere", "/healthz", "/metrics", "/openapi.json"):
        headers = (await caller.get(path)).headers
        assert headers.get_list("x-content-type-options") == ["nosniff"], path
        assert headers.get_list("cache-control") == ["no-store"], path


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/agents", "/v1/chat/completions"])
async def test_client_that_leaves_before_its_request_is_read_is_no_failure(
    running_api: RunningApi, caller: Caller, path: str
) -> None:
    """Its request is recorded with 499, whoever reads the body: no error, no bad request, no warning."""
    url = httpx2.URL(running_api.url)
    with capture_logs() as lines:
        _, writer = await asyncio.open_connection(url.host, url.port)
        key = caller.http.headers["authorization"]
        head = f"POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: {key}\r\ncontent-type: application/json\r\n"
        writer.write(f'{head}content-length: 100\r\n\r\n{{"agent": '.encode())
        await writer.drain()
        writer.close()

        async def recorded() -> list[Any]:
            return [line for line in lines if line["event"] == "request" and line["route"] == path]

        (line,) = await eventually(recorded)
    assert (line["status"], line["log_level"]) == (499, "info")
    assert not [line for line in lines if line["log_level"] in ("error", "warning")]
    figures = (await caller.get("/metrics")).text
    assert f'playhead_http_requests_total{{method="POST",route="{path}",status="499"}}' in figures
