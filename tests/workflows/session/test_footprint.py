"""The footprint of a session in Temporal: bounded history per turn, and a light sandbox."""

from collections.abc import Callable

from temporalio.api.history.v1 import HistoryEvent
from temporalio.worker import Worker

from contracts.sessions import GenerateStepInput
from tests.support.activities import session_activities
from tests.support.provider import ScriptedModel
from tests.support.session_stack import QUICK, SessionStack
from tests.workflows.session.sandbox_probe import ProbedSession

Scripted = Callable[..., ScriptedModel]

HEAVY = {
    *("alembic", "anyio", "asyncpg", "fastapi", "genai_prices", "httpx", "httpx2", "openai"),
    *("prompt_toolkit", "pydantic_ai", "requests", "rich", "sqlalchemy", "starlette", "structlog", "tiktoken"),
    *("typer", "uvicorn", "yaml", "api", "playhead", "store", "tests"),
}
"""Vendors, and the packages of Playhead that load them."""

EVENTS_PER_TURN = 11
"""Update accepted and completed; step scheduled, started and completed; two workflow tasks of three events."""


async def test_the_history_of_a_turn_does_not_grow_with_the_conversation(
    stack: SessionStack, scripted: Scripted
) -> None:
    timing = QUICK.model_copy(update={"settle_within": 3600.0})
    session = await stack.open(model=scripted().string, timing=timing)
    for number in range(40):
        await session.say(f"Message {number:02}")
    turns = by_turn(await session.events())
    early, late = turns[2:10], turns[30:38]
    assert bytes_of(late) < 1.05 * bytes_of(early)
    assert {len(turn) for turn in late} == {EVENTS_PER_TURN}, "settling costs a busy conversation nothing"


async def test_a_step_is_asked_for_with_the_new_words_only(stack: SessionStack, scripted: Scripted) -> None:
    session = await stack.open(model=scripted().string)
    for number in range(3):
        await session.say(f"Message {number}")
    inputs = [
        (await stack.client.data_converter.decode(list(step.input.payloads), [GenerateStepInput]))[0]
        for step in await session.scheduled("generate_step")
    ]
    assert [[message.kind for message in step.messages] for step in inputs] == [
        ["agent_said", "user_said"],
        ["user_said"],
        ["user_said"],
    ]
    assert [step.after for step in inputs] == ["", *(step.digest for step in inputs[:-1])]


async def test_the_sandbox_of_a_session_loads_no_vendor(stack_without_worker: SessionStack) -> None:
    worker = Worker(
        stack_without_worker.client,
        task_queue=stack_without_worker.task_queue,
        workflows=[ProbedSession],
        activities=session_activities(stack_without_worker.database),
    )
    async with worker:
        session = await stack_without_worker.prepare()
        handle = await stack_without_worker.client.start_workflow(
            ProbedSession.run, session.start, id=session.workflow_id, task_queue=stack_without_worker.task_queue
        )
        loaded = await handle.query(ProbedSession.loaded)
    assert "domain" in loaded
    assert not HEAVY.intersection(loaded) - {"tests"}, (
        "a vendor in the sandbox costs every workflow hundreds of milliseconds; import it in the activity module "
        "under TYPE_CHECKING and hand it in through __init__"
    )


def by_turn(events: list[HistoryEvent]) -> list[list[HistoryEvent]]:
    """The events of each message: from the acceptance of its update to that of the next."""
    turns: list[list[HistoryEvent]] = []
    for event in events:
        update = event.workflow_execution_update_accepted_event_attributes
        if update.accepted_request.input.name == "send_message":
            turns.append([])
        if turns:
            turns[-1].append(event)
    return turns


def bytes_of(turns: list[list[HistoryEvent]]) -> int:
    return sum(event.ByteSize() for turn in turns for event in turn)
