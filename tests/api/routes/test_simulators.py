"""Simulated users over HTTP: started with a session, switched on and off, replaced by a user, and validated."""

from collections.abc import Callable
from typing import Any

from tests.support.api_agents import GREETING, library
from tests.support.provider import Gate, ScriptedModel, TextReply, ToolCallReply
from tests.support.running_api import Caller, done, problem, texts
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

HANG_UP = ToolCallReply("hang_up", '{"reason": "done"}')


async def completed(caller: Caller, session_id: str) -> dict[str, Any]:
    """The session, once it has ended."""

    async def ended() -> dict[str, Any]:
        session = await caller.session(session_id)
        return session if session["is_completed"] else {}

    return await eventually(ended)


async def test_a_session_that_begins_with_a_simulated_user_talks_by_itself(caller: Caller, scripted: Scripted) -> None:
    agent, anna = scripted(TextReply("At nine.")), scripted(TextReply("When do you open?"), HANG_UP)
    await caller.push(library(agent.string))
    config = {"goal": "Ask about the opening hours.", "model": anna.string, "persona": {"name": "Anna"}}
    body = {"agent": "library", "simulator": {"enabled": True, "config": config}}
    opened = done(await caller.post("/v1/sessions", body), 201)
    session = await completed(caller, opened["id"])
    assert texts(session) == [(None, GREETING), ("When do you open?", "At nine.")]
    assert session["completion_reason"] == "caller_hung_up"
    simulator = session["simulator"]
    assert (simulator["enabled"], simulator["lines"], simulator["stopped"]) == (False, 1, "caller_hung_up")
    assert simulator["config"]["persona"]["name"] == "Anna"


async def test_a_simulated_user_is_switched_on_in_a_live_session_and_a_person_takes_over(
    caller: Caller, scripted: Scripted
) -> None:
    agent = scripted(TextReply("At six."))
    anna = scripted(TextReply("A line that nobody hears.", gate=(gate := Gate())), HANG_UP)
    await caller.push(library(agent.string))
    opened = await caller.open("library")
    path = f"/v1/sessions/{opened['id']}/simulator"
    switched = done(await caller.put(path, {"config": {"goal": "Ask.", "model": anna.string}}), 200)
    assert switched["simulator"]["enabled"] is True
    assert switched["revision"] == opened["revision"] + 1
    await gate.reached()
    said = await caller.say(opened["id"], "When do you close?")
    assert (said["simulator"]["enabled"], said["simulator"]["has_the_floor"]) == (True, False)
    done(await caller.put(path, {"enabled": True}), 200)
    session = await completed(caller, opened["id"])
    assert texts(session) == [(None, GREETING), ("When do you close?", "At six.")]


async def test_a_simulated_user_without_a_config_is_refused(caller: Caller) -> None:
    await caller.push(library())
    opened = await caller.open("library")
    refused = await caller.put(f"/v1/sessions/{opened['id']}/simulator", {"enabled": True})
    assert "send a config" in problem(refused, 422, "validation_error")["detail"]
    created = await caller.post("/v1/sessions", {"agent": "library", "simulator": {"enabled": True}})
    [error] = problem(created, 422, "validation_error")["errors"]
    assert (error["place"], error["message"][:14]) == ("body.simulator", "needs a config")


async def test_unknown_fields_of_a_simulated_user_are_refused(caller: Caller) -> None:
    await caller.push(library())
    opened = await caller.open("library")
    config = {"goal": "Ask.", "persona": {"maner": "friendly"}}
    refused = await caller.put(f"/v1/sessions/{opened['id']}/simulator", {"config": config})
    assert "config.persona.maner" in str(problem(refused, 422, "validation_error")["errors"])


async def test_a_switch_with_a_stale_revision_is_refused(caller: Caller) -> None:
    await caller.push(library())
    opened = await caller.open("library")
    body = {"config": {"goal": "Ask."}, "expected_revision": 1}
    refused = await caller.put(f"/v1/sessions/{opened['id']}/simulator", body)
    assert problem(refused, 409, "revision_conflict")["actual_revision"] == opened["revision"]


async def test_an_ended_session_takes_no_simulated_user(caller: Caller) -> None:
    await caller.push(library())
    opened = await caller.open("library")
    await caller.end(opened["id"])
    refused = await caller.put(f"/v1/sessions/{opened['id']}/simulator", {"config": {"goal": "Ask."}})
    problem(refused, 410, "session_ended")
