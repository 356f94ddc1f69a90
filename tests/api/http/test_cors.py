"""Pages of other origins: none may call the API, except from the origins of the setting."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.api_agents import library
from tests.support.running_api import Caller, RunningApi, done, serving

pytestmark = pytest.mark.parametrize("running_api", ["sqlite"], indirect=True, scope="session")

APP = "https://app.example.com"
CHAT = "/v1/chat/completions"
SENT = "authorization,content-type,x-stainless-os,x-stainless-retry-count,x-session-id,last-event-id,idempotency-key"


@pytest_asyncio.fixture
async def open_api(running_api: RunningApi) -> AsyncIterator[RunningApi]:
    """An API that pages of one origin may call."""
    settings = running_api.settings.model_copy(update={"allowed_origins": (APP,)})
    async with serving(settings, running_api.client, running_api.database) as api:
        yield api


def preflight(origin: str) -> dict[str, str]:
    return {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": SENT}


async def test_no_origin_is_allowed_by_default(caller: Caller) -> None:
    refused = await caller.http.options(CHAT, headers=preflight(APP))
    assert refused.status_code == 405
    answer = await caller.http.get("/v1/models", headers={"Origin": APP})
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_allowed_origin_may_send_every_header_of_openais_client(open_api: RunningApi, caller: Caller) -> None:
    async with open_api.caller(caller.organization) as page:
        allowed = await page.http.options(CHAT, headers=preflight(APP))
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == APP
        named = {name.strip() for name in allowed.headers["access-control-allow-headers"].lower().split(",")}
        assert named >= set(SENT.split(","))
        assert "access-control-allow-credentials" not in allowed.headers
        refused = await page.http.options(CHAT, headers=preflight("https://evil.example"))
        assert refused.status_code == 400
        assert "access-control-allow-origin" not in refused.headers


async def test_pages_may_read_answers_errors_and_headers(open_api: RunningApi, caller: Caller) -> None:
    await caller.push(library())
    async with open_api.caller(caller.organization) as page:
        body = {"model": "library", "messages": [{"role": "user", "content": "Hi"}]}
        for answer in (
            await page.http.post(CHAT, json=body, headers={"Origin": APP}),
            await page.http.get("/v1/sessions/ses_none", headers={"Origin": APP}),
            await page.http.get("/v1/nothing", headers={"Origin": APP}),
            await page.http.post(CHAT, content=b" " * 2_000_000, headers={"Origin": APP}),
        ):
            assert answer.headers["access-control-allow-origin"] == APP, answer.text
            exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].lower().split(",")}
            assert exposed >= {"x-session-id", "x-request-id", "last-event-id", "retry-after", "etag", "location"}
            assert exposed >= {"x-ignored-parameters", "x-should-retry", "content-disposition", "www-authenticate"}
        other = await page.http.get("/v1/models", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


async def test_pages_of_allowed_origins_hold_text_chats_of_dograh(open_api: RunningApi, caller: Caller) -> None:
    agent = await caller.push(library())
    path = f"/api/v1/workflow/{agent['workflow_id']}/text-chat/sessions"
    async with open_api.caller(caller.organization) as page:
        asked = {**preflight(APP), "Access-Control-Request-Headers": "authorization,content-type,x-api-key"}
        for address in (path, f"{path}/stream", f"{path}/1/messages", f"{path}/1/rewind"):
            allowed = await page.http.options(address, headers=asked)
            assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, APP), address
            assert "x-api-key" in allowed.headers["access-control-allow-headers"].lower()
        answer = await page.http.post(path, json={}, headers={"Origin": APP})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, APP), answer.text
        refused = await page.http.options(path, headers={**asked, "Origin": "https://evil.example"})
        assert (refused.status_code, refused.headers.get("access-control-allow-origin")) == (400, None)


async def test_page_of_an_allowed_origin_needs_no_key_at_a_keyless_api(running_api: RunningApi) -> None:
    for allowed, expected in (((APP,), 200), (("*",), 401), ((), 401)):
        settings = running_api.settings.model_copy(update={"keyless": True, "allowed_origins": allowed})
        async with (
            serving(settings, running_api.client, running_api.database) as api,
            api.stranger(Origin=APP, **{"Sec-Fetch-Site": "cross-site"}) as page,
        ):
            done(await page.get("/v1/agents"), expected)
