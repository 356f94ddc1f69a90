"""A provider that quotes the installation's key: it reaches no response, no event, no history, no table and no log."""

import logging
from collections.abc import Callable

import pytest

from tests.api.sessions.test_erasure import tables_with
from tests.support.api_agents import library
from tests.support.event_stream import watching
from tests.support.provider import ErrorReply, ScriptedModel
from tests.support.running_api import Caller, RunningApi, problem

KEY = "a key of the tests"
"""The installation's key for the provider of the tests."""
SENTENCE = "Incorrect API key provided"
QUOTED = f"{SENTENCE}: {KEY}. Set OPENAI_API_KEY. You sent Authorization: Bearer {KEY}, x-api-key: another-secret-1."
SECRETS = (KEY, "another-secret-1", "OPENAI_API_KEY")


async def test_a_quoted_key_is_redacted_and_the_providers_message_is_kept(
    running_api: RunningApi,
    caller: Caller,
    scripted: Callable[..., ScriptedModel],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    model = scripted(*[ErrorReply(401, message=QUOTED)] * 4)
    await caller.push(library(model.string))
    session_id = (await caller.open("library"))["id"]
    path = f"/v1/sessions/{session_id}"
    responses = [await caller.post(f"{path}/messages", {"text": "Hello"})]
    assert SENTENCE in problem(responses[0], 502, "model_failed")["detail"]
    chat = {
        "model": "library",
        "messages": [{"role": "user", "content": "Hello"}],
        "metadata": {"session_id": session_id},
    }
    responses.append(await caller.post("/v1/chat/completions", chat))
    await caller.post(f"{path}/messages", {"text": "Hello"}, wait=False)
    await caller.recorded(session_id, turns=4)
    async with watching(caller, session_id, after=0) as stream:
        await caller.end(session_id)
        events = await stream.until("session_completed")
    for route in ("", "/turns", "/branches", "/transcript?format=json", "/transcript"):
        responses.append(await caller.http.get(path + route))
    history = await running_api.client.get_workflow_handle(f"session-{session_id}").fetch_history()
    written = b"".join(event.SerializeToString() for event in history.events)

    shown = "\n".join([*(response.text for response in responses), *(str(event.data) for event in events)])
    assert SENTENCE in shown
    assert SENTENCE.encode() in written
    assert SENTENCE in caplog.text
    for secret in SECRETS:
        assert secret not in shown
        assert secret.encode() not in written
        assert await tables_with(running_api.database, secret) == set()
    for secret in (KEY, "another-secret-1"):
        assert secret not in caplog.text
    assert "Set OPENAI_API_KEY." in caplog.text, "the advice is for the operator"
