"""Heartbeats of a worker as `playhead worker` builds it: each is billed by Temporal Cloud, so they can be fewer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from temporalio.client import Client

from playhead.config.settings import Settings
from playhead.services.worker import build_worker
from store.database.connection import Database
from tests.support.activities import CREDENTIALS
from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.session_stack import QUICK, SessionHandle, SessionStack
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

PATIENT = QUICK.model_copy(update={"heartbeat": 30.0})


@asynccontextmanager
async def stack_with(client: Client, database: Database, name: str, **settings: float) -> AsyncIterator[SessionStack]:
    """A worker as `playhead worker` builds it, with these settings."""
    stack = SessionStack.on(client, database, f"sessions-{name}")
    own = Settings.model_validate(
        {
            "database_url": database.address,
            "task_queue": stack.task_queue,
            "credentials": CREDENTIALS,
            "shutdown_grace_seconds": 0.1,
            **settings,
        }
    )
    async with build_worker(own, client, database):
        yield stack


async def heartbeat_of(session: SessionHandle) -> datetime | None:
    """The time of the newest heartbeat of the model call under way."""
    (call,) = (await session.handle.describe()).raw_description.pending_activities
    return call.last_heartbeat_time.ToDatetime() if call.HasField("last_heartbeat_time") else None


async def test_a_worker_sends_heartbeats_at_the_configured_interval(
    client: Client, database: Database, scripted: Scripted
) -> None:
    """While one worker sends three, the other sends its first only."""
    seen: dict[str, list[datetime]] = {"usual": [], "seldom": []}
    gates = [Gate(), Gate()]
    async with (
        stack_with(client, database, "usual") as usual,
        stack_with(client, database, "seldom", heartbeat_interval_seconds=60) as seldom,
    ):
        sessions, saying = {}, []
        for name, stack, gate in zip(seen, (usual, seldom), gates, strict=True):
            model = scripted(TextReply("Wait.", gate=gate))
            sessions[name] = await stack.open(model=model.string, timing=PATIENT)
            saying.append(asyncio.create_task(sessions[name].say("How late is it?")))
            await gate.reached()

        async def three_were_sent() -> bool:
            for name, session in sessions.items():
                newest = await heartbeat_of(session)
                if newest is not None and newest not in seen[name]:
                    seen[name].append(newest)
            return len(seen["usual"]) >= 3 and bool(seen["seldom"])

        await eventually(three_were_sent)
        for gate in gates:
            gate.open()
        await asyncio.gather(*saying)
    assert len(seen["seldom"]) == 1
