"""Public chats in a real browser: a page of the token's origin holds one; pages of other origins read nothing."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Page

from store.embed import EmbedStore
from tests.support.api_agents import GREETING, library
from tests.support.chromium import document_server, needs_chromium
from tests.support.provider import ScriptedModel
from tests.support.running_api import Caller, RunningApi, serving

pytestmark = [
    pytest.mark.parametrize("running_api", ["sqlite"], indirect=True, scope="session"),
    needs_chromium,
]

CALL: Final = """async ([method, url, body]) => {
  try {
    const headers = { 'Content-Type': 'application/json' }
    const response = await fetch(url, { method, headers, body: body && JSON.stringify(body) })
    return [response.status, await response.json()]
  } catch (error) {
    return [error.name, null]
  }
}"""
"""A request of the widget, which needs a preflight. `TypeError` means that the browser withholds the response."""


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    """The port of an empty page, whose origins are `http://localhost` and `http://127.0.0.1` there."""
    async with document_server("<!doctype html>") as port:
        yield port


async def test_only_a_page_of_the_tokens_origin_can_hold_a_chat(
    running_api: RunningApi, caller: Caller, scripted: Callable[..., ScriptedModel], port: int, page: Page
) -> None:
    agent = await caller.push(library(scripted().string))
    shop, evil = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
    tokens = EmbedStore(running_api.database)
    now = datetime.now(UTC)
    token, secret = await tokens.create(caller.organization, agent["id"], "shop", origins=[shop], at=now)
    settings = running_api.settings.model_copy(update={"allowed_origins": (evil,)})
    async with serving(settings, running_api.client, running_api.database) as api:
        embed = f"{api.url}/api/v1/public/embed"

        async def call(method: str, path: str, body: object = None) -> Any:
            return await page.evaluate(CALL, [method, f"{embed}/{path}", body])

        await page.goto(shop)
        status, config = await call("GET", f"config/{secret}")
        assert (status, config["settings"]) == (200, {"widgetType": "chat"})
        status, opened = await call("POST", "init", {"token": secret, "context_variables": {}})
        assert (status, opened["chat_session"]["turns"][0]["assistant_message"]["text"]) == (200, GREETING)
        chat = f"chat/{opened['session_token']}"
        status, shown = await call("POST", f"{chat}/messages", {"text": "Hello?", "expected_revision": 2})
        assert (status, shown["turns"][1]["assistant_message"]["text"]) == (200, "You said: Hello?")
        assert (await call("POST", f"{chat}/messages", {"text": "Hello?", "expected_revision": 2}))[0] == 409
        assert await call("GET", chat) == [200, shown]

        await page.goto(evil)
        for request in (
            ("GET", f"config/{secret}"),
            ("POST", "init", {"token": secret}),
            ("GET", chat),
            ("POST", f"{chat}/messages", {"text": "Hi"}),
            ("POST", f"{chat}/end", {}),
        ):
            assert await call(*request) == ["TypeError", None], request

        await page.goto(shop)
        assert await call("GET", chat) == [200, shown]
        assert await call("GET", "chat/emb_session_unknown") == [404, {"detail": "Invalid session token"}]
        await tokens.revoke(token.id, now)
        assert await call("GET", chat) == [403, {"detail": "Embed token is inactive"}]
