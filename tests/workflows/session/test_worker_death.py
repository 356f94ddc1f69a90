"""Workers killed in the middle of a step: another one continues, and paid replies are not bought again."""

import asyncio
import signal
from collections.abc import Callable

from temporalio.worker import Worker

from contracts.sessions import GenerateStepResult
from tests.support.activities import session_activities
from tests.support.provider import Gate, Says, ScriptedModel
from tests.support.session_stack import QUICK, SessionHandle, SessionStack, session_worker, spoken
from tests.support.waiting import eventually
from tests.workflows.session.killable_worker import KillPoint, killable_worker

WITHIN_A_HEARTBEAT = 15.0
"""Seconds on a busy machine; the transaction itself may take twice as long before it counts as failed."""
Scripted = Callable[..., ScriptedModel]

SOON_MISSED = QUICK.model_copy(update={"heartbeat": 5.0})
"""A dead worker is noticed after five seconds; a living one is not silent for so long, however busy the machine is."""


async def test_a_step_that_was_saved_before_its_worker_died_is_not_bought_again(
    stack_without_worker: SessionStack, scripted: Scripted
) -> None:
    model = scripted(Says("At nine."), Says("Bought twice!"))
    session = await settled_session(stack_without_worker, model)
    async with session_worker(stack_without_worker, activities=[]):
        saying = asyncio.create_task(session.say("When do you open?"))
        async with killable_worker(
            stack_without_worker.client,
            stack_without_worker.task_queue,
            stack_without_worker.database,
            kill_at=KillPoint("after", "generate_step"),
        ) as process:
            assert await process.wait() == -signal.SIGKILL
        async with rescuer_on(stack_without_worker):
            assert spoken((await saying).turn) == "At nine."
            assert len(model.journal) == 1
            assert [entry.usage.requests for entry in await session.billed(2)] == [0, 1]
            assert await attempts_and_reuse(session) == (2, True)


async def test_a_step_whose_worker_died_is_taken_over_when_its_heartbeat_is_missed(
    stack_without_worker: SessionStack, scripted: Scripted
) -> None:
    gate = Gate()
    model = scripted(Says("Never heard.", gate=gate), Says("At nine."))
    session = await settled_session(stack_without_worker, model)
    async with session_worker(stack_without_worker, activities=[]):
        saying = asyncio.create_task(session.say("When do you open?"))
        async with killable_worker(
            stack_without_worker.client, stack_without_worker.task_queue, stack_without_worker.database, kill_at=None
        ) as process:
            await gate.reached()
            process.kill()
            await process.wait()
        gate.open()
        async with rescuer_on(stack_without_worker):
            assert spoken((await saying).turn) == "At nine."
            assert len(model.journal) == 2
            assert [entry.usage.requests for entry in await session.billed(2)] == [0, 1], "what was saved is billed"
            assert await attempts_and_reuse(session) == (2, False)


async def test_ledger_row_whose_worker_died_is_written_by_another_one_within_seconds(
    stack_without_worker: SessionStack, scripted: Scripted
) -> None:
    session = await settled_session(stack_without_worker, scripted(Says("At nine.")))
    async with session_worker(stack_without_worker, activities=[]):
        async with killable_worker(
            stack_without_worker.client,
            stack_without_worker.task_queue,
            stack_without_worker.database,
            kill_at=KillPoint("before", "settle_turns"),
        ) as process:
            assert await session.reply("When do you open?") == "At nine."
            assert await process.wait() == -signal.SIGKILL
        async with rescuer_on(stack_without_worker):

            async def billed() -> bool:
                return len(await stack_without_worker.ledger(session)) == 2

            await eventually(billed, within=WITHIN_A_HEARTBEAT)


async def settled_session(stack: SessionStack, model: ScriptedModel) -> SessionHandle:
    """A session that leaves a killable worker nothing to do but the next step."""
    async with session_worker(stack):
        session = await stack.open(model=model.string, timing=SOON_MISSED)
        await session.until_settled()
        return session


def rescuer_on(stack: SessionStack) -> Worker:
    """A worker for the activities that the killed one left."""
    return Worker(stack.client, task_queue=stack.task_queue, activities=session_activities(stack.database))


async def attempts_and_reuse(session: SessionHandle) -> tuple[int, bool]:
    """The attempts of the only step of the session, and whether its result came from the store."""
    events = await session.events()
    [step] = [
        event.event_id
        for event in events
        if event.activity_task_scheduled_event_attributes.activity_type.name == "generate_step"
    ]
    [attempts] = [
        event.activity_task_started_event_attributes.attempt
        for event in events
        if event.activity_task_started_event_attributes.scheduled_event_id == step
    ]
    [result] = [
        event.activity_task_completed_event_attributes.result
        for event in events
        if event.activity_task_completed_event_attributes.scheduled_event_id == step
    ]
    decoded = await session.stack.client.data_converter.decode(list(result.payloads), [GenerateStepResult])
    return attempts, decoded[0].reused
