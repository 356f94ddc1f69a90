"""Branches over HTTP: edit, regenerate, cancel, restore, fork, and messages to a busy agent."""

import asyncio
from collections.abc import Callable

import pytest

from contracts.sessions import session_workflow_id
from tests.support.api_agents import GREETING, library
from tests.support.closed_sessions import closed
from tests.support.provider import ErrorReply, Gate, ScriptedModel, TextReply, ToolCallReply
from tests.support.running_api import Caller, Json, RunningApi, done, problem, texts

Scripted = Callable[..., ScriptedModel]


async def opened(caller: Caller, model: ScriptedModel, **changes: object) -> str:
    """A session with the library's agent on a model of its own."""
    await caller.push(library(model.string, **changes))
    session_id: str = (await caller.open("library"))["id"]
    return session_id


def interrupted(session: Json) -> list[str]:
    """The ids of the visible turns that were stopped."""
    return [turn["id"] for turn in session["turns"] if turn["status"] == "interrupted"]


async def test_an_edit_takes_the_place_of_a_turn_in_one_change(caller: Caller, scripted: Scripted) -> None:
    model = scripted(TextReply("Two, noted."), TextReply("Eight, noted."), TextReply("Three, noted."))
    session_id = await opened(caller, model)
    await caller.say(session_id, "A table for two")
    before = await caller.say(session_id, "At eight")
    edited = before["turns"][1]
    path = f"/v1/sessions/{session_id}/turns/{edited['id']}/edit"
    stale = {"text": "A table for three", "expected_revision": before["revision"] - 1}
    conflict = problem(await caller.post(path, stale), 409, "revision_conflict")
    assert (conflict["expected_revision"], conflict["actual_revision"]) == (before["revision"] - 1, before["revision"])
    after = done(await caller.post(path, {"text": "A table for three", "expected_revision": before["revision"]}), 200)
    assert texts(after) == [(None, GREETING), ("A table for three", "Three, noted.")]
    assert after["revision"] == before["revision"] + 2, "one change, and its reply"
    [branch] = after["discarded_branches"]
    assert [turn["id"] for turn in branch["turns"]] == [turn["id"] for turn in before["turns"][1:]]
    assert "two" not in str(model.journal[-1].conversation)


async def test_an_edit_that_is_repeated_is_made_once(caller: Caller, scripted: Scripted) -> None:
    model = scripted(TextReply("Two."), TextReply("Three."))
    session_id = await opened(caller, model)
    turn = (await caller.say(session_id, "2"))["turns"][1]
    path = f"/v1/sessions/{session_id}/turns/{turn['id']}/edit"
    first = done(await caller.post(path, {"text": "3", "message_id": "m-1"}), 200)
    again = done(await caller.post(path, {"text": "3", "message_id": "m-1"}), 200)
    assert (again["turns"], again["revision"]) == (first["turns"], first["revision"])
    problem(await caller.post(path, {"text": "4", "message_id": "m-1"}), 409, "idempotency_mismatch")
    assert len(model.journal) == 2


async def test_the_greeting_can_be_regenerated_but_not_edited(caller: Caller, scripted: Scripted) -> None:
    session_id = await opened(caller, scripted())
    said = await caller.say(session_id, "Hello")
    greeting = said["turns"][0]["id"]
    problem(
        await caller.post(f"/v1/sessions/{session_id}/turns/{greeting}/edit", {"text": "Hi"}), 422, "validation_error"
    )
    again = done(await caller.post(f"/v1/sessions/{session_id}/turns/{greeting}/regenerate"), 200)
    assert texts(again) == [(None, GREETING)]
    assert again["turns"][0]["id"] != greeting
    assert [len(branch["turns"]) for branch in again["discarded_branches"]] == [2]


async def test_a_failed_turn_is_regenerated_with_the_same_words(caller: Caller, scripted: Scripted) -> None:
    model = scripted(ErrorReply(400), TextReply("Here I am."))
    session_id = await opened(caller, model)
    failed = problem(await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "Hello?"}), 502, "model_failed")
    path = f"/v1/sessions/{session_id}/turns/{failed['turn']['id']}/regenerate"
    after = done(await caller.post(path), 200)
    assert texts(after) == [(None, GREETING), ("Hello?", "Here I am.")]
    assert after["status"] == "idle"
    rows = await caller.recorded(session_id, turns=3)
    assert failed["turn"]["id"] in {row["turn_id"] for row in rows}, "the failed turn is in the ledger all the same"


@pytest.mark.parametrize("command", ["edit", "regenerate"])
async def test_an_unknown_turn_cannot_be_edited_or_regenerated(
    caller: Caller, scripted: Scripted, command: str
) -> None:
    session_id = await opened(caller, scripted())
    body = {"text": "Hello"} if command == "edit" else {}
    path = f"/v1/sessions/{session_id}/turns/turn_of_nobody/{command}"
    assert problem(await caller.post(path, body), 404, "not_found")["turn_id"] == "turn_of_nobody"
    assert (await caller.session(session_id))["revision"] == 2


async def test_the_streamed_part_of_a_cancelled_reply_is_kept_for_the_next_turn(
    caller: Caller, scripted: Scripted
) -> None:
    gate = Gate()
    model = scripted(TextReply("The library opens at nine.", gate=gate), TextReply("At nine."))
    session_id = await opened(caller, model)
    problem(await caller.post(f"/v1/sessions/{session_id}/cancel"), 409, "turn_not_pending")
    done(await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "When?"}, wait=False), 202)
    await gate.reached()
    stopped = done(await caller.post(f"/v1/sessions/{session_id}/cancel"), 200)
    assert stopped["status"] == "idle"
    [turn] = [turn for turn in stopped["turns"] if turn["status"] == "interrupted"]
    said = turn["assistant_message"]["text"]
    assert said
    assert "The library opens at nine.".startswith(said)
    assert said != "The library opens at nine."
    await model.journal[0].hung_up()
    after = await caller.say(session_id, "Sorry, when?")
    assert texts(after)[-2:] == [("When?", said), ("Sorry, when?", "At nine.")]
    assert ("assistant", said) in model.journal[1].conversation
    assert ("user", "When?") in model.journal[1].conversation
    rows = await caller.recorded(session_id, turns=3)
    [row] = [row for row in rows if row["turn_id"] == turn["id"]]
    assert row["usage"]["llm"][model.string.replace("openai-chat", "openai")]["requests"] == 1


async def test_an_interrupting_message_is_answered_after_the_partial_reply(caller: Caller, scripted: Scripted) -> None:
    gate = Gate()
    model = scripted(TextReply("We open at nine and close at five.", gate=gate), TextReply("Goodbye."))
    session_id = await opened(caller, model)
    done(await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "When?"}, wait=False), 202)
    await gate.reached()
    waits = asyncio.create_task(caller.say(session_id, "And later?", on_busy="enqueue"))
    after = await caller.say(session_id, "Never mind", on_busy="interrupt")
    assert interrupted(after) == [after["turns"][1]["id"]]
    assert [text for text, _ in texts(after)][:3] == [None, "When?", "Never mind"]
    assert [text for text, _ in texts(await waits)] == [None, "When?", "Never mind", "And later?"]
    assert model.journal[0].is_hung_up


async def test_a_message_that_rolls_back_takes_the_place_of_the_pending_turn(
    caller: Caller, scripted: Scripted
) -> None:
    gate = Gate()
    model = scripted(TextReply("Nobody hears this.", gate=gate), TextReply("Three, noted."))
    session_id = await opened(caller, model)
    done(await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "For two"}, wait=False), 202)
    await gate.reached()
    after = await caller.say(session_id, "For three", on_busy="rollback")
    assert texts(after) == [(None, GREETING), ("For three", "Three, noted.")]
    assert "For two" not in str(model.journal[1].conversation)
    rows = await caller.recorded(session_id, turns=3)
    assert len(rows) == 3, "what was begun is billed on its branch"
    [branch] = (await caller.session(session_id))["discarded_branches"]
    assert [turn["status"] for turn in branch["turns"]] == ["interrupted"]


async def test_an_edit_of_a_pending_turn_stops_its_reply(caller: Caller, scripted: Scripted) -> None:
    gate = Gate()
    model = scripted(TextReply("Nobody hears this.", gate=gate), TextReply("Three, noted."))
    session_id = await opened(caller, model)
    accepted = done(await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "For two"}, wait=False), 202)
    await gate.reached()
    path = f"/v1/sessions/{session_id}/turns/{accepted['turn_id']}/edit"
    after = done(await caller.post(path, {"text": "For three"}), 200)
    assert texts(after) == [(None, GREETING), ("For three", "Three, noted.")]
    await model.journal[0].hung_up()


async def test_a_restored_branch_replaces_the_active_one(caller: Caller, scripted: Scripted) -> None:
    session_id = await opened(caller, scripted(TextReply("Two."), TextReply("Three."), TextReply("Once more.")))
    first = await caller.say(session_id, "2")
    greeting = first["turns"][0]["id"]
    await caller.rewind(session_id, greeting)
    second = await caller.say(session_id, "3")
    [branch] = second["discarded_branches"]
    path = f"/v1/sessions/{session_id}/branches/{branch['id']}/restore"
    back = done(await caller.post(path, {"expected_revision": second["revision"]}), 200)
    assert texts(back) == texts(first)
    assert back["revision"] == second["revision"] + 1
    assert [[turn["id"] for turn in each["turns"]] for each in back["discarded_branches"]] == [
        [second["turns"][1]["id"]]
    ]
    assert problem(await caller.post(path), 404, "not_found")["branch_id"] == branch["id"]
    after = await caller.say(session_id, "And then?")
    assert texts(after) == [*texts(first), ("And then?", "Once more.")]
    await caller.recorded(session_id, turns=4)
    listed = await caller.items(f"/v1/sessions/{session_id}/branches")
    assert [each["id"] for each in listed] == [back["discarded_branches"][0]["id"]]


async def test_a_fork_shares_the_past_and_bills_only_its_own_turns(caller: Caller, scripted: Scripted) -> None:
    model = scripted(TextReply("Two."), TextReply("Three."), TextReply("Here."), TextReply("There."))
    session_id = await opened(caller, model)
    await caller.say(session_id, "2")
    source = await caller.say(session_id, "3")
    turn = source["turns"][1]["id"]
    forked = done(await caller.post(f"/v1/sessions/{session_id}/fork", {"turn_id": turn}), 201)
    assert forked["forked_from"] == {"session_id": session_id, "turn_id": turn}
    assert texts(forked) == texts(source)[:2]
    assert forked["usage"]["llm"] == {}
    assert forked["status"] == "idle"
    here = await caller.say(forked["id"], "Where?")
    there = await caller.say(session_id, "Where?")
    assert (texts(here)[-1], texts(there)[-1]) == (("Where?", "Here."), ("Where?", "There."))
    assert ("assistant", "Two.") in model.journal[2].conversation, "the model reads the shared past"
    rows = await caller.recorded(forked["id"], turns=1)
    assert [row["turn_id"] for row in rows] == [here["turns"][-1]["id"]]
    listed = await caller.items("/v1/sessions")
    assert forked["id"] in {each["id"] for each in listed}


async def test_a_fork_that_ends_without_a_turn_bills_nothing(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    session_id = await opened(caller, scripted(TextReply("Two.")))
    await caller.say(session_id, "2")
    forked = done(await caller.post(f"/v1/sessions/{session_id}/fork"), 201)["id"]
    await caller.end(forked)
    await closed(running_api.client, session_workflow_id(forked))
    assert await caller.items("/v1/usage/ledger", session=forked) == []
    assert texts(await caller.session(forked)) == texts(await caller.session(session_id))


async def test_an_ended_session_can_be_forked_and_goes_on_with_another_model(
    caller: Caller, scripted: Scripted
) -> None:
    session_id = await opened(caller, scripted(TextReply("Two.")))
    await caller.say(session_id, "2")
    await caller.end(session_id)
    other = scripted(TextReply("I am another."))
    forked = done(await caller.post(f"/v1/sessions/{session_id}/fork", {"model": other.string}), 201)
    assert forked["model"] == other.string
    assert not forked["is_completed"]
    assert texts(await caller.say(forked["id"], "Who are you?"))[-1] == ("Who are you?", "I am another.")


async def test_a_fork_needs_a_turn_that_is_answered_and_an_agent_that_knows_its_node(
    caller: Caller, scripted: Scripted
) -> None:
    gate = Gate()
    model = scripted(TextReply("Two.", gate=gate))
    session_id = await opened(caller, model)
    path = f"/v1/sessions/{session_id}/fork"
    accepted = done(await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "2"}, wait=False), 202)
    await gate.reached()
    problem(await caller.post(path, {"turn_id": accepted["turn_id"]}), 409, "turn_in_progress")
    assert len(done(await caller.post(path), 201)["turns"]) == 1, "by default what is answered is shared"
    problem(await caller.post(path, {"turn_id": "turn_of_nobody"}), 404, "not_found")
    stranger = {"name": "stranger", "start": "alone", "nodes": {"alone": {"prompt": "Hello."}}}
    await caller.push(stranger)
    refused = problem(await caller.post(path, {"agent": "stranger"}), 400, "invalid_request")
    assert refused["errors"] == [{"place": "body.agent", "message": "has no node desk"}]
    gate.open()


async def test_commands_to_an_ended_session_are_refused(caller: Caller, scripted: Scripted) -> None:
    session_id = await opened(caller, scripted(ToolCallReply("farewell"), TextReply("Goodbye.")))
    ended = await caller.say(session_id, "Bye")
    assert ended["completion_reason"] == "end_node"
    turn = ended["turns"][1]["id"]
    for path, body in (
        (f"turns/{turn}/edit", {"text": "Stay"}),
        (f"turns/{turn}/regenerate", {}),
        ("cancel", {}),
        ("branches/br_1/restore", {}),
    ):
        problem(await caller.post(f"/v1/sessions/{session_id}/{path}", body), 410, "session_ended")
