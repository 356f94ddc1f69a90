"""Creations repeated under one idempotency key at two APIs: one session, fork or suite, and none after an erasure."""

import asyncio
from collections.abc import Callable
from decimal import Decimal

import httpx2
import pytest

from api.sessions.creation import SessionCreator
from store.organizations import NewTerms
from tests.api.routes.test_suites import scenario, suite_with
from tests.api.sessions.test_erasure import erase, erased_during_creation, gone_from_temporal
from tests.api.sessions.test_spending_limits import A_REPLY, overspent, quota_rejection, set_terms
from tests.support.api_agents import library
from tests.support.provider import ScriptedModel, TextReply
from tests.support.running_api import Caller, Json, RunningApi, done, problem, texts
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

AT_ONCE = 8


async def create(
    caller: Caller, key: str, path: str = "/v1/sessions", body: Json | None = None, **query: object
) -> httpx2.Response:
    params = {name: str(value).lower() for name, value in query.items()}
    body = {"agent": "library"} if body is None else body
    return await caller.http.post(path, json=body, params=params, headers={"Idempotency-Key": key})


@pytest.mark.parametrize("wait", [True, False])
async def test_one_key_at_two_apis_at_once_creates_one_session(
    caller: Caller, visitor: Caller, scripted: Scripted, wait: bool
) -> None:
    await caller.push(library(scripted().string))
    for number in range(3):
        body = {"agent": "library", "initial_context": {"n": number}, "annotations": {"x": [1.5, None]}}
        asking = [create(each, f"key-{number}", body=body, wait=wait) for each in [caller, visitor] * (AT_ONCE // 2)]
        sessions = [done(each, 201 if wait else 202) for each in await asyncio.gather(*asking)]
        assert len({each["id"] for each in sessions}) == 1
        assert len({each["name"] for each in sessions}) == 1
        assert len({each["workflow_run_id"] for each in sessions}) == 1
        for each in (caller, visitor):
            assert done(await create(each, f"key-{number}", body=body), 201)["id"] == sessions[0]["id"]
        await caller.say(sessions[0]["id"], "Hello")
        repeated = done(await create(visitor, f"key-{number}", body=body), 201)
        assert len(repeated["turns"]) == 2, "a repeat returns the session as it is now"
    await caller.recorded(sessions[0]["id"], turns=1)
    assert len(await caller.items("/v1/sessions")) == 3


async def test_a_key_is_of_one_organization_and_of_one_kind_of_creation(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    model = scripted()
    await caller.push(library(model.string))
    ids = [done(await create(caller, "k"), 201)["id"]]
    ids.append(done(await create(caller, "k", f"/v1/sessions/{ids[0]}/fork", {}), 201)["id"])
    ids.append(done(await create(caller, "k", f"/v1/sessions/{ids[1]}/fork", {}), 201)["id"])
    chat = {"model": "library", "messages": [{"role": "user", "content": "Hi"}]}
    ids.append(done(await create(caller, "k", "/v1/chat/completions", chat), 200)["session_id"])
    for organization in ("a", "a/new"):
        async with running_api.caller(f"{caller.organization}-{organization}") as other:
            await other.push(library(model.string))
            for key in ("new/k", "k", "new/new/k"):
                ids.append(done(await create(other, key), 201)["id"])
    assert len(set(ids)) == len(ids)


async def test_a_key_of_another_session_is_rejected_and_creates_nothing(caller: Caller, scripted: Scripted) -> None:
    agent = library(scripted().string)
    await caller.push(agent)
    await caller.push({**agent, "name": "another"})
    body: Json = {"agent": "library", "initial_context": {"a": 1}}
    session = done(await create(caller, "k", body=body), 201)
    await caller.push({**agent, "prompt": "Be brief."})
    for changed in (
        {"agent": "another"},
        {"agent": {"id": "library", "version": 2}},
        {"initial_context": {"a": 2}},
        {"annotations": {"a": 1}},
        {"name": "Another name"},
        {"simulator": {"config": {"goal": "Ask for a book."}}},
    ):
        rejected = await create(caller, "k", body={**body, **changed})
        assert problem(rejected, 409, "idempotency_mismatch")["session_id"] == session["id"]
    named = {"agent": {"id": session["agent_id"], "version": 1}, "initial_context": {"a": 1}}
    assert done(await create(caller, "k", body=named), 201)["id"] == session["id"]
    await caller.end(session["id"])
    await caller.recorded(session["id"], turns=1)
    assert [each["id"] for each in await caller.items("/v1/sessions")] == [session["id"]]
    assert done(await create(caller, "k", body=body), 201)["is_completed"]


async def test_a_repeat_keeps_the_version_of_the_first_call(
    caller: Caller, visitor: Caller, scripted: Scripted
) -> None:
    agent = library(scripted().string)
    await caller.push(agent)
    first = done(await create(caller, "k"), 201)
    await caller.push({**agent, "prompt": "Be brief."})
    for each in (caller, visitor):
        again = done(await create(each, "k"), 201)
        assert (again["id"], again["agent_version"]) == (first["id"], 1)


async def test_one_key_at_two_apis_at_once_creates_one_fork(
    caller: Caller, visitor: Caller, scripted: Scripted
) -> None:
    await caller.push(library(scripted(TextReply("One."), TextReply("Two.")).string))
    source = await caller.open("library")
    source = await caller.say(source["id"], "First")
    path = f"/v1/sessions/{source['id']}/fork"
    asking = [create(each, "k", path, {}) for each in [caller, visitor] * (AT_ONCE // 2)]
    forks = [done(each, 201) for each in await asyncio.gather(*asking)]
    assert len({each["id"] for each in forks}) == 1
    assert texts(forks[0]) == texts(source)
    await caller.say(source["id"], "Second")
    turn = source["turns"][0]["id"]
    for each in (caller, visitor):
        again = done(await create(each, "k", path, {}), 201)
        assert again["id"] == forks[0]["id"], "also when the source has gone on"
        assert texts(again) == texts(source)
        problem(await create(each, "k", path, {"turn_id": turn}), 409, "idempotency_mismatch")
        problem(await create(each, "k", path, {"name": "Another"}), 409, "idempotency_mismatch")
        problem(await create(each, "k", path, {"model": "demo"}), 409, "idempotency_mismatch")
        assert done(await create(each, "k", path, {"turn_id": source["turns"][1]["id"]}), 201)["id"] == forks[0]["id"]
    assert len(texts(await caller.say(forks[0]["id"], "On"))) == 3
    await caller.recorded(forks[0]["id"], turns=1)
    assert len(await caller.items("/v1/sessions", forked_from=source["id"])) == 1


async def test_a_fork_that_was_stored_and_not_started_is_started_by_the_repeat(
    caller: Caller, visitor: Caller, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies between the store and Temporal; meanwhile the source goes on."""
    await caller.push(library(scripted(TextReply("One."), TextReply("Two.")).string))
    source = await caller.open("library")
    path = f"/v1/sessions/{source['id']}/fork"

    async def die(self: SessionCreator, *_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(SessionCreator, "_start_once", die)
        assert (await create(caller, "k", path, {})).status_code == 500
        assert (await create(caller, "k")).status_code == 500
    source = await caller.say(source["id"], "First")
    forked = done(await create(visitor, "k", path, {}), 201)
    assert texts(forked) == texts(source)[:1]
    assert texts(await caller.say(forked["id"], "On"))[-1][0] == "On"
    opened = done(await create(visitor, "k"), 201)
    assert len(opened["turns"]) == 1


async def test_a_key_whose_session_or_fork_was_erased_creates_none_again(
    running_api: RunningApi, caller: Caller, visitor: Caller, scripted: Scripted
) -> None:
    await caller.push(library(scripted().string))
    source = await caller.open("library")
    fork = f"/v1/sessions/{source['id']}/fork"
    erased = [done(await create(caller, "k"), 201)["id"], done(await create(caller, "k", fork, {}), 201)["id"]]
    for session_id in erased:
        await erase(caller, session_id)
    for _ in range(2):
        for each in (caller, visitor):
            problem(await create(each, "k"), 410, "session_erased")
            problem(await create(each, "k", wait=False), 410, "session_erased")
            problem(await create(each, "k", fork, {}), 410, "session_erased")
        for session_id in erased:
            await gone_from_temporal(running_api.client, session_id)
    await caller.end(source["id"])
    await caller.recorded(source["id"], turns=1)
    assert [each["id"] for each in await caller.items("/v1/sessions")] == [source["id"]]


@pytest.mark.filterwarnings("ignore::temporalio.workflow.UnfinishedUpdateHandlersWarning")
async def test_a_session_that_is_erased_while_it_is_created_under_a_key_is_not_left_behind(
    running_api: RunningApi, caller: Caller, visitor: Caller, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    await caller.push(library(scripted().string))
    begun = erased_during_creation(visitor, monkeypatch)
    problem(await create(caller, "k"), 410, "session_erased")
    (session_id,) = begun
    await gone_from_temporal(running_api.client, session_id)
    problem(await caller.get(f"/v1/sessions/{session_id}"), 404, "not_found")


async def test_a_repeat_is_no_new_session_at_the_spending_limit(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    session_id = await overspent(running_api, caller, scripted, TextReply("One."))
    problem(await create(caller, "new"), 402, "quota_exceeded")
    fork = f"/v1/sessions/{session_id}/fork"
    await set_terms(running_api, caller, NewTerms(monthly_limit=Decimal(1)))
    await eventually(lambda: is_accepted(caller))
    created = done(await create(caller, "k"), 201)
    forked = done(await create(caller, "k", fork, {}), 201)
    await caller.end(forked["id"])
    await caller.say(created["id"], "Hi")
    await caller.recorded(created["id"], turns=2)
    await set_terms(running_api, caller, NewTerms(monthly_limit=A_REPLY))
    await quota_rejection(caller, session_id)
    problem(await create(caller, "another"), 402, "quota_exceeded")
    assert done(await create(caller, "k"), 201)["id"] == created["id"]
    assert done(await create(caller, "k", fork, {}), 201)["id"] == forked["id"]


async def is_accepted(caller: Caller) -> bool:
    """True once the API knows that the organization may spend again."""
    return (await create(caller, "k")).status_code != 402


async def test_text_chats_of_dograh_are_created_and_messaged_once_under_a_key(
    caller: Caller, visitor: Caller, scripted: Scripted
) -> None:
    model = scripted(TextReply("Once."))
    agent = await caller.push(library(model.string))
    sessions = f"/api/v1/workflow/{agent['workflow_id']}/text-chat/sessions"
    asking = [create(each, "k", sessions, {}) for each in [caller, visitor] * (AT_ONCE // 2)]
    numbers = {done(each, 200)["workflow_run_id"] for each in await asyncio.gather(*asking)}
    assert len(numbers) == 1
    streamed = await create(visitor, "k", f"{sessions}/stream", {})
    assert f'"workflow_run_id":{numbers.copy().pop()}' in streamed.text.replace(" ", "")
    said = f"{sessions}/{numbers.pop()}/messages"
    saying = [create(each, "m", said, {"text": "Hi"}) for each in [caller, visitor] * (AT_ONCE // 2)]
    assert {each.status_code for each in await asyncio.gather(*saying)} == {200}
    assert (await create(visitor, "m", f"{said}/stream", {"text": "Hi"})).text.count("event: turn_started") == 1
    assert len(model.journal) == 1


async def test_agents_and_documents_stored_at_two_apis_at_once_are_stored_once(
    caller: Caller, visitor: Caller, scripted: Scripted
) -> None:
    agent = library(scripted().string)
    for number in range(3):
        changed = {**agent, "prompt": f"Version {number}."}
        pushing = [each.post("/v1/agents", changed) for each in [caller, visitor] * (AT_ONCE // 2)]
        versions = {done(each, 200, 201)["version"] for each in await asyncio.gather(*pushing)}
        assert versions == {number + 1}
        text = f"# Fees\nTwenty cents, edition {number}.".encode()
        params = {"name": "fees.md"}
        uploading = [
            each.http.post("/v1/documents", content=text, params=params) for each in [caller, visitor] * (AT_ONCE // 2)
        ]
        digests = {done(each, 200, 201)["sha256"] for each in await asyncio.gather(*uploading)}
        assert len(digests) == 1
    assert len(await caller.items("/v1/agents")) == 1
    assert len(await caller.items("/v1/documents")) == 3


async def test_one_key_at_two_apis_at_once_starts_one_suite_and_no_other(
    caller: Caller, visitor: Caller, scripted: Scripted
) -> None:
    await caller.push(library(scripted().string))
    suite = suite_with("library", scenario())
    asking = [create(each, "k", "/v1/suites", suite) for each in [caller, visitor] * (AT_ONCE // 2)]
    found = {done(each, 201)["id"] for each in await asyncio.gather(*asking)}
    assert len(found) == 1
    for each in (caller, visitor):
        problem(await create(each, "k", "/v1/suites", {**suite, "seed": 3}), 409, "idempotency_mismatch")
        problem(await create(each, "k", "/v1/suites", suite, repeats=2), 409, "idempotency_mismatch")
        assert done(await create(each, "k", "/v1/suites", suite), 201)["id"] in found
    assert len(await caller.items("/v1/suites")) == 1
    done(await caller.post(f"/v1/suites/{found.pop()}/cancel"), 200, 410)  # it may be over by now
