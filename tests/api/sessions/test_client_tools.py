"""Client tools in the native API: waiting calls in the session and in streams, and the command that returns results."""

from collections.abc import Callable

from tests.support.client_tool_agent import CALL, switchboard
from tests.support.event_stream import types_of, watching
from tests.support.provider import ScriptedModel, TextReply
from tests.support.running_api import Caller, Json, RunningApi, done

Scripted = Callable[..., ScriptedModel]

ASKED: Json = {"text": "Sales, please.", "client_tools": ["transfer"]}


async def result_of(caller: Caller, session: Json, result: object, **fields: object) -> tuple[int, Json]:
    [call] = session["client_calls"]
    path = f"/v1/sessions/{session['id']}/client-calls/{call['call_id']}/result"
    response = await caller.post(path, {"result": result, **fields})
    return response.status_code, response.json()


async def test_a_message_responds_with_the_calls_that_wait_and_a_result_goes_on(
    caller: Caller, scripted: Scripted, running_api: RunningApi
) -> None:
    model = scripted(CALL, TextReply("You are connected."))
    await caller.push(switchboard(model.string))
    session = await caller.open("switchboard")
    waiting = await caller.say(session["id"], **ASKED)
    assert waiting["status"] == "pending_assistant_turn"
    [call] = waiting["client_calls"]
    assert (call["tool"], call["arguments"], call["said"]) == ("transfer", {"to": "sales"}, "One moment.")
    async with running_api.caller() as stranger:
        assert (await result_of(stranger, waiting, "Mine."))[0] == 404
    status, problem = await result_of(caller, waiting, "Late.", expected_revision=0)
    assert (status, problem["code"]) == (409, "revision_conflict")

    status, taken = await result_of(caller, waiting, {"transferred": True})
    assert (status, taken["client_calls"]) == (200, [])
    assert (await result_of(caller, waiting, {"transferred": True}))[0] == 200, "the same result again changes nothing"
    status, problem = await result_of(caller, waiting, "Another.")
    assert (status, problem["code"], problem["call_id"]) == (409, "client_call_not_pending", call["call_id"])
    answered = await caller.say(session["id"], "Sales, please.", on_busy="enqueue")
    assert answered["turns"][1]["assistant_message"]["text"] == "One moment.\n\nYou are connected."
    assert '{"transferred":true}' in str(model.journal[1].conversation)


async def test_a_watcher_sees_a_call_while_it_waits_and_its_end(caller: Caller, scripted: Scripted) -> None:
    await caller.push(switchboard(scripted(CALL, TextReply("I am sorry.")).string))
    session_id = (await caller.open("switchboard"))["id"]
    async with watching(caller, session_id) as stream:
        await stream.until("snapshot")
        done(await caller.post(f"/v1/sessions/{session_id}/messages", ASKED, wait=False), 202)
        *_, requested = await stream.until("client_call_requested")
        assert (requested.data["tool"], requested.data["said"]) == ("transfer", "One moment.")
        session = await caller.session(session_id)
        assert requested.data["turn_id"] == session["turns"][1]["id"]
        assert (await result_of(caller, session, "Nobody is there.", is_error=True))[0] == 200
        events = await stream.until("turn_completed")
    [closed] = [event.data for event in events if event.type == "client_call_closed"]
    assert (closed["outcome"], closed["turn_id"]) == ("failed", session["turns"][1]["id"])
    [result] = [event.data for event in events if event.type == "tool_call_result"]
    assert (result["error"], result["result"]) == ("tool_error", "Nobody is there.")
    assert types_of(events)[-1] == "turn_completed"


async def test_a_result_that_was_taken_is_taken_again_after_the_end(caller: Caller, scripted: Scripted) -> None:
    await caller.push(switchboard(scripted(CALL, TextReply("You are connected."), CALL).string))
    session_id = (await caller.open("switchboard"))["id"]
    waiting = await caller.say(session_id, **ASKED)
    assert (await result_of(caller, waiting, "Connected."))[0] == 200
    unanswered = await caller.say(session_id, **ASKED, on_busy="enqueue")
    ended = await caller.end(session_id)
    status, again = await result_of(caller, waiting, "Connected.")
    assert (status, again["turns"], again["is_completed"]) == (200, ended["turns"], True)
    for result in ("Another.", "Connected."):
        status, problem = await result_of(caller, waiting, result, is_error=result == "Connected.")
        assert (status, problem["code"]) == (409, "client_call_not_pending")
    status, problem = await result_of(caller, unanswered, "Connected.")
    assert (status, problem["code"]) == (410, "session_ended")
