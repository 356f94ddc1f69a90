"""Sessions that exceed Temporal's payload limit."""

import asyncio
from collections.abc import Callable

import pytest

from tests.support.api_agents import library
from tests.support.provider import ScriptedModel, TextReply
from tests.support.running_api import Caller, RunningApi, serving, texts

Scripted = Callable[..., ScriptedModel]

LONG = "x" * 31_000


async def test_a_large_conversation_is_read_by_many_at_once_through_several_apis(
    running_api: RunningApi, caller: Caller, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A payload stored for one API's query must not be read and deleted by another API."""
    monkeypatch.setattr("api.temporal.session_client.QUERY_SECONDS", 60.0)  # a busy machine must not read the record
    await caller.push(library(scripted(*(TextReply(LONG) for _ in range(10))).string))
    session_id = (await caller.open("library"))["id"]
    for number in range(10):
        await caller.say(session_id, f"{number}{LONG}")
    async with (
        serving(running_api.settings, running_api.client, running_api.database) as other,
        other.caller(caller.organization) as visitor,
    ):
        seen = await asyncio.gather(*(each.session(session_id) for each in (caller, visitor) * 10))
    assert len({session["as_of"] for session in seen}) == 20, "each answer is the session's own, none what was recorded"
    assert all(session["turns"] == seen[0]["turns"] for session in seen)
    assert [said for said, _ in texts(seen[0])][1:] == [f"{number}{LONG}" for number in range(10)]
