"""A chat page of another origin in a real browser: its stop button stops the reply, and the conversation goes on."""

from collections.abc import AsyncIterator, Callable
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.api.openai.talking import key_of
from tests.support.api_agents import library
from tests.support.chromium import document_server, needs_chromium
from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.running_api import Caller, RunningApi, serving
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.parametrize("running_api", ["sqlite"], indirect=True, scope="session"),
    needs_chromium,
]

Scripted = Callable[..., ScriptedModel]

REPLY: Final = "We open at nine, and we close at six in the evening."
CHAT: Final = """<!doctype html>
<input aria-label="Message"><button id="send">Send</button><button id="stop">Stop</button>
<p role="status"></p><p id="session"></p>
<script type="module">
const [url, key] = new URLSearchParams(location.search).values()
const messages = [], [field, send, stop, status, session] = document.body.querySelectorAll('input, button, p')
let reply, connection

send.onclick = async () => {
  messages.push({ role: 'user', content: field.value })
  reply = { role: 'assistant', content: '' }
  connection = new AbortController()
  try {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'Authorization': `Bearer ${key}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ model: 'library', messages, stream: true }),
      signal: connection.signal,
    })
    session.textContent = response.headers.get('X-Session-Id')
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    for (let rest = ''; ;) {
      const { value, done } = await reader.read()
      if (done) break
      const lines = (rest + value).split('\\n')
      rest = lines.pop()
      for (const line of lines.filter(each => each.startsWith('data: {')))
        reply.content += JSON.parse(line.slice(6)).choices[0].delta.content ?? ''
      status.textContent = reply.content
    }
  } catch (error) {
    if (error.name !== 'AbortError') throw error
  }
  messages.push(reply)
}
stop.onclick = () => connection.abort()
</script>
"""


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[str]:
    """The origin of the chat page, which is not that of the API."""
    async with document_server(CHAT) as port:
        yield f"http://127.0.0.1:{port}"


async def test_stop_button_of_a_browser_cuts_the_reply_and_the_conversation_goes_on(
    running_api: RunningApi, caller: Caller, origin: str, page: Page, scripted: Scripted
) -> None:
    model = scripted(TextReply(REPLY, gate=Gate()), TextReply("On Sundays at ten."))
    await caller.push(library(model.string))
    settings = running_api.settings.model_copy(update={"allowed_origins": (origin,)})
    async with serving(settings, running_api.client, running_api.database, running_api.hub) as api:
        await page.goto(f"{origin}/?url={api.url}&key={key_of(caller)}")
        field, button = page.get_by_label("Message"), page.get_by_role("button", name="Send")
        await field.fill("When?")
        await button.click()
        await expect(page.get_by_role("status")).to_contain_text("We open")
        await page.get_by_role("button", name="Stop").click()
        await model.journal[0].hung_up()
        session_id = await page.locator("#session").inner_text()

        async def is_stopped() -> bool:
            return bool((await caller.session(session_id))["turns"][-1]["status"] == "interrupted")

        await eventually(is_stopped)
        await field.fill("And on Sundays?")
        await button.click()
        await expect(page.get_by_role("status")).to_have_text("On Sundays at ten.")
        assert await page.locator("#session").inner_text() == session_id

    _, cut, answered = (await caller.session(session_id))["turns"]
    assert REPLY.startswith(cut["assistant_message"]["text"])
    assert cut["assistant_message"]["text"] != REPLY
    assert (answered["user_message"]["text"], answered["status"]) == ("And on Sundays?", "completed")
    used = {row["turn_id"]: row["usage"]["llm"] for row in await caller.recorded(session_id, turns=3)}
    (of_the_cut,) = used[cut["id"]].values()
    assert 0 < of_the_cut["completion_tokens"] < len(REPLY.split()) + 10
