"""Workers killed in a step or a settlement: another one continues, and each paid call is billed once, within 2 seconds.

Two seconds count from the kill where a settlement was under way, and otherwise from the moment at which the session
goes on: Temporal leaves a session's next task to the worker that has it in memory for up to `STICKY_TIMEOUT`, and
misses a model call after its heartbeat timeout.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.worker import Worker

from contracts.sessions import GenerateStepResult, Timing
from tests.support.activities import session_activities
from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.session_stack import QUICK, SessionHandle, SessionStack, reply_text, session_worker
from tests.workflows.session.killable_worker import SOON, KillPoint, killable_worker
from workflows.session.settlement import SETTLE_AT_ONCE

IN_THE_LEDGER = timedelta(seconds=2)
Scripted = Callable[..., ScriptedModel]

SOON_MISSED = QUICK.model_copy(update={"heartbeat": 5.0})
"""A dead worker is noticed after five seconds; a living one is not silent for so long, however busy the machine is."""
MACHINE_PACE = SOON_MISSED.model_copy(update={"settle_within": 60.0})
"""Turns follow each other so fast that they are settled beside a later model call."""


async def test_a_step_that_was_saved_before_its_worker_died_is_not_paid_for_again(
    stack_without_worker: SessionStack, scripted: Scripted
) -> None:
    model = scripted(TextReply("At nine."), TextReply("Bought twice!"))
    session = await settled_session(stack_without_worker, model)
    async with session_worker(stack_without_worker, activities=[]):
        saying = asyncio.create_task(session.say("When do you open?"))
        async with killable_worker(
            stack_without_worker.client,
            stack_without_worker.task_queue,
            stack_without_worker.database,
            kill_at=KillPoint("after", "generate_step"),
        ) as process:
            await process.killed()
        async with rescuer_on(stack_without_worker):
            assert reply_text((await saying).turn) == "At nine."
            assert len(model.journal) == 1
            assert [entry.usage.requests for entry in await session.billed(2)] == [0, 1]
            assert await attempts_and_reuse(session) == (2, True)
            await session.until_settled()
            assert (await settlements(session))[-1].ended - await answered(session) < IN_THE_LEDGER


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_ledger_row_is_written_within_two_seconds_of_the_death_of_its_worker(
    stack_without_worker: SessionStack, scripted: Scripted, moment: str
) -> None:
    session = await settled_session(stack_without_worker, scripted(TextReply("At nine.")))
    async with session_worker(stack_without_worker, activities=[]):
        async with killable_worker(
            stack_without_worker.client,
            stack_without_worker.task_queue,
            stack_without_worker.database,
            kill_at=KillPoint(moment, "settle_turns"),
        ) as process:
            assert await session.reply("When do you open?") == "At nine."
            await process.killed()
            killed = datetime.now(UTC)
        assert len(await stack_without_worker.ledger(session)) == (1 if moment == "before" else 2)
        async with rescuer_on(stack_without_worker):
            rescued = datetime.now(UTC)
            await session.billed(2)
            await session.until_settled()
            last = (await settlements(session))[-1]
            assert last.attempt == 2
            assert last.began - max(killed, rescued) < IN_THE_LEDGER


async def test_a_step_whose_worker_died_is_taken_over_when_its_heartbeat_is_missed(
    stack_without_worker: SessionStack, scripted: Scripted
) -> None:
    """The turns that the step settles along with its call are in the ledger by then."""
    gate = Gate()
    earlier = SETTLE_AT_ONCE - 1
    model = scripted(*[TextReply("At nine.")] * earlier, TextReply("Never heard.", gate=gate), TextReply("At six."))
    session = await settled_session(stack_without_worker, model, MACHINE_PACE)
    async with session_worker(stack_without_worker, activities=[]):
        async with killable_worker(
            stack_without_worker.client, stack_without_worker.task_queue, stack_without_worker.database, kill_at=None
        ) as process:
            for _ in range(earlier):
                assert await session.reply("When do you open?") == "At nine."
            saying = asyncio.create_task(session.say("And when do you close?"))
            await gate.reached()
            await session.billed(1 + earlier)
            process.kill()
            await process.killed()
        gate.open()
        async with rescuer_on(stack_without_worker):
            assert reply_text((await saying).turn) == "At six."
            assert len(model.journal) == earlier + 2
            assert await attempts_and_reuse(session) == (2, False)
            await session.end()
            billed = [entry.usage.requests for entry in await session.billed(earlier + 2)]
            assert billed == [0, *[1] * (earlier + 1)], "what was saved is billed"


async def test_turns_that_a_killed_step_did_not_settle_are_settled_when_the_session_goes_on(
    stack_without_worker: SessionStack, scripted: Scripted
) -> None:
    """Killed before the record is written: the bound is the settling time and the wait for the dead worker.

    The worker dies well before the settling time is over, also on a busy machine: a workflow task that it had begun
    would be given to another one after ten seconds.
    """
    within = timedelta(seconds=6)
    timing = SOON_MISSED.model_copy(update={"heartbeat": 30.0, "settle_within": within.total_seconds()})
    session = await settled_session(stack_without_worker, scripted(TextReply("At nine."), TextReply("At six.")), timing)
    async with killable_worker(
        stack_without_worker.client,
        stack_without_worker.task_queue,
        stack_without_worker.database,
        kill_at=KillPoint("before", "generate_step", 2),
    ) as process:
        await session.say("When do you open?")
        saying = asyncio.create_task(session.say("And when do you close?", wait=False))
        await process.killed()
        killed = datetime.now(UTC)
    async with session_worker(stack_without_worker):
        await saying
        rescued = datetime.now(UTC)
        await session.billed(2)
        last = (await settlements(session))[-1]
        assert last.ended - max(killed, rescued) < within + SOON + IN_THE_LEDGER
        assert last.ended - last.scheduled < IN_THE_LEDGER


@dataclass(frozen=True)
class Settlement:
    """The times of a settlement in the history of a session, and the attempt that succeeded."""

    scheduled: datetime
    began: datetime
    ended: datetime
    attempt: int


async def settlements(session: SessionHandle) -> list[Settlement]:
    """The completed settlements of a session that were activities of their own."""
    events = {event.event_id: event for event in await session.events()}
    found = []
    for event in events.values():
        if event.event_type != EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            continue
        completed = event.activity_task_completed_event_attributes
        scheduled, started = events[completed.scheduled_event_id], events[completed.started_event_id]
        if scheduled.activity_task_scheduled_event_attributes.activity_type.name == "settle_turns":
            attempt = started.activity_task_started_event_attributes.attempt
            found.append(Settlement(time_of(scheduled), time_of(started), time_of(event), attempt))
    return found


async def answered(session: SessionHandle) -> datetime:
    """The time at which the newest message was answered."""
    done = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED
    return [time_of(event) for event in await session.events() if event.event_type == done][-1]


def time_of(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(tzinfo=UTC)


async def settled_session(stack: SessionStack, model: ScriptedModel, timing: Timing = SOON_MISSED) -> SessionHandle:
    """A session that leaves a killable worker nothing to do but the next step."""
    async with session_worker(stack):
        session = await stack.open(model=model.string, timing=timing)
        await session.until_settled()
        return session


def rescuer_on(stack: SessionStack) -> Worker:
    """A worker for the activities that the killed one left."""
    return Worker(stack.client, task_queue=stack.task_queue, activities=session_activities(stack.database))


async def attempts_and_reuse(session: SessionHandle) -> tuple[int, bool]:
    """The attempts of the newest step of the session, and whether its result came from the store."""
    events = await session.events()
    *_, step = [
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
