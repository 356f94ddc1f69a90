"""Histories that no session has, with an agent that accepts them: the session begins with imported turns."""

import asyncio
from collections.abc import Callable

import httpx2
import pytest

from tests.api.openai.talking import assistant, user
from tests.support.api_agents import library
from tests.support.provider import ScriptedModel, TextReply
from tests.support.running_api import Caller, Json, done, texts

Scripted = Callable[..., ScriptedModel]

HISTORY = [assistant("Welcome!"), user("A table, please."), assistant("For how many?")]


def accepting(model: ScriptedModel) -> Json:
    return {**library(model.string), "history": "accept"}


async def send(caller: Caller, *messages: object, headers: dict[str, str] | None = None) -> httpx2.Response:
    body = {"model": "library", "messages": messages}
    return await caller.http.post("/v1/chat/completions", json=body, headers=headers)


async def test_an_unknown_history_begins_a_session_whose_turns_are_imported_and_cost_nothing(
    caller: Caller, visitor: Caller, scripted: Scripted
) -> None:
    model = scripted(TextReply("At what time?"), TextReply("Until then."), TextReply("At six, then."))
    await caller.push(accepting(model))
    first = done(await send(caller, *HISTORY, user("Four.")), 200)
    assert model.journal[0].conversation[-4:] == [
        ("assistant", "Welcome!"),
        ("user", "A table, please."),
        ("assistant", "For how many?"),
        ("user", "Four."),
    ]
    history = [*HISTORY, user("Four."), assistant("At what time?")]
    second = done(await send(visitor, *history, user("At eight.")), 200)
    assert second["session_id"] == first["session_id"]
    session = await caller.session(first["session_id"])
    assert texts(session) == [
        (None, "Welcome!"),
        ("A table, please.", "For how many?"),
        ("Four.", "At what time?"),
        ("At eight.", "Until then."),
    ]
    assert [turn["imported"] for turn in session["turns"]] == [True, True, False, False]
    rows = await caller.recorded(session["id"], turns=2)
    assert {row["turn_id"] for row in rows} == {turn["id"] for turn in session["turns"][2:]}
    edited = done(await send(caller, *history, user("At six.")), 200)
    assert edited["session_id"] == session["id"]
    assert model.journal[-1].conversation[-1] == ("user", "At six.")
    assert model.journal[-1].conversation[:-1] == [*model.journal[0].conversation, ("assistant", "At what time?")]


async def test_clients_that_begin_with_the_same_history_each_get_a_session(
    caller: Caller, visitor: Caller, scripted: Scripted
) -> None:
    """An edit of an imported message is the same request as the beginning of another conversation."""
    model = scripted()
    await caller.push(accepting(model))
    beginning = [*HISTORY, user("Four."), assistant("At what time?")]
    histories = [[*beginning, user("At six.")], [*beginning, user("At eight.")], [*HISTORY, user("Two.")]]
    sessions = [done(await send(caller, *history), 200)["session_id"] for history in histories]
    assert len(set(sessions)) == 3
    for session_id, history in zip(sessions, histories, strict=True):
        said = assistant(f"You said: {history[-1]['content']}")
        again = done(await send(visitor, *history, said, user("Thanks.")), 200)
        assert again["session_id"] == session_id
        assert (await caller.session(session_id))["discarded_branches"] == []


@pytest.mark.parametrize("header", [None, "X-Session-Id", "X-OpenWebUI-Chat-Id"])
async def test_an_edit_of_an_imported_message_creates_a_branch_in_the_named_session(
    caller: Caller, scripted: Scripted, header: str | None
) -> None:
    model = scripted()
    await caller.push(accepting(model))
    named = {} if header is None else {header: "mine"}
    beginning = [*HISTORY, user("Four."), assistant("At what time?")]
    first = done(await send(caller, *beginning, user("At eight."), headers=named), 200)
    named = named or {"X-Session-Id": first["session_id"]}
    edited = done(await send(caller, *HISTORY, user("Two."), headers=named), 200)
    assert edited["session_id"] == first["session_id"]
    session = await caller.session(first["session_id"])
    assert texts(session)[1:] == [("A table, please.", "For how many?"), ("Two.", "You said: Two.")]
    (branch,) = session["discarded_branches"]
    assert [turn["imported"] for turn in branch["turns"]] == [True, False]
    assert model.journal[-1].conversation[-4:] == [
        ("assistant", "Welcome!"),
        ("user", "A table, please."),
        ("assistant", "For how many?"),
        ("user", "Two."),
    ]


async def test_one_key_or_one_id_begins_one_session_at_two_apis(
    caller: Caller, visitor: Caller, scripted: Scripted
) -> None:
    model = scripted(TextReply("At what time?"), TextReply("At what time?"))
    await caller.push(accepting(model))
    key = {"Idempotency-Key": "k-1"}
    answers = await asyncio.gather(*(send(each, *HISTORY, user("Four."), headers=key) for each in (caller, visitor)))
    assert len({done(answer, 200)["id"] for answer in answers}) == 1
    named = [
        done(await send(each, *HISTORY, user("Four."), headers={"X-Session-Id": "mine"}), 200)
        for each in (caller, visitor)
    ]
    assert len({answer["session_id"] for answer in named}) == 1


async def test_a_history_that_is_too_long_is_refused_and_begins_nothing(caller: Caller, scripted: Scripted) -> None:
    await caller.push(accepting(scripted()))
    refused = done(await send(caller, user("x" * 20_000), assistant("Yes."), user("More")), 413)
    assert refused["error"]["code"] == "too_large"
    assert await caller.items("/v1/sessions") == []
