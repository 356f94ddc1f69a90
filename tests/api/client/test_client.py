"""The Python client on the real stack: every example of its documentation runs and prints what it claims."""

import asyncio
import contextlib
import io
import re
from pathlib import Path

import pytest

from playhead_client import AsyncPlayhead, Session, TurnClosed
from tests.support.api_agents import library
from tests.support.running_api import Caller, RunningApi

PAGE = Path(__file__).parents[3] / "docs" / "client.md"
BOOKING_LINE = Path(__file__).parents[3] / "examples" / "agents" / "booking-line.yaml"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


async def test_the_examples_of_the_documentation_run(
    running_api: RunningApi, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = caller.http.headers["Authorization"].removeprefix("Bearer ")
    monkeypatch.setenv("PLAYHEAD_API_URL", running_api.url)
    monkeypatch.setenv("PLAYHEAD_API_KEY", key)
    async with AsyncPlayhead() as playhead:
        await playhead.agents.push(BOOKING_LINE.read_bytes())
    printed = await asyncio.to_thread(_run, EXAMPLES)
    assert "Hello Ada, this is Osteria Fiorella. How can I help you?" in printed
    assert "A table for four on Friday, please." in printed
    assert "completed at greet" in printed
    assert "the session is at revision " in printed
    assert "The session has ended" in printed
    assert len(EXAMPLES) == 6


async def test_a_session_reads_the_same_through_both_clients(running_api: RunningApi, caller: Caller) -> None:
    agent = await caller.push(library())
    key = caller.http.headers["Authorization"].removeprefix("Bearer ")
    async with AsyncPlayhead(running_api.url, key) as playhead:
        opened = await playhead.sessions.open(agent["name"])
        said = await playhead.sessions.send(opened.id, "Hello there.", message_id="m-1")
        again = await playhead.sessions.send(opened.id, "Hello there.", message_id="m-1")
        assert said.turns == again.turns
        assert said.turns == Session.model_validate(await caller.session(opened.id)).turns
        assert [turn.id async for turn in playhead.sessions.turns(opened.id)] == [t.id for t in said.turns[::-1]]
        assert [found.id async for found in playhead.sessions.list(agent=agent["name"])] == [opened.id]
        assert (await playhead.sessions.end(opened.id)).is_completed


async def test_a_session_is_followed_from_its_beginning_to_its_end(running_api: RunningApi, caller: Caller) -> None:
    await caller.push(library())
    key = caller.http.headers["Authorization"].removeprefix("Bearer ")
    async with AsyncPlayhead(running_api.url, key) as playhead:
        session = await playhead.sessions.open("library")
        await caller.recorded(session.id, turns=1)
        events = playhead.sessions.watch(session.id)
        snapshot = await anext(events)
        assert isinstance(snapshot.data, Session)
        spoken = [event async for event in playhead.sessions.stream(session.id, "Hello there.")]
        assert isinstance(spoken[-1].data, TurnClosed)
        assert spoken[-1].data.turn.assistant_message is not None
        assert spoken[-1].data.turn.assistant_message.text == "You said: Hello there."
        await playhead.sessions.end(session.id, reason="done")
        followed = [event async for event in events]
        assert [event.type for event in followed if event.id][-4:] == [
            "turn_started",
            "turn_completed",
            "session_end",
            "session_completed",
        ]
        replayed = [event async for event in playhead.sessions.watch(session.id, after=0)]
        assert [event.id for event in replayed if event.id] == [*range(1, len([e for e in replayed if e.id]) + 1)]
        assert replayed[-1].id == followed[-1].id


def _run(examples: list[str]) -> str:
    """Run the examples as one program; returns its output."""
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for example in examples:
            exec(compile(example, PAGE.name, "exec"), names)
    return printed.getvalue()
