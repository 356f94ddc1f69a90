"""Sessions over HTTP: create, send, rewind, end and read."""

import re
from collections.abc import Callable

from api.schemas.responses import Session
from tests.support.api_agents import GREETING, library
from tests.support.provider import ScriptedModel, TextReply
from tests.support.running_api import Caller, done, problem, texts


async def test_a_session_opens_with_the_greeting(caller: Caller) -> None:
    agent = await caller.push(library())
    response = await caller.post(
        "/v1/sessions",
        {
            "agent": "library",
            "initial_context": {"time_of_day": "evening"},
            "annotations": {"ticket": "T-1"},
            "simulator": {"enabled": False, "config": {"goal": "Borrow a book."}},
        },
    )
    session = done(response, 201)
    assert response.headers["location"] == f"/v1/sessions/{session['id']}"
    assert texts(session) == [(None, "Good evening, this is the town library.")]
    assert session["status"] == "idle"
    assert session["revision"] == 2
    assert session["agent_id"] == agent["id"]
    assert session["agent_version"] == 1
    assert session["annotations"] == {"ticket": "T-1"}
    assert session["simulator"]["enabled"] is False
    assert session["simulator"]["config"]["goal"] == "Borrow a book."
    assert re.fullmatch(r"WR-TEXT-[A-Z0-9]{6}", session["name"])
    assert isinstance(session["workflow_run_id"], int)
    link = session["temporal"]
    assert link["workflow_id"] == f"session-{session['id']}"
    assert link["ui_url"] == (
        f"http://127.0.0.1:8233/namespaces/default/workflows/{link['workflow_id']}/{link['run_id']}/history"
    )


async def test_every_answer_has_the_form_of_the_contract(caller: Caller) -> None:
    await caller.push(library())
    opened = await caller.open("library")
    answered = await caller.say(opened["id"], "Hello")
    read = await caller.session(opened["id"])
    for shown in (opened, answered, read):
        assert set(shown) == set(Session.model_fields)
        assert Session.model_validate(shown).model_dump(mode="json") == shown


async def test_a_message_is_answered_with_the_session_after_the_reply(
    caller: Caller, scripted: Callable[..., ScriptedModel]
) -> None:
    model = scripted(TextReply("Which book?"))
    await caller.push(library(model.string))
    opened = await caller.open("library")
    session = await caller.say(opened["id"], "I want a book", message_id="m-1")
    assert texts(session) == [(None, GREETING), ("I want a book", "Which book?")]
    turn = session["turns"][1]
    assert turn["parent_id"] == opened["turns"][0]["id"]
    assert turn["user_message"]["message_id"] == "m-1"
    billed_as = f"openai:{model.name}"
    assert turn["usage"]["llm"] == {
        billed_as: {
            "prompt_tokens": 11,
            "completion_tokens": 7,
            "total_tokens": 18,
            "cache_read_input_tokens": 0,
            "cache_creation_input_tokens": 0,
            "requests": 1,
        }
    }
    assert turn["cost"] == {"currency": "USD", "total": "0", "breakdown": {}, "unpriced_models": [billed_as]}
    assert "checkpoint" not in turn
    assert session["revision"] == 4


async def test_a_rewound_session_goes_on_on_another_branch(caller: Caller) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    first = await caller.say(session_id, "One")
    second = await caller.say(session_id, "Two")
    rewound = await caller.rewind(session_id, first["turns"][-1]["id"])
    assert rewound["status"] == "rewound"
    assert rewound["cursor_turn_id"] == first["turns"][-1]["id"]
    assert [turn["id"] for turn in rewound["turns"]] == [turn["id"] for turn in first["turns"]]
    other = await caller.say(session_id, "Three")
    assert [said for said, _ in texts(other)] == [None, "One", "Three"]
    (branch,) = other["discarded_branches"]
    assert set(branch) == {"id", "rewound_from_turn_id", "discarded_at", "turns", "turn_count", "head_turn_id", "cost"}
    assert (branch["turn_count"], branch["head_turn_id"]) == (1, second["turns"][-1]["id"])
    assert branch["cost"] == second["turns"][-1]["cost"]
    assert branch["rewound_from_turn_id"] == first["turns"][-1]["id"]
    assert [turn["id"] for turn in branch["turns"]] == [second["turns"][-1]["id"]]
    assert await caller.items(f"/v1/sessions/{session_id}/branches") == [branch]


async def test_rewinding_before_the_first_turn_and_back(caller: Caller) -> None:
    await caller.push(library())
    opened = await caller.open("library")
    before = await caller.rewind(opened["id"], opened["turns"][0]["id"], before=True)
    assert before["turns"] == []
    assert before["cursor_turn_id"] is None
    assert before["status"] == "rewound"
    back = await caller.rewind(opened["id"], None)
    assert texts(back) == [(None, GREETING)]
    assert back["status"] == "idle"


async def test_ending_an_ended_session_changes_nothing(caller: Caller) -> None:
    await caller.push(library())
    opened = await caller.open("library")
    path = f"/v1/sessions/{opened['id']}/end"
    ended = done(await caller.post(path, {"reason": "wrong number"}), 200)
    assert ended["status"] == "completed"
    assert ended["is_completed"]
    assert ended["completion_reason"] == "wrong number"
    again = done(await caller.post(path, {"reason": "another", "expected_revision": 0}), 200)
    for key in ("revision", "completion_reason", "status", "updated_at"):
        assert again[key] == ended[key]
    problem(await caller.post(f"/v1/sessions/{opened['id']}/messages", {"text": "Hello?"}), 410, "session_ended")
    problem(await caller.post(f"/v1/sessions/{opened['id']}/rewind", {"turn_id": None}), 410, "session_ended")


async def test_limits_of_the_request_replace_those_of_the_agent(caller: Caller) -> None:
    await caller.push(library(limits={"max_turns": 50}))
    opened = await caller.open("library", limits={"max_turns": 2})
    last = await caller.say(opened["id"], "Hello")
    assert last["completion_reason"] == "max_turns"


async def test_a_session_opened_without_a_wait_greets_too(caller: Caller) -> None:
    await caller.push(library())
    response = await caller.post("/v1/sessions", {"agent": "library"}, wait=False)
    session = done(response, 202)
    assert session["status"] == "pending_assistant_turn"
    assert session["turns"] == []
    assert session["current_node_id"] == "desk"
    spoken_to = await caller.say(session["id"], "Hello", on_busy="enqueue")
    assert texts(spoken_to)[0] == (None, GREETING)


async def test_an_agent_can_be_named_by_id_name_and_version(caller: Caller) -> None:
    agent = await caller.push(library())
    await caller.push(library(prompt="You speak for another library."))
    for wanted, version in (
        ("library", 2),
        (agent["id"], 2),
        ({"id": "library", "version": 1}, 1),
        ({"id": agent["id"]}, 2),
    ):
        session = done(await caller.post("/v1/sessions", {"agent": wanted}), 201)
        assert session["agent_version"] == version
    problem(await caller.post("/v1/sessions", {"agent": "nobody"}), 404, "not_found")
    missing = problem(await caller.post("/v1/sessions", {"agent": {"id": "library", "version": 3}}), 404, "not_found")
    assert "library, version 3" in missing["detail"]


async def test_sessions_are_listed_newest_first_and_filtered(caller: Caller) -> None:
    await caller.push(library())
    await caller.push(library(name="other"))
    first = await caller.open("library", name="First")
    second = await caller.open("library", name="Second")
    third = await caller.open("other", name="Third")
    await caller.end(second["id"])
    for session in (first, second, third):
        await caller.recorded(session["id"], turns=1)

    async def names(**query: object) -> list[str]:
        return [item["name"] for item in await caller.items("/v1/sessions", limit=1, **query)]

    assert await names() == ["Third", "Second", "First"]
    assert await names(agent="library") == ["Second", "First"]
    assert await names(agent=third["agent_id"]) == ["Third"]
    await caller.push(library(prompt="Be brief."))
    newer = await caller.open("library", name="Fourth")
    await caller.recorded(newer["id"], turns=1)
    assert await names(agent="library", agent_version=1) == ["Second", "First"]
    assert await names(agent="library", agent_version=2) == ["Fourth"]
    assert await names(agent="library", agent_version=3) == []
    problem(await caller.get("/v1/sessions", agent_version=0), 422, "validation_error")
    assert await names(status="completed") == ["Second"]
    assert await names(created_after=second["created_at"]) == ["Fourth", "Third"]
    assert await names(suite="sui_none") == []
    (item,) = await caller.items("/v1/sessions", agent="other")
    assert set(item) == set(Session.model_fields) - {"turns", "discarded_branches", "turns_before"}
    problem(await caller.get("/v1/sessions", cursor="bm90IG9uZQ"), 400, "invalid_request")
