"""Requests repeated under one idempotency key, through two APIs: one session and reply, and none after an erasure."""

import asyncio
from collections.abc import Callable

import httpx2
import pytest

from api.temporal.deletion import WorkflowDeletion
from tests.api.openai.talking import user
from tests.api.sessions.test_erasure import erase, erased_during_creation, gone_from_temporal, tables_with
from tests.support.api_agents import library
from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.running_api import Caller, RunningApi, done, problem, texts

Scripted = Callable[..., ScriptedModel]

WORDS = "the words of a reply that is erased"


async def ask(caller: Caller, key: str, text: str = "Hello", **fields: object) -> httpx2.Response:
    body = {"model": "library", "messages": [user(text)], **fields}
    return await caller.http.post("/v1/chat/completions", json=body, headers={"Idempotency-Key": key})


async def test_one_key_at_two_apis_at_once_opens_one_session_and_gets_one_reply(
    caller: Caller, visitor: Caller, scripted: Scripted
) -> None:
    model = scripted(*(TextReply(f"Reply {number}.") for number in range(5)))
    await caller.push(library(model.string))
    for number in range(5):
        asking = [ask(each, f"at-once-{number}") for each in [caller, visitor] * 4]
        completions = [done(response, 200) for response in await asyncio.gather(*asking)]
        assert len({completion["session_id"] for completion in completions}) == 1
        assert {completion["choices"][0]["message"]["content"] for completion in completions} == {f"Reply {number}."}
        session = await caller.session(completions[0]["session_id"])
        assert texts(session)[1:] == [("Hello", f"Reply {number}.")]
    assert len(model.journal) == 5


async def test_a_repeat_at_another_api_waits_for_the_same_reply(
    caller: Caller, visitor: Caller, scripted: Scripted
) -> None:
    gate = Gate()
    model = scripted(TextReply("Once.", gate=gate))
    await caller.push(library(model.string))
    first = asyncio.create_task(ask(caller, "slow"))
    await gate.reached()
    repeat = asyncio.create_task(ask(visitor, "slow"))
    gate.open()
    completions = [done(await each, 200) for each in (first, repeat)]
    assert completions[0]["id"] == completions[1]["id"]
    assert len(model.journal) == 1


async def test_a_key_whose_session_was_erased_opens_none_again_at_any_api(
    running_api: RunningApi, caller: Caller, visitor: Caller, scripted: Scripted
) -> None:
    model = scripted(TextReply(WORDS))
    await caller.push(library(model.string))
    session_id = done(await ask(caller, "erased"), 200)["session_id"]
    assert done(await ask(visitor, "erased"), 200)["session_id"] == session_id
    await erase(caller, session_id)

    async def is_refused(streamed: bool) -> None:
        for each in (caller, visitor):
            response = await ask(each, "erased", stream=streamed)
            error = done(response, 410)["error"]
            assert error["code"] == "session_erased"
            assert WORDS not in response.text

    await is_refused(streamed=False)
    await is_refused(streamed=True)
    await gone_from_temporal(running_api.client, session_id)
    await is_refused(streamed=False)
    problem(await caller.get(f"/v1/sessions/{session_id}"), 404, "not_found")
    assert await caller.items("/v1/sessions") == []
    assert await tables_with(running_api.database, WORDS) == set()
    assert len(model.journal) == 1
    assert done(await ask(caller, "another", text="Hi"), 200)["session_id"] != session_id


@pytest.mark.filterwarnings("ignore::temporalio.workflow.UnfinishedUpdateHandlersWarning")
async def test_a_session_that_is_erased_while_it_is_created_is_not_left_behind(
    running_api: RunningApi, caller: Caller, visitor: Caller, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = erased_during_creation(visitor, monkeypatch)
    await caller.push(library(scripted(TextReply(WORDS)).string))
    response = await ask(caller, "erased-early")
    assert done(response, 410)["error"]["code"] == "session_erased"
    (session_id,) = begun
    await gone_from_temporal(running_api.client, session_id)
    assert await caller.items("/v1/sessions") == []
    assert await tables_with(running_api.database, WORDS) == set()


async def test_a_key_whose_session_has_ended_gets_its_reply_again(
    caller: Caller, visitor: Caller, scripted: Scripted
) -> None:
    await caller.push(library(scripted(TextReply("Hello there.")).string))
    first = done(await ask(caller, "ended"), 200)
    await caller.end(first["session_id"])
    for each in (caller, visitor):
        assert done(await ask(each, "ended"), 200)["id"] == first["id"]


async def test_a_message_repeated_at_another_api_after_the_erasure_gets_no_words(
    caller: Caller, visitor: Caller, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_yet(self: WorkflowDeletion, workflow_id: str, run_id: str) -> None:
        """Temporal deletes in the background, and keeps the results of a terminated workflow until it does."""

    monkeypatch.setattr(WorkflowDeletion, "_delete_run", not_yet)
    await caller.push(library(scripted(TextReply(WORDS)).string))
    session_id = (await caller.open("library"))["id"]
    path, body = f"/v1/sessions/{session_id}/messages", {"text": "Hello", "message_id": "m-1"}
    for each in (caller, visitor):
        assert WORDS in (await each.post(path, body)).text
    await erase(caller, session_id)
    for each in (caller, visitor):
        for response in (
            await each.post(path, body),
            await each.post(path, body, wait=False),
            await each.http.post(path, json=body, headers={"Accept": "text/event-stream"}),
            await ask(each, "m-1", metadata={"session_id": session_id}),
            await each.get(f"/v1/sessions/{session_id}"),
            await each.get(f"/v1/sessions/{session_id}/turns"),
            await each.get(f"/v1/sessions/{session_id}/transcript"),
            await each.get(f"/v1/sessions/{session_id}/branches/compare", a="active"),
        ):
            assert response.status_code in (404, 410), response.text
            assert WORDS not in response.text
