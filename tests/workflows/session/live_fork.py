"""A fork of a live session: it shares earlier turns, and is billed for its own turn only."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

from domain.sessions.command_handlers import fork
from domain.turns.turn import Turn
from store.sessions.forks import ForkStore
from store.sessions.sessions import NewSession, SessionStore
from tests.support.session_stack import ORGANIZATION, SessionHandle
from tests.support.waiting import eventually


async def fork_and_talk(source: SessionHandle, path: list[str]) -> None:
    """Fork a session at the last turn of a path from its root, say something there, and end the fork."""
    turns = await eventually(partial(_recorded, source, path))
    forked = await _begun(source, turns)
    assert [turn.id for turn in (await forked.timeline()).turns] == path
    said = await forked.say("Another way")
    assert said.turn.parent_id == path[-1]
    if not said.head.is_completed:
        await forked.end()
    await forked.handle.result()
    [row] = await forked.billed(1)
    assert row.turn_id == said.turn.id


async def _recorded(source: SessionHandle, path: list[str]) -> list[Turn]:
    """The turns of the path, once all of them are closed in the store."""
    turns = await source.stored_turns(path[-1])
    is_whole = [turn.id for turn in turns] == path and all(turn.status != "pending" for turn in turns)
    return turns if is_whole else []


async def _begun(source: SessionHandle, turns: list[Turn]) -> SessionHandle:
    """The new session, stored and started as the API does it."""
    stack = source.stack
    stored = await SessionStore(stack.database).find(ORGANIZATION, source.id)
    assert stored is not None
    same = NewSession(**{field.name: getattr(stored, field.name) for field in fields(NewSession)})
    row = replace(same, id=f"ses_{uuid4().hex[:12]}", model="demo")
    await ForkStore(stack.database).create_once(row, source.id, turns)
    timeline = fork(turns, source.id, at=datetime.now(UTC))
    start = source.start.model_copy(update={"session_id": row.id, "model": row.model, "timeline": timeline})
    forked = SessionHandle(stack, start)
    await forked.begin()
    return forked
