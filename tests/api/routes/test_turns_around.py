"""A session's turns around a turn of any branch, and the figures of branches, over HTTP."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from contracts.sessions import session_workflow_id
from tests.api.conftest import PRICED
from tests.support.api_agents import library
from tests.support.closed_sessions import closed
from tests.support.provider import ScriptedModel
from tests.support.running_api import Caller, Json, RunningApi, done, problem

Scripted = Callable[..., ScriptedModel]


async def talked(caller: Caller, *said: str, model: ScriptedModel | None = None) -> Json:
    """A session in which these messages were answered."""
    await caller.push(library(model.string if model else None))
    session = await caller.open("library")
    for text in said:
        session = await caller.say(session["id"], text)
    return session


def ids(turns: list[Json]) -> list[str]:
    return [turn["id"] for turn in turns]


async def test_turns_around_a_turn_are_those_of_its_own_branch(caller: Caller) -> None:
    before = await talked(caller, "One.", "Two.", "Three.", "Four.")
    path = f"/v1/sessions/{before['id']}/turns"
    turns = ids(before["turns"])
    page = done(await caller.get(path, around=turns[2], limit=3), 200)
    assert ids(page["items"]) == turns[1:4]
    older = done(await caller.get(path, cursor=page["next_cursor"]), 200)
    assert (ids(older["items"]), older["next_cursor"]) == (turns[:1], None)
    assert ids(done(await caller.get(path, around=turns[4], limit=2), 200)["items"]) == turns[3:]
    assert ids(done(await caller.get(path, around=turns[0], limit=2), 200)["items"]) == turns[:2]
    await caller.rewind(before["id"], turns[1])
    assert ids(done(await caller.get(path, around=turns[4], limit=2), 200)["items"]) == turns[3:], "past the cursor"
    after = await caller.say(before["id"], "Other.")
    await caller.recorded(before["id"], turns=6)
    discarded = done(await caller.get(path, around=turns[3], limit=50), 200)
    assert ids(discarded["items"]) == turns, "the discarded branch, with what it shares with the active one"
    shared = done(await caller.get(path, around=turns[1], limit=50), 200)
    assert ids(shared["items"]) == ids(after["turns"])
    problem(await caller.get(path, around="turn_unknown"), 404, "not_found")
    problem(await caller.get(path, around=turns[1], cursor=page["next_cursor"]), 400, "invalid_request")


async def test_a_branch_has_its_size_cost_and_beginning(
    caller: Caller, scripted: Scripted, running_api: RunningApi
) -> None:
    before = await talked(caller, "One.", "Two.", "Three.", model=scripted(name=PRICED))
    turns = before["turns"]
    await caller.rewind(before["id"], turns[1]["id"])
    after = await caller.say(before["id"], "Other.")
    [branch] = after["discarded_branches"]
    assert (branch["turn_count"], branch["head_turn_id"]) == (2, turns[2]["id"])
    assert Decimal(branch["cost"]["total"]) == sum(Decimal(turn["cost"]["total"]) for turn in turns[2:]) > 0
    [listed] = await caller.items(f"/v1/sessions/{before['id']}/branches")
    assert listed == branch
    await caller.end(before["id"])
    await caller.recorded(before["id"], turns=5)
    await closed(running_api.client, session_workflow_id(before["id"]))
    assert (await caller.session(before["id"]))["discarded_branches"] == [branch]


async def test_a_long_branch_is_counted_whole_when_it_is_read_from_the_store(
    caller: Caller, scripted: Scripted, running_api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.sessions.reader.MAX_BRANCH_TURNS", 2)
    before = await talked(caller, "One.", "Two.", "Three.", "Four.", model=scripted(name=PRICED))
    turns = before["turns"]
    await caller.rewind(before["id"], turns[0]["id"])
    after = await caller.say(before["id"], "Other.")
    [live] = after["discarded_branches"]
    await caller.end(before["id"])
    await caller.recorded(before["id"], turns=6)
    await closed(running_api.client, session_workflow_id(before["id"]))
    [recorded] = (await caller.session(before["id"]))["discarded_branches"]
    assert ids(recorded["turns"]) == ids(turns[-2:])
    for name in ("turn_count", "cost", "head_turn_id"):
        assert recorded[name] == live[name], name
    assert recorded["turn_count"] == 4


async def test_a_turn_shows_the_time_to_its_first_word(caller: Caller) -> None:
    session = await talked(caller, "One.")
    for turn in session["turns"]:
        assert 0 <= turn["usage"]["first_word_seconds"] <= turn["usage"]["duration_seconds"]
    assert "first_word_seconds" not in session["usage"]
