"""A tool that fails twice and then succeeds, with the worker killed at each of its attempts."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

import pytest
from pytest_httpserver import HTTPServer
from temporalio.client import Client

from store.database.connection import Database
from tests.support.booking_agent import journal_of, library_agent
from tests.support.provider import ScriptedModel, TextReply, ToolCallReply
from tests.support.session_stack import SessionStack, reply_text, session_worker
from tests.workflows.session.killable_worker import KillPoint, killable_worker
from tests.workflows.session.test_kill_at_every_step import SOON_MISSED

Scripted = Callable[..., ScriptedModel]

FAILURES = 2


@pytest.mark.parametrize("attempt", [1, 2, 3])
async def test_a_tool_that_fails_twice_is_called_under_one_key_wherever_its_worker_is_killed(
    client: Client, database: Database, scripted: Scripted, httpserver: HTTPServer, attempt: int
) -> None:
    """Two sessions at once, to save time: one worker is killed before the attempt, the other after it."""
    kill_points = [KillPoint(moment, "call_tool", attempt) for moment in ("before", "after")]
    await asyncio.gather(
        *(
            survive(kill_point, SessionStack(client, database, f"sessions-{uuid4().hex[:8]}"), scripted, httpserver)
            for kill_point in kill_points
        )
    )


async def survive(kill_point: KillPoint, stack: SessionStack, scripted: Scripted, service: HTTPServer) -> None:
    """Answer the turn with one worker until it is killed, and with another one from then on."""
    path = f"/{kill_point.moment}/books"
    for _ in range(FAILURES):
        service.expect_oneshot_request(path).respond_with_data("Come back later.", status=503)
    service.expect_request(path).respond_with_json({"shelf": "B7"})
    model = scripted(ToolCallReply("find_book", '{"title": "Emma"}'), TextReply("Shelf B7."))
    agent = library_agent(service.url_for(f"/{kill_point.moment}"))
    session = await stack.prepare(agent, model=model.string, timing=SOON_MISSED)
    async with killable_worker(stack.client, stack.task_queue, stack.database, kill_at=kill_point) as process:
        await session.greet()
        saying = asyncio.create_task(session.say("Do you have Emma?"))
        await process.killed()
    async with session_worker(stack):
        result = await saying
        await session.billed(2)
    assert reply_text(result.turn) == "Shelf B7."
    assert result.head.gathered_context == {"shelf": "B7"}
    assert len(model.journal) == 2, "the model was not asked again for what the tool had to repeat"

    keys = [call.key for call in journal_of(service) if call.path == path]
    assert len(set(keys)) == 1, f"{kill_point}: a repeated call must be known as one"
    result_was_lost = kill_point == KillPoint("after", "call_tool", FAILURES + 1)
    assert len(keys) == FAILURES + (2 if result_was_lost else 1), f"{kill_point}: called {len(keys)} times"
