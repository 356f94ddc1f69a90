"""Comparison of branches over HTTP: live, after the end, and with turns beyond the view."""

import pytest

from domain.sessions import branch_diff
from tests.support.api_agents import library
from tests.support.closed_sessions import cut_views, forgotten
from tests.support.running_api import Caller, Json, RunningApi, done, problem


async def compared(caller: Caller, session_id: str, a: str, b: str) -> Json:
    return done(await caller.get(f"/v1/sessions/{session_id}/branches/compare", a=a, b=b), 200)


def said(side: Json) -> list[str]:
    return [turn["user_message"]["text"] for turn in side["turns"]]


async def branched(caller: Caller) -> tuple[Json, str, str]:
    """A session that went from its greeting to one, two; from one to three; and from the greeting to four, five."""
    await caller.push(library())
    opened = await caller.open("library")
    session_id = opened["id"]
    one = (await caller.say(session_id, "One"))["turns"][-1]["id"]
    await caller.say(session_id, "Two")
    await caller.rewind(session_id, one)
    await caller.say(session_id, "Three")
    await caller.rewind(session_id, opened["turns"][0]["id"])
    await caller.say(session_id, "Four")
    session = await caller.say(session_id, "Five")
    older, newer = [branch["id"] for branch in session["discarded_branches"]]
    return session, older, newer


async def test_branches_are_compared_with_the_active_one_and_with_each_other(caller: Caller) -> None:
    session, older, newer = await branched(caller)
    found = await compared(caller, session["id"], older, "active")
    assert (found["common_turns"], found["last_common_turn"]) == (1, session["turns"][0])
    assert (found["a"]["branch"], said(found["a"])) == (older, ["One", "Two"])
    assert (found["b"]["branch"], found["b"]["turns"]) == ("active", session["turns"][1:])
    assert (found["a"]["turns_after"], found["b"]["turns_after"]) == (0, 0)

    found = await compared(caller, session["id"], newer, older)
    assert (found["common_turns"], found["last_common_turn"]["user_message"]["text"]) == (2, "One")
    assert (said(found["a"]), said(found["b"])) == (["Three"], ["Two"])


async def test_a_branch_is_the_same_as_itself(caller: Caller) -> None:
    session, older, _ = await branched(caller)
    for branch, turns in (("active", 3), (older, 3)):
        found = await compared(caller, session["id"], branch, branch)
        assert (found["common_turns"], found["a"]["turns"], found["b"]["turns"]) == (turns, [], [])


async def test_branches_without_a_turn_in_common_are_compared_from_their_openings(caller: Caller) -> None:
    await caller.push(library())
    opened = await caller.open("library")
    await caller.rewind(opened["id"], opened["turns"][0]["id"], before=True)
    session = await caller.say(opened["id"], "Hello")
    found = await compared(caller, opened["id"], session["discarded_branches"][0]["id"], "active")
    assert (found["common_turns"], found["last_common_turn"]) == (0, None)
    assert (found["a"]["turns"], found["b"]["turns"]) == (opened["turns"], session["turns"])


async def test_a_comparison_is_the_same_live_and_after_temporal_has_forgotten_the_session(
    running_api: RunningApi, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live views are cut to one turn here, so that a part of each path has to come from the store."""
    session, older, newer = await branched(caller)
    cut_views(monkeypatch, 1)
    await caller.recorded(session["id"], turns=6)
    pairs = ((older, "active"), (newer, older))
    live = [await compared(caller, session["id"], *pair) for pair in pairs]
    assert [said(each["a"]) for each in live] == [["One", "Two"], ["Three"]]
    await caller.end(session["id"])
    await forgotten(running_api.client, f"session-{session['id']}")
    ended = [await compared(caller, session["id"], *pair) for pair in pairs]
    assert [each["a"] for each in ended] == [each["a"] for each in live]
    assert said(ended[0]["b"]) == said(live[0]["b"]) == ["Four", "Five"]


async def test_a_long_side_is_cut_and_counted(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branch_diff, "MAX_COMPARED_TURNS", 1)
    session, older, _ = await branched(caller)
    found = await compared(caller, session["id"], older, "active")
    assert (said(found["a"]), found["a"]["turns_after"]) == (["One"], 1)
    assert (said(found["b"]), found["b"]["turns_after"]) == (["Four"], 1)


async def test_an_unknown_branch_is_not_found(running_api: RunningApi, caller: Caller) -> None:
    session, older, _ = await branched(caller)
    path = f"/v1/sessions/{session['id']}/branches/compare"
    problem(await caller.get(path, a="br_000000000000", b="active"), 404, "not_found")
    problem(await caller.get(path, a="active", b="br_000000000000"), 404, "not_found")
    problem(await caller.get(path), 422, "validation_error")
    async with running_api.caller() as another:
        problem(await another.get(path, a=older), 404, "not_found")
