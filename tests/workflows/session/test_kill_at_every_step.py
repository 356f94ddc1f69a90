"""A turn with a tool, a transition and variables, with the worker killed at each step boundary."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from uuid import uuid4

import pytest
from pytest_httpserver import HTTPServer
from temporalio.client import Client

from domain.agents.definition import AgentDefinition
from domain.turns.turn import Turn
from domain.usage import cost_of_seconds
from store.database.connection import Database
from tests.support.booking_agent import journal_of, library_agent
from tests.support.provider import ScriptedModel, TextReply, ToolCallReply
from tests.support.session_stack import QUICK, SessionHandle, SessionStack, reply_text, session_worker, types_of
from tests.workflows.session.killable_worker import KillPoint, killable_worker

Scripted = Callable[..., ScriptedModel]

SOON_MISSED = QUICK.model_copy(update={"heartbeat": 4.0})
"""A dead worker is noticed after four seconds; a living one is not silent for so long, even on a busy machine."""
STEPS = (
    ("generate_step", 1),  # calls the tool
    ("call_tool", 1),
    ("generate_step", 2),  # moves on
    ("extract_variables", 1),
    ("generate_step", 3),  # answers
    ("settle_turns", 2),  # the first one is the greeting's
)
"""The activities of the turn, in order, each with how often one of its type has run in the session."""
REPLIES = (
    ToolCallReply("find_book", '{"title": "Emma"}'),
    ToolCallReply("to_loans"),
    ToolCallReply("record_variables", '{"title": "Emma", "copies": 2}'),
    TextReply("Which copy?"),
)
CALLS = len(REPLIES)
PRICE = Decimal("0.002")
"""US dollars per second of the model; a killed worker must not add seconds."""
TOKENS = (TextReply.prompt_tokens + TextReply.completion_tokens) * CALLS


@pytest.fixture
def stacks(client: Client, database: Database) -> Callable[[], SessionStack]:
    """Makes stacks without a worker."""
    return lambda: SessionStack.on(client, database, f"sessions-{uuid4().hex[:8]}")


@pytest.mark.parametrize(("activity", "time"), STEPS)
async def test_a_turn_completes_wherever_its_worker_is_killed(
    stacks: Callable[[], SessionStack], scripted: Scripted, httpserver: HTTPServer, activity: str, time: int
) -> None:
    """Two sessions at once, to save time: one worker is killed before the step, the other after it."""
    kill_points = [KillPoint(moment, activity, time) for moment in ("before", "after")]
    await asyncio.gather(*(survive(kill_point, stacks(), scripted(*REPLIES), httpserver) for kill_point in kill_points))


async def survive(kill_point: KillPoint, stack: SessionStack, model: ScriptedModel, service: HTTPServer) -> None:
    """Answer the turn with one worker until it is killed, and with another one from then on."""
    path = f"/{kill_point.moment}/books"
    service.expect_request(path).respond_with_json({"shelf": "B7"})
    agent = asking_at_the_desk(service.url_for(f"/{kill_point.moment}"))
    session = await stack.prepare(agent, model=model.string, timing=SOON_MISSED, price_per_second=PRICE)
    async with killable_worker(stack.client, stack.task_queue, stack.database, kill_at=kill_point) as process:
        await session.greet()
        await session.until_settled()
        saying = asyncio.create_task(session.say("Do you have Emma?"))
        await process.killed()
    async with session_worker(stack):
        result = await saying
        await assert_the_turn_is_whole(session, result.turn)
        await session.until_settled()
        assert await session.stored_turns() == list((await session.timeline()).turns)
        _, entry = await session.billed(2)
    assert (entry.turn_id, entry.usage.requests, entry.usage.total_tokens) == (result.turn.id, CALLS, TOKENS)
    assert (entry.usage, entry.cost) == (result.turn.usage, result.turn.cost)
    assert entry.cost.breakdown["duration"] == cost_of_seconds(entry.usage.model_seconds, PRICE).total > 0

    assert len(model.journal) == CALLS, f"{kill_point}: a saved reply is not paid for again"
    keys = [call.key for call in journal_of(service) if call.path == path]
    assert len(set(keys)) == 1, f"{kill_point}: a repeated call must be known as one"
    result_was_lost = kill_point == KillPoint("after", "call_tool")
    assert len(keys) == (2 if result_was_lost else 1), f"{kill_point}: the tool was called {len(keys)} times"


def asking_at_the_desk(service: str) -> AgentDefinition:
    """The library, with the variables of the node `loans` extracted already when the desk is left."""
    agent = library_agent(service)
    desk = agent.nodes["desk"].model_copy(update={"extract": agent.nodes["loans"].extract})
    return agent.model_copy(update={"nodes": {**agent.nodes, "desk": desk}})


async def assert_the_turn_is_whole(session: SessionHandle, turn: Turn) -> None:
    """Check that words, node, context and events are those of a turn in which nothing went wrong."""
    assert reply_text(turn) == "It stands on shelf B7.\n\nWhich copy?"
    assert types_of(turn) == [
        *("tool_call_started", "tool_call_result"),
        *("tool_call_started", "variables_extracted", "node_transition", "tool_call_result"),
    ]
    head = await session.status()
    assert (head.status, head.current_node_id, head.head_turn_id) == ("idle", "loans", turn.id)
    assert head.gathered_context == {"shelf": "B7", "title": "Emma", "copies": 2}
    assert (turn.usage.requests, turn.usage.total_tokens) == (CALLS, TOKENS)
