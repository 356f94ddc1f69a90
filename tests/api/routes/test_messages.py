"""Messages over HTTP: idempotent, rejected with numbers, and not lost after a timeout."""

import asyncio
from collections.abc import Callable

from tests.api.conftest import quick_settings
from tests.support.api_agents import GREETING, library
from tests.support.provider import ErrorReply, Gate, ScriptedModel, TextReply, ToolCallReply
from tests.support.running_api import Caller, RunningApi, done, problem, serving, texts


async def test_a_repeated_message_is_answered_once(caller: Caller, scripted: Callable[..., ScriptedModel]) -> None:
    model = scripted(TextReply("Yes?"))
    await caller.push(library(model.string))
    session_id = (await caller.open("library"))["id"]
    first = await caller.say(session_id, "Hello", message_id="m-1")
    again = await caller.say(session_id, "Hello", message_id="m-1")
    assert again["turns"] == first["turns"]
    assert again["revision"] == first["revision"]
    assert len(model.journal) == 1


async def test_a_repeat_joins_the_reply_that_is_being_generated(
    caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    gate = Gate()
    model = scripted(TextReply("Yes, I am here.", gate=gate))
    await caller.push(library(model.string))
    session_id = (await caller.open("library"))["id"]
    sending = [asyncio.create_task(caller.say(session_id, "Hello", message_id="m-1")) for _ in range(3)]
    await gate.reached()
    gate.open()
    answers = await asyncio.gather(*sending)
    assert all(answer["turns"] == answers[0]["turns"] for answer in answers)
    assert len(model.journal) == 1


async def test_a_message_id_with_another_text_is_refused(caller: Caller) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    said = await caller.say(session_id, "Hello", message_id="m-1")
    body = {"text": "Goodbye", "message_id": "m-1"}
    refused = problem(await caller.post(f"/v1/sessions/{session_id}/messages", body), 409, "idempotency_mismatch")
    assert refused["turn_id"] == said["turns"][-1]["id"]


async def test_the_idempotency_key_is_the_message_id(caller: Caller) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    path = f"/v1/sessions/{session_id}/messages"

    async def send(body: dict[str, str], key: str) -> dict[str, object]:
        return done(await caller.http.post(path, json=body, headers={"Idempotency-Key": key}), 200)

    by_header = await send({"text": "Hello"}, "m-1")
    by_both = await send({"text": "Hello", "message_id": "m-1"}, "m-1")
    assert by_both["turns"] == by_header["turns"]
    differing = await caller.http.post(
        path, json={"text": "Hello", "message_id": "m-2"}, headers={"Idempotency-Key": "m-1"}
    )
    refused = problem(differing, 400, "invalid_request")
    assert refused["errors"][0]["place"] == "header.idempotency-key"


async def test_a_message_without_an_id_gets_one(caller: Caller) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    once = await caller.say(session_id, "Hello")
    twice = await caller.say(session_id, "Hello")
    ids = [turn["user_message"]["message_id"] for turn in twice["turns"][1:]]
    assert len(set(ids)) == 2
    assert all(message_id.startswith("msg_") for message_id in ids)
    assert len(once["turns"]) == 2


async def test_a_repeated_message_of_an_ended_session_gets_its_first_answer(
    caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    model = scripted(ToolCallReply("farewell"), TextReply("Goodbye."))
    await caller.push(library(model.string))
    session_id = (await caller.open("library"))["id"]
    last = await caller.say(session_id, "Bye", message_id="m-1")
    assert last["completion_reason"] == "end_node"
    await caller.recorded(session_id, turns=2)
    again = await caller.say(session_id, "Bye", message_id="m-1")
    assert again["turns"] == last["turns"]
    path = f"/v1/sessions/{session_id}/messages"
    accepted = done(await caller.post(path, {"text": "Bye", "message_id": "m-1"}, wait=False), 202)
    assert accepted == {"turn_id": last["turns"][-1]["id"], "revision": last["revision"]}
    other = {"text": "Bye bye", "message_id": "m-1"}
    problem(await caller.post(path, other), 409, "idempotency_mismatch")
    problem(await caller.post(path, {"text": "Wait", "message_id": "m-2"}), 410, "session_ended")


async def test_a_stale_revision_is_refused_with_both_numbers(caller: Caller) -> None:
    await caller.push(library())
    opened = await caller.open("library")
    path = f"/v1/sessions/{opened['id']}"
    for command, body in (("messages", {"text": "Hi"}), ("rewind", {"turn_id": None}), ("end", {})):
        response = await caller.post(f"{path}/{command}", {**body, "expected_revision": 1})
        refused = problem(response, 409, "revision_conflict")
        assert (refused["expected_revision"], refused["actual_revision"]) == (1, opened["revision"])


async def test_exactly_one_of_fifty_senders_with_the_same_expected_revision_wins(caller: Caller) -> None:
    await caller.push(library())
    opened = await caller.open("library")
    path = f"/v1/sessions/{opened['id']}/messages"
    bodies = [{"text": f"I am {place}", "expected_revision": opened["revision"]} for place in range(50)]
    responses = await asyncio.gather(*(caller.post(path, body) for body in bodies))
    winners = [response.json() for response in responses if response.status_code == 200]
    assert len(winners) == 1
    losers = [response for response in responses if response.status_code != 200]
    assert all(problem(response, 409, "revision_conflict") for response in losers)
    assert len((await caller.session(opened["id"]))["turns"]) == 2


async def test_a_message_while_the_agent_answers_is_refused_or_waits(
    caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    gate = Gate()
    model = scripted(TextReply("One moment.", gate=gate))
    await caller.push(library(model.string))
    session_id = (await caller.open("library"))["id"]
    first = asyncio.create_task(caller.say(session_id, "First"))
    await gate.reached()
    path = f"/v1/sessions/{session_id}/messages"
    refused = problem(await caller.post(path, {"text": "Second"}), 409, "turn_in_progress")
    assert refused["turn_id"] == (await caller.session(session_id))["turns"][-1]["id"]
    queued = done(await caller.post(path, {"text": "Third", "on_busy": "enqueue"}, wait=False), 202)
    waiting = asyncio.create_task(caller.say(session_id, "Fourth", on_busy="enqueue"))
    gate.open()
    await first
    last = await waiting
    assert [said for said, _ in texts(last)] == [None, "First", "Third", "Fourth"]
    assert last["turns"][2]["id"] == queued["turn_id"]


async def test_more_than_twenty_waiting_messages_are_too_many(
    caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    gate = Gate()
    model = scripted(TextReply("One moment.", gate=gate))
    await caller.push(library(model.string))
    session_id = (await caller.open("library"))["id"]
    path = f"/v1/sessions/{session_id}/messages"
    done(await caller.post(path, {"text": "First"}, wait=False), 202)
    await gate.reached()
    for place in range(20):
        done(await caller.post(path, {"text": f"Next {place}", "on_busy": "enqueue"}, wait=False), 202)
    response = await caller.post(path, {"text": "One too many", "on_busy": "enqueue"})
    assert problem(response, 429, "queue_full")["limit"] == 20
    assert response.headers["retry-after"] == "1"
    ended = await caller.end(session_id)
    gate.open()
    assert ended["is_completed"]


async def test_more_senders_than_temporal_takes_at_once_all_get_their_reply(
    caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    gate = Gate()
    model = scripted(TextReply("One moment.", gate=gate))
    await caller.push(library(model.string))
    session_id = (await caller.open("library"))["id"]
    first = asyncio.create_task(caller.say(session_id, "First"))
    await gate.reached()
    others = [asyncio.create_task(caller.say(session_id, f"Next {place}", on_busy="enqueue")) for place in range(15)]
    gate.open()
    await asyncio.gather(first, *others)
    said = {text for text, _ in texts(await caller.session(session_id))}
    assert said == {None, "First", *(f"Next {place}" for place in range(15))}


async def test_a_message_to_a_session_that_closes_meanwhile_gets_session_ended(
    running_api: RunningApi, caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    gate = Gate()
    model = scripted(TextReply("One moment.", gate=gate))
    await caller.push(library(model.string))
    session_id = (await caller.open("library"))["id"]
    sending = asyncio.create_task(caller.post(f"/v1/sessions/{session_id}/messages", {"text": "Hello"}))
    await gate.reached()
    await running_api.client.get_workflow_handle(f"session-{session_id}").terminate()
    problem(await sending, 410, "session_ended")
    gate.open()


async def test_a_queued_message_is_superseded_by_a_rewind(
    caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    gate = Gate()
    model = scripted(TextReply("One moment.", gate=gate))
    await caller.push(library(model.string))
    opened = await caller.open("library")
    path = f"/v1/sessions/{opened['id']}/messages"
    first = asyncio.create_task(caller.post(path, {"text": "First"}))
    await gate.reached()
    body = {"text": "Second", "message_id": "m-2", "on_busy": "enqueue"}
    done(await caller.post(path, body, wait=False), 202)
    second = asyncio.create_task(caller.post(path, body))
    await caller.rewind(opened["id"], opened["turns"][0]["id"])
    problem(await second, 409, "superseded")
    gate.open()
    late = done(await first, 200)
    assert [turn["id"] for turn in late["turns"]] == [opened["turns"][0]["id"]]


async def test_a_turn_that_failed_at_the_model_comes_with_the_error(
    caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    model = scripted(ErrorReply(401), TextReply("Better now."))
    await caller.push(library(model.string))
    session_id = (await caller.open("library"))["id"]
    body = {"text": "Hello", "message_id": "m-1"}
    failed = problem(await caller.post(f"/v1/sessions/{session_id}/messages", body), 502, "model_failed")
    turn = failed["turn"]
    assert turn["status"] == "failed"
    assert turn["error"] in failed["detail"]
    assert turn["user_message"]["text"] == "Hello"
    session = await caller.session(session_id)
    assert session["status"] == "error"
    assert session["turns"][-1] == turn
    recovered = await caller.say(session_id, "And now?")
    assert texts(recovered)[-1] == ("And now?", "Better now.")


async def test_a_failed_greeting_is_shown_by_the_session(
    caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    model = scripted(ErrorReply(401), TextReply("Here I am."))
    await caller.push(
        {"name": "model-greets", "model": model.string, "start": "desk", "nodes": {"desk": {"prompt": "Greet."}}}
    )
    opened = await caller.open("model-greets")
    assert opened["status"] == "error"
    assert opened["turns"][0]["status"] == "failed"
    assert texts(await caller.say(opened["id"], "Hello?"))[-1] == ("Hello?", "Here I am.")


async def test_a_request_that_times_out_returns_the_pending_turn(
    running_api: RunningApi, caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    gate = Gate()
    model = scripted(TextReply("Now I have it.", gate=gate))
    await caller.push(library(model.string))
    session_id = (await caller.open("library"))["id"]
    path = f"/v1/sessions/{session_id}/messages"
    short_wait = running_api.settings.model_copy(update={"request_timeout_seconds": 0.5})
    async with (
        serving(short_wait, running_api.client, running_api.database) as other,
        other.caller(caller.organization) as hurried,
    ):
        late = problem(await hurried.post(path, {"text": "Hello", "message_id": "m-1"}), 504, "wait_timeout")
        assert late["message_id"] == "m-1"
        assert late["turn"]["status"] == "pending"
        assert late["turn"]["user_message"]["text"] == "Hello"
        queued = await hurried.post(path, {"text": "Still there?", "message_id": "m-2", "on_busy": "enqueue"})
        assert "turn" not in problem(queued, 504, "wait_timeout")
    gate.open()
    again = await caller.say(session_id, "Hello", message_id="m-1")
    assert texts(again)[:2] == [(None, GREETING), ("Hello", "Now I have it.")]
    await caller.say(session_id, "Still there?", message_id="m-2", on_busy="enqueue")
    assert [said for said, _ in texts(await caller.session(session_id))] == [None, "Hello", "Still there?"]


async def test_without_a_worker_requests_time_out_with_their_ids(running_api: RunningApi, caller: Caller) -> None:
    await caller.push(library())
    without_worker = quick_settings(running_api.settings.database_url, "nobody-works-here", request_timeout_seconds=0.5)
    async with (
        serving(without_worker, running_api.client, running_api.database) as other,
        other.caller(caller.organization) as alone,
    ):
        late = problem(await alone.post("/v1/sessions", {"agent": "library"}), 504, "wait_timeout")
        session_id = late["session_id"]
        shown = await alone.session(session_id)
        assert shown["status"] == "pending_assistant_turn"
        assert shown["turns"] == []
        path = f"/v1/sessions/{session_id}"
        unanswered = problem(
            await alone.post(f"{path}/messages", {"text": "Hello?", "message_id": "m-1"}), 504, "wait_timeout"
        )
        assert unanswered["message_id"] == "m-1"
        problem(await alone.post(f"{path}/end"), 504, "wait_timeout")
    await running_api.client.get_workflow_handle(f"session-{session_id}").terminate()
