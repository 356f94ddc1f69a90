"""The Python client on the real stack: cancel, edit, regenerate, restore and fork."""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from playhead_client import AsyncPlayhead, ReplyDelta, TurnClosed, TurnNotPending
from tests.support.api_agents import library
from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.running_api import Caller, RunningApi

Scripted = Callable[..., ScriptedModel]


@pytest_asyncio.fixture
async def playhead(running_api: RunningApi, caller: Caller) -> AsyncIterator[AsyncPlayhead]:
    key = str(caller.http.headers["Authorization"]).removeprefix("Bearer ")
    async with AsyncPlayhead(running_api.url, key) as client:
        yield client


async def test_a_streaming_reply_can_be_stopped(playhead: AsyncPlayhead, caller: Caller, scripted: Scripted) -> None:
    await caller.push(library(scripted(TextReply("We open at nine, always.", gate=Gate())).string))
    session = await playhead.sessions.open("library")
    reply_stream = playhead.sessions.stream(session.id, "When do you open?")
    async for event in reply_stream:
        if isinstance(event.data, ReplyDelta):
            break
    stopped = await playhead.sessions.cancel(session.id)
    assert stopped.newest is not None
    assert stopped.newest.status == "interrupted"
    *_, last = [event async for event in reply_stream]
    assert last.type == "turn_interrupted"
    assert isinstance(last.data, TurnClosed)
    assert stopped.reply == "We open at n"
    with pytest.raises(TurnNotPending):
        await playhead.sessions.cancel(session.id)


async def test_a_session_is_edited_regenerated_restored_and_forked(
    playhead: AsyncPlayhead, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(TextReply("One."), TextReply("Two."), TextReply("Three."), TextReply("Elsewhere."))
    await caller.push(library(model.string))
    session = await playhead.sessions.open("library")
    said = await playhead.sessions.send(session.id, "First")
    assert said.newest is not None
    edited = await playhead.sessions.edit(session.id, said.newest.id, "Second", message_id="edit-1")
    again = await playhead.sessions.edit(session.id, said.newest.id, "Second", message_id="edit-1")
    assert (edited.reply, again.turns) == ("Two.", edited.turns)
    assert edited.newest is not None
    answered = await playhead.sessions.regenerate(session.id, edited.newest.id)
    assert answered.reply == "Three."
    branches = [branch async for branch in playhead.sessions.branches(session.id)]
    assert [branch.turns[-1].assistant_message.text for branch in branches if branch.turns[-1].assistant_message] == [
        "Two.",
        "One.",
    ]
    restored = await playhead.sessions.restore(session.id, branches[-1].id, expected_revision=answered.revision)
    assert restored.reply == "One."
    forked = await playhead.sessions.fork(session.id, turn_id=said.newest.id, name="another way")
    assert (forked.name, forked.reply) == ("another way", "One.")
    assert (await playhead.sessions.send(forked.id, "Third")).reply == "Elsewhere."
    assert (await playhead.sessions.get(session.id)).reply == "One."
