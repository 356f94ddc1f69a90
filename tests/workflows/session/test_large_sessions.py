"""Sessions that exceed Temporal's payload limit: large payloads are kept in the store."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest
import pytest_asyncio
from pytest_httpserver import HTTPServer
from temporalio.client import Client

from playhead.config.settings import PAYLOAD_OFFLOAD_THRESHOLD
from store.blobs import BlobStore
from store.database.connection import Database
from tests.support.activities import session_activities
from tests.support.booking_agent import library_agent
from tests.support.outages import BreakableDatabase
from tests.support.provider import ScriptedModel, TextReply, ToolCallReply
from tests.support.session_stack import SessionStack, reply_text, session_worker
from tests.support.short_runs import shorten_runs
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

LONG = "x" * 31_000
"""Nearly the longest message that is accepted; the scripted model repeats it, so a turn has twice as much."""
MEGABYTE = 1_000_000
MAX_MESSAGE_BYTES = 4 * 1_024 * 1_024
"""Maximum bytes of a message between a client, the server and a worker."""


@pytest_asyncio.fixture
async def stack(client: Client, database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SessionStack]:
    """A stack on which a run ends after 15 messages, before the 4 MB at which the server suggests continue-as-new.

    A turn of two such texts leaves 130 to 190 KB, depending on whether it is settled alone or with its neighbours.
    """
    stack = SessionStack.on(client, database, f"large-{uuid4().hex[:8]}")
    shorten_runs(monkeypatch, stack.task_queue, CONTINUE_AFTER_UPDATES=15)
    yield stack


async def test_a_session_larger_than_a_temporal_message_continues_from_run_to_run(
    stack: SessionStack, scripted: Scripted
) -> None:
    async with session_worker(stack):
        session = await stack.open(model=scripted().string)
        said = [await session.say(f"{number}{LONG}") for number in range(70)]
        runs = list(dict.fromkeys(result.head.run_id for result in said))
        assert len(runs) == 5
        expected = [(f"{number}{LONG}", f"You said: {number}{LONG}") for number in range(70)]
        assert (await session.texts())[1:] == expected
        assert sum(len(text) + len(reply) for text, reply in expected) > MAX_MESSAGE_BYTES
        await session.until_settled()
    async with session_worker(stack):  # which has to read the whole session back
        await session.rewind(said[10].turn.id)
        await session.say("Another way")
        view = await session.timeline()
        assert [turn.id for turn in view.turns][1:12] == [result.turn.id for result in said[:11]]
        [branch] = view.discarded_branches
        assert branch.turns[-1].id == said[-1].turn.id
        await session.end()
        await session.handle.result()
    assert len(await session.billed(72)) == 72


async def test_the_history_of_a_large_session_stays_small(stack: SessionStack, scripted: Scripted) -> None:
    async with session_worker(stack):
        session = await stack.open(model=scripted().string)
        first = (await session.status()).run_id
        for number in range(40):
            await session.say(f"{number}{LONG}")
        assert (await session.status()).run_id != first
        begun, *_ = await session.events()
        carried = begun.workflow_execution_started_event_attributes.input.payloads[0]
        assert begun.ByteSize() < 10_000
        assert carried.external_payloads[0].size_bytes > MEGABYTE
        assert max(event.ByteSize() for event in await session.events()) < PAYLOAD_OFFLOAD_THRESHOLD


async def test_a_query_of_a_large_session_leaves_nothing_in_the_store(stack: SessionStack, scripted: Scripted) -> None:
    blobs = BlobStore(stack.database)
    async with session_worker(stack):
        session = await stack.open(model=scripted().string)
        for number in range(5):
            await session.say(f"{number}{LONG}")
        before = await blobs.size()
        views = await asyncio.gather(*(session.timeline() for _ in range(5)))
        assert all(len(view.turns) == 6 for view in views)
        assert await blobs.size() == before


async def test_a_large_session_waits_while_the_store_is_down_and_loses_nothing(
    stack: SessionStack, scripted: Scripted
) -> None:
    breakable = BreakableDatabase.open(stack.database.address)
    frail = SessionStack.on(stack.client, breakable, stack.task_queue, threshold=1_024)
    careful = SessionStack.on(stack.client, stack.database, stack.task_queue, threshold=1_024)
    model = scripted()
    async with session_worker(frail, session_activities(breakable)):
        session = await careful.open(model=model.string)
        breakable.down = True
        saying = asyncio.create_task(session.say(LONG))
        await eventually(breakable.has_refused)
        breakable.down = False
        assert reply_text((await saying).turn) == f"You said: {LONG}"
    await breakable.aclose()
    assert len(model.journal) == 1


async def test_a_reply_can_call_many_tools_in_a_session_with_a_large_context(
    stack: SessionStack, scripted: Scripted, httpserver: HTTPServer
) -> None:
    """Each call has the whole context: eight of them, scheduled at once, are twice Temporal's limit."""
    httpserver.expect_request("/books").respond_with_json({"shelf": "B7"})
    find = ToolCallReply("find_book", '{"title": "Emma"}')
    model = scripted(ToolCallReply("find_book", '{"title": "Emma"}', also=(find,) * 7), TextReply("On shelf B7."))
    async with session_worker(stack):
        session = await stack.open(
            library_agent(httpserver.url_for("").rstrip("/")),
            model=model.string,
            initial_context={"notes": "n" * MEGABYTE},
        )
        assert reply_text((await session.say("Do you have Emma?")).turn) == "On shelf B7."
        assert (await session.status()).gathered_context == {"shelf": "B7"}
    assert len(httpserver.log) == 8
