"""The steps of a turn over HTTP: the requests that the provider received, reconstructed."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import func, select, update

from store.database.connection import Database
from store.database.tables import steps
from tests.support.api_agents import library
from tests.support.provider import ProviderRequest, ScriptedModel, TextReply, ToolCallReply
from tests.support.running_api import Caller, Json, RunningApi, done, problem

Scripted = Callable[..., ScriptedModel]
TO_VISIT = ToolCallReply("to_visit", text="One moment.")


def visitors(model: ScriptedModel) -> Json:
    """A library whose desk extracts a variable, and sends visitors on."""
    agent = library(model.string)
    agent["context"] = {"time_of_day": "morning", "first_name": None}
    agent["prompt"] = "You speak for the town library 📚 to {{first_name | a visitor}}, in the {{time_of_day}}."
    agent["nodes"] |= {
        "desk": {
            "prompt": "Find out what {{initial_context.first_name}} wants.",
            "greeting": "Good {{time_of_day}}.",
            "extract": [{"name": "guests", "type": "number", "hint": "how many come"}],
            "transitions": [
                {"name": "to_visit", "when": "the visitor wants to come", "to": "visit"},
                {"name": "farewell", "when": "the visitor leaves", "to": "goodbye"},
            ],
        },
        "visit": {"prompt": "Plan the visit of {{guests}} people.", "transitions": []},
    }
    return agent


async def visited(caller: Caller, scripted: Scripted) -> tuple[ScriptedModel, str, Json]:
    """A session in which one turn took three model calls: a transition, an extraction and the reply."""
    model = scripted()
    await caller.push(visitors(model))
    session = await caller.open("library", initial_context={"first_name": "Ada"})
    await caller.say(session["id"], "May we come?")
    # Scripted only now: a worker's first model call may be slow and be repeated.
    model.script(TO_VISIT, ToolCallReply("record_variables", '{"guests": 4}'), TextReply("Four, then."))
    session = await caller.say(session["id"], "Four of us.")
    return model, session["id"], session["turns"][-1]


def as_sent(asked: ProviderRequest) -> dict[str, Any]:
    """The request that the provider received, in the form of a step's request."""
    system, *messages = asked.body["messages"]
    return {
        "instructions": system["content"],
        "messages": [(each["role"], each.get("content") or "") for each in messages],
        "tools": [each["function"]["name"] for each in asked.body.get("tools", [])],
    }


def as_shown(step: Json) -> dict[str, Any]:
    request = step["request"]
    return {
        "instructions": request["instructions"],
        "messages": [(each["role"], each["content"]) for each in request["messages"]],
        "tools": [each["name"] for each in request["tools"]],
    }


def marked(step: Json) -> list[tuple[str, str, str]]:
    """The marked places of a step's instructions: the text, the variable and its source."""
    units = step["request"]["instructions"].encode("utf-16-le")
    return [
        (units[2 * each["start"] : 2 * each["end"]].decode("utf-16-le"), each["name"], each["source"])
        for each in step["request"]["variables"]
    ]


async def test_a_step_shows_the_request_that_the_provider_received(caller: Caller, scripted: Scripted) -> None:
    model, session_id, turn = await visited(caller, scripted)
    found = await caller.items(f"/v1/sessions/{session_id}/turns/{turn['id']}/steps", limit=2)
    assert [(step["index"], step["purpose"]) for step in found] == [(0, "turn"), (1, "extraction"), (2, "turn")]
    assert [as_shown(step) for step in found] == [as_sent(asked) for asked in model.journal[-3:]]
    assert [step["fidelity"] for step in found] == ["exact"] * 3
    assert len({step["digest"] for step in found}) == 3
    first, extraction, last = found
    assert marked(first) == [
        ("Ada", "first_name", "initial_context"),
        ("morning", "time_of_day", "agent_default"),
        ("Ada", "initial_context.first_name", "initial_context"),
    ]
    assert marked(last)[-1] == ("4", "guests", "gathered_context")
    assert [(tool["name"], tool["kind"], tool["to"]) for tool in first["request"]["tools"]] == [
        ("to_visit", "transition", "visit"),
        ("farewell", "transition", "goodbye"),
    ]
    assert first["reply"]["tool_calls"][0]["name"] == "to_visit"
    assert first["reply"]["raw"]["parts"]
    assert "provider_url" not in first["reply"]["raw"]
    assert extraction["reply"]["tool_calls"][0]["arguments"] == {"guests": 4}
    new = [each["content"] for each in first["request"]["messages"] if each["is_new"]]
    assert new == ["Four of us."]
    assert first["request"]["messages"][-1]["turn_id"] == turn["id"]
    assert {step["attempts"] for step in found} == {1}
    assert last["reply"]["text"] == "Four, then."
    assert 0 <= last["first_word_seconds"] <= last["seconds"]
    assert last["usage"]["prompt_tokens"] == 11
    assert first["started_at"] <= extraction["started_at"] <= last["started_at"]


async def test_a_frame_is_stored_once_and_copied_into_forks(
    caller: Caller, scripted: Scripted, running_api: RunningApi
) -> None:
    await caller.push(library(scripted().string))
    session_id = (await caller.open("library"))["id"]
    for text in ("One.", "Two.", "Three."):
        session = await caller.say(session_id, text)
    database = Database.open(running_api.settings.database_url)
    counted = select(func.count(steps.c.sent), func.count(steps.c.frame)).where(steps.c.session_id == session_id)
    assert tuple(await database.read(lambda connection: connection.execute(counted).one())) == (3, 1)
    turn_id = session["turns"][-1]["id"]
    [shown] = await caller.items(f"/v1/sessions/{session_id}/turns/{turn_id}/steps")
    assert shown["fidelity"] == "exact"
    fork = done(await caller.post(f"/v1/sessions/{session_id}/fork", {}), 201)
    assert await caller.items(f"/v1/sessions/{fork['id']}/turns/{turn_id}/steps") == [shown]
    forgotten = update(steps).where(steps.c.session_id == session_id).values(frame=None, frame_digest=None, sent=None)
    await database.write(lambda connection: connection.execute(forgotten).close())
    [rebuilt] = await caller.items(f"/v1/sessions/{session_id}/turns/{turn_id}/steps")
    assert (rebuilt["fidelity"], rebuilt["digest"]) == ("rebuilt", None)
    assert as_shown(rebuilt) == as_shown(shown)
    changed = update(steps).where(steps.c.session_id == fork["id"], steps.c.step == 0).values(messages="[]")
    await database.write(lambda connection: connection.execute(changed).close())
    [differs] = await caller.items(f"/v1/sessions/{fork['id']}/turns/{turn_id}/steps")
    assert differs["fidelity"] == "rebuilt", "the digest shows that the messages are no longer those that were sent"
    await database.aclose()


async def test_steps_are_those_of_the_callers_own_turns(
    caller: Caller, scripted: Scripted, running_api: RunningApi
) -> None:
    await caller.push(library(scripted().string))
    session = await caller.say((await caller.open("library"))["id"], "One.")
    greeting, turn = (f"/v1/sessions/{session['id']}/turns/{each['id']}/steps" for each in session["turns"])
    assert await caller.items(greeting) == [], "a greeting without a model call"
    problem(await caller.get(turn, cursor="unknown"), 400, "invalid_request")
    problem(await caller.get(f"/v1/sessions/{session['id']}/turns/turn_unknown/steps"), 404, "not_found")
    async with running_api.caller() as stranger:
        problem(await stranger.get(turn), 404, "not_found")


async def test_a_step_says_how_much_of_the_conversation_it_held(caller: Caller, scripted: Scripted) -> None:
    model = scripted()
    model.window = 100_000
    await caller.push({**library(model.string), "max_context_tokens": 1_000})
    session = await caller.open("library")
    for number in range(8):
        session = await caller.say(session["id"], f"{number} " + "word " * 60)
    shown = [
        (await caller.items(f"/v1/sessions/{session['id']}/turns/{turn['id']}/steps"))[0]
        for turn in session["turns"][1:]
    ]
    assert [as_shown(step) for step in shown] == [as_sent(asked) for asked in model.journal]
    assert [step["fidelity"] for step in shown] == ["exact"] * 8
    contexts = [step["request"]["context"] for step in shown]
    assert [each["turns"] + each["turns_left_out"] for each in contexts] == list(range(8))
    assert (contexts[0]["turns_left_out"], contexts[0]["counted_by"]) == (0, "estimate")
    assert contexts[-1]["turns_left_out"] > 0
    assert (contexts[-1]["counted_by"], contexts[-1]["max_tokens"]) == ("provider", 1_000)


async def test_a_message_that_has_no_room_in_the_window_says_so(caller: Caller, scripted: Scripted) -> None:
    model = scripted()
    model.window = 500
    await caller.push(library(model.string))
    session = await caller.open("library")
    response = await caller.post(f"/v1/sessions/{session['id']}/messages", {"text": "word " * 900})
    refused = problem(response, 502, "model_failed")
    assert refused["reason"] == "context_too_long"
    assert refused["turn"]["events"][-1]["payload"]["code"] == "context_too_long"
    completion = {"model": "library", "messages": [{"role": "user", "content": "word " * 900}]}
    response = await caller.post("/v1/chat/completions", completion)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "context_length_exceeded")
