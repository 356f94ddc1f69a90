"""A session whose claim in the store takes so long that its workflow task is renewed.

A replay delivers the task and its renewal as one, with the time of the renewal.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio import activity
from temporalio.api.enums.v1 import EventType

from contracts.recovery import ClaimSessionInput, ClaimSessionResult
from contracts.sessions import Timing
from domain.sessions.caller_config import SimulatorConfig
from tests.support.activities import session_activities
from tests.support.agents import CLERK
from tests.support.provider import ScriptedModel, ToolCallReply
from tests.support.session_stack import QUICK, SessionHandle, SessionStack, replay_all, session_worker
from tests.support.waiting import eventually
from workflows.session.workflow import SessionWorkflow

Scripted = Callable[..., ScriptedModel]

TASK_TIMEOUT = timedelta(seconds=1)
"""A workflow task is renewed when most of this has passed in a local activity."""


async def test_a_simulated_session_is_replayed_alike(stack_without_worker: SessionStack, scripted: Scripted) -> None:
    stack = stack_without_worker
    caller = SimulatorConfig(
        goal="Borrow a book.", model=scripted(ToolCallReply("hang_up", '{"reason": "done"}')).string
    )
    # The greeting may wait to be settled for less time than the claim lasts.
    timing = QUICK.model_copy(update={"settle_unattended_within": 0.1})
    async with slowly_claimed(stack, model="demo", timing=timing, caller=caller) as session:
        await session.handle.result()
    await replay_all(stack.client, stack.database, stack.task_queue)


async def test_a_session_settled_by_its_start_time_is_replayed_alike(
    stack_without_worker: SessionStack, scripted: Scripted
) -> None:
    stack = stack_without_worker
    # The time from the beginning of the session to its first reply is longer, the time from the renewal is shorter.
    timing = QUICK.model_copy(update={"settle_within": 0.6 * TASK_TIMEOUT.total_seconds()})
    async with slowly_claimed(stack, model=scripted().string, timing=timing) as session:
        await session.until_settled()
        await session.say("Hello")
        await session.end()
        await session.handle.result()
    await replay_all(stack.client, stack.database, stack.task_queue)


@asynccontextmanager
async def slowly_claimed(
    stack: SessionStack, *, model: str, timing: Timing, caller: SimulatorConfig | None = None
) -> AsyncIterator[SessionHandle]:
    """A session whose claim has just outlived a workflow task, with its worker."""
    is_renewed = asyncio.Event()

    @activity.defn(name="claim_session")
    async def claim_slowly(_: ClaimSessionInput) -> ClaimSessionResult:
        await is_renewed.wait()
        return ClaimSessionResult()

    others = [each for each in session_activities(stack.database) if each.__name__ != "claim_session"]
    session = await stack.prepare(CLERK, model=model)
    session.start = session.start.model_copy(update={"simulator": caller, "timing": timing})
    async with session_worker(stack, [claim_slowly, *others]):
        await stack.client.start_workflow(
            SessionWorkflow.run,
            session.start,
            id=session.workflow_id,
            task_queue=stack.task_queue,
            task_timeout=TASK_TIMEOUT,
        )
        await eventually(lambda: _is_renewed(session))
        is_renewed.set()
        yield session


async def _is_renewed(session: SessionHandle) -> bool:
    """True once the history has a second workflow task."""
    started = EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED
    return [event.event_type for event in await session.events()].count(started) > 1
