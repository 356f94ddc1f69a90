"""Continue-as-new of long sessions: clients do not notice it, and nothing is lost."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio import workflow
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from api.temporal import session_client
from api.temporal.session_client import SessionClient
from contracts.sessions import SendMessageResult, StartSession
from domain.sessions.caller_config import SimulatorConfig
from domain.sessions.views import TimelineView
from playhead.temporal import ended_runs
from playhead.temporal.client import PlayheadPlugin
from playhead.temporal.dev_server import server_program
from store.database.connection import Database
from tests.conftest import PROMPT_TIMERS
from tests.support.activities import session_activities
from tests.support.agents import GREETING, limited
from tests.support.outages import HeldSettlement
from tests.support.provider import Gate, ScriptedModel, TextReply, ToolCallReply
from tests.support.session_stack import (
    QUICK,
    SessionHandle,
    SessionStack,
    rejection_of,
    replay_all,
    reply_text,
    session_worker,
)
from tests.support.short_runs import shorten_runs
from tests.support.waiting import eventually
from tests.workflows.session.test_visibility import shown
from workflows.search_attributes import AGENT, ALL, NODE, ORG, STATUS
from workflows.session.workflow import SessionWorkflow

Scripted = Callable[..., ScriptedModel]

SLOW_END_SECONDS = 3.0
"""Time in which a query arrives, also on a busy machine."""
SLOW_REPLAY_SECONDS = 20.0
"""Longest time that a replay is held up; the deadlock detector allows more."""
EVENTS_PER_RUN = 60
"""Number of events after which the server suggests continue-as-new; a turn takes about a dozen."""


@pytest_asyncio.fixture(scope="module")
async def impatient_server(database: Database) -> AsyncIterator[WorkflowEnvironment]:
    """A server that suggests continue-as-new early."""
    server = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(server_program()),
        search_attributes=list(ALL),
        dev_server_log_level="error",
        dev_server_extra_args=[
            *PROMPT_TIMERS,
            *("--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={EVENTS_PER_RUN}"),
        ],
        plugins=[PlayheadPlugin()],
    )
    try:
        yield server
        await replay_all(server.client, database, "sessions")
    finally:
        await server.shutdown()


@pytest_asyncio.fixture
async def stack(impatient_server: WorkflowEnvironment, database: Database) -> AsyncIterator[SessionStack]:
    """A stack on that server."""
    stack = SessionStack.on(impatient_server.client, database, f"sessions-{uuid4().hex[:8]}")
    async with session_worker(stack):
        yield stack


async def test_a_long_conversation_keeps_its_turns_and_its_bill_over_several_runs(
    stack: SessionStack, scripted: Scripted
) -> None:
    model = scripted()
    session = await stack.open(model=model.string)
    said = [await session.say(f"Message {number}", expected_revision=2 + 2 * number) for number in range(20)]
    assert len({result.head.run_id for result in said}) >= 3
    assert [result.head.revision for result in said] == [4 + 2 * number for number in range(20)]
    expected = [(f"Message {number}", f"You said: Message {number}") for number in range(20)]
    assert await session.texts() == [(None, GREETING), *expected]
    assert len(model.journal) == 20
    assert model.journal[-1].conversation[-2] == ("assistant", "You said: Message 18")
    entries = await session.billed(21)
    assert sum(entry.usage.requests for entry in entries) == 20
    assert (await session.status()).usage.requests == 20


async def test_a_message_repeated_in_a_later_run_is_not_answered_again(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted()
    session = await stack.open(model=model.string)
    first = await session.say("Hello", message_id="msg_1")
    later = await talk_into_another_run(session)
    again = await session.say("Hello", message_id="msg_1")
    assert again.turn == first.turn
    assert again.head.revision == later.head.revision
    assert (await rejection_of(session.say("Goodbye", message_id="msg_1"))).code == "idempotency_mismatch"


async def test_the_details_of_a_later_run_name_the_session_and_its_agent(
    stack: SessionStack, scripted: Scripted
) -> None:
    session = await stack.prepare(model=scripted().string)
    api = SessionClient(stack.client, task_queue=stack.task_queue, wait_seconds=10.0)
    await api.open(session.start)
    await talk_into_another_run(session)
    # Temporal keeps the static summary with the first run alone; the current details belong to each run.
    assert f"{session.start.name}" in await shown(session)
    assert f"library-clerk, version {session.start.agent.version}" in await shown(session)


@pytest.mark.parametrize("has_seen_it_end", [True, False])
async def test_a_query_at_the_end_of_a_run_does_not_wait_for_a_replay(
    client: Client, database: Database, scripted: Scripted, monkeypatch: pytest.MonkeyPatch, has_seen_it_end: bool
) -> None:
    """Temporal sends it to the run that ended, and a worker replays that run, here until the query is answered.

    A worker that has seen the run end rejects the query instead.
    """
    end_run, ending, loop = SessionWorkflow._next_run, asyncio.Event(), asyncio.get_running_loop()
    is_answered = threading.Event()

    def end_slowly(self: SessionWorkflow, start: StartSession) -> StartSession:
        if workflow.unsafe.is_replaying():
            is_answered.wait(SLOW_REPLAY_SECONDS)
        else:
            loop.call_soon_threadsafe(ending.set)
            time.sleep(SLOW_END_SECONDS)
        return end_run(self, start)

    if not has_seen_it_end:
        monkeypatch.setattr(ended_runs, "REJECTED_SECONDS", 0.0)
    stack = SessionStack.on(client, database, f"slow-ends-{uuid4().hex[:8]}")  # not replayed: its limit is different
    api = SessionClient(client, task_queue=stack.task_queue, wait_seconds=10.0)
    monkeypatch.setattr("api.temporal.session_client.QUERY_SECONDS", SLOW_END_SECONDS + SLOW_REPLAY_SECONDS / 2)
    shorten_runs(monkeypatch, stack.task_queue, CONTINUE_AFTER_UPDATES=2)
    monkeypatch.setattr(SessionWorkflow, "_next_run", end_slowly)
    async with session_worker(stack):
        # Nothing else may happen meanwhile: Temporal would reject the end of the run, and it would be repeated.
        unsettled = QUICK.model_copy(update={"settle_within": 60.0})
        session = await stack.open(model=scripted().string, timing=unsettled)
        await session.until_settled()
        saying = asyncio.create_task(session.say("Hello"))
        await ending.wait()
        view = await api.timeline(session.id)  # of the next run, or of the one that ended if it was still in memory
        is_answered.set()
        assert view.turns[-1] == (await session.timeline()).turns[-1]
        assert (await saying).turn.id == view.turns[-1].id


async def test_a_slow_query_is_cancelled_before_the_next_run_is_queried(
    stack: SessionStack, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Temporal may hold back the first task of the next run while a query waits for the earlier one."""
    ask, waiting, most = session_client._timeline_of, [], []

    async def note(handle: session_client.Handle) -> TimelineView:
        waiting.append(handle.id)
        most.append(len(waiting))
        try:
            if len(most) == 1:
                await asyncio.Event().wait()  # until it is cancelled
            return await ask(handle)
        finally:
            waiting.pop()

    monkeypatch.setattr(session_client, "_timeline_of", note)
    monkeypatch.setattr(session_client, "SLOW_QUERY_SECONDS", 0.0)
    monkeypatch.setattr(session_client, "YOUNG_RUN", timedelta(hours=1))
    api = SessionClient(stack.client, task_queue=stack.task_queue, wait_seconds=10.0)
    session = await stack.open(model=scripted().string)
    await api.timeline(session.id)
    assert most == [1, 1], "asked twice, one query after the other"


async def test_a_run_that_has_answered_a_query_is_queried_once(
    stack: SessionStack, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow query of a young run may have met the end of the one before, unless this run has already answered one."""
    ask, asked = session_client._timeline_of, []

    async def note(handle: session_client.Handle) -> TimelineView:
        asked.append(handle.id)
        if len(asked) == 1:
            await asyncio.Event().wait()  # until it is cancelled
        return await ask(handle)

    monkeypatch.setattr(session_client, "_timeline_of", note)
    monkeypatch.setattr(session_client, "SLOW_QUERY_SECONDS", 0.0)
    monkeypatch.setattr(session_client, "YOUNG_RUN", timedelta(hours=1))
    api = SessionClient(stack.client, task_queue=stack.task_queue, wait_seconds=10.0)
    session = await stack.open(model=scripted().string)
    await api.timeline(session.id)
    assert len(asked) == 2
    await api.timeline(session.id)
    assert len(asked) == 3


async def test_a_long_run_ends_when_nothing_is_being_settled(
    client: Client, database: Database, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Temporal rejects the end of a run if something happens meanwhile, and a worker then replays the whole run."""
    stack = SessionStack.on(client, database, f"quiet-ends-{uuid4().hex[:8]}")
    shorten_runs(monkeypatch, stack.task_queue, CONTINUE_AFTER_EVENTS=0)
    settlement = HeldSettlement(database)
    async with session_worker(stack, session_activities(database, settlement=settlement)):
        session = await stack.open(model=scripted().string)
        await settlement.holds.wait()
        run_id = (await session.status()).run_id
        for number in range(3):
            await session.say(f"Message {number}")
            assert (await session.status()).run_id == run_id
        settlement.let_go()

        async def is_another_run() -> bool:
            return (await session.status()).run_id != run_id

        await eventually(is_another_run)


async def test_a_rewind_reaches_back_into_an_earlier_run(stack: SessionStack, scripted: Scripted) -> None:
    session = await stack.open(model=scripted().string)
    first = await session.say("Hello")
    discarded = await talk_into_another_run(session)
    head = await session.rewind(first.turn.id)
    assert head.head_turn_id == first.turn.id
    branched = await session.say("Another way")
    assert branched.turn.parent_id == first.turn.id
    [branch] = (await session.timeline()).discarded_branches
    assert branch.leaf_turn_id == discarded.turn.id


async def test_messages_sent_while_the_run_changes_are_all_answered(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted()
    session = await stack.open(model=model.string)

    async def chat(who: str) -> list[SendMessageResult]:
        return [await session.say(f"{who} {number}", on_busy="enqueue") for number in range(8)]

    chats = await asyncio.gather(*(chat(who) for who in ("Ada", "Bob", "Cy")))
    assert all(reply_text(each.turn) for results in chats for each in results)
    for number in range(5):
        await session.handle.signal("user_message", f"signal {number}")
    await eventually(lambda: all_answered(session, 1 + 24 + 5))
    assert len(model.journal) == 29
    assert len(await session.billed(30)) == 30
    from_ada = [text for text, _ in await session.texts() if text and text.startswith("Ada")]
    assert from_ada == [f"Ada {number}" for number in range(8)]


async def test_a_run_does_not_change_while_a_reply_is_pending(stack: SessionStack, scripted: Scripted) -> None:
    gate = Gate()
    session = await stack.open(model=scripted(TextReply("At last.", gate=gate)).string)
    saying = asyncio.create_task(session.say("Hello"))
    await gate.reached()
    before = (await session.status()).run_id
    for _ in range(EVENTS_PER_RUN):
        await session.handle.signal("rewind_to", "turn_of_somebody_else")
    assert (await session.status()).run_id == before
    gate.open()
    assert reply_text((await saying).turn) == "At last."
    await eventually(lambda: another_run(session, before))
    assert len(await session.texts()) == 2


async def test_the_inactivity_deadline_is_kept(stack: SessionStack, scripted: Scripted) -> None:
    session = await stack.open(limited(inactivity_seconds=5), model=scripted().string)
    await talk_into_another_run(session)
    [remaining, *_] = [
        event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta().total_seconds()
        for event in await session.events()
        if event.HasField("timer_started_event_attributes") and event.user_metadata.summary.data == b'"inactivity"'
    ]
    assert 0 < remaining < 5.0, "what has passed of the deadline counts in the new run"


async def test_search_attributes_are_carried_over_to_the_next_run(stack: SessionStack, scripted: Scripted) -> None:
    session = await stack.open(model=scripted().string)
    await talk_into_another_run(session)
    await session.until_settled()
    described = await session.handle.describe()
    found = described.typed_search_attributes
    assert described.status is WorkflowExecutionStatus.RUNNING
    assert (found[ORG], found[AGENT]) == (session.start.organization_id, session.start.agent.id)
    assert (found[STATUS], found[NODE]) == ("idle", "desk")


@pytest.mark.parametrize("limit", ["CONTINUE_AFTER_UPDATES", "CONTINUE_AFTER_SIGNALS"])
async def test_a_run_ends_before_temporal_rejects_further_updates_or_signals(
    client: Client, database: Database, scripted: Scripted, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    stack = SessionStack.on(client, database, f"lowered-{uuid4().hex[:8]}")
    shorten_runs(monkeypatch, stack.task_queue, **{limit: 5})
    async with session_worker(stack):
        session = await stack.open(model=scripted().string)
        first = (await session.status()).run_id
        for number in range(5):
            if limit == "CONTINUE_AFTER_UPDATES":
                await session.say(f"Message {number}")
            else:
                await session.handle.signal("user_message", f"Message {number}")
        await eventually(lambda: another_run(session, first))
        await eventually(lambda: all_answered(session, 6))
        await session.end()
        await session.handle.result()
    assert len(await stack.ledger(session)) == 6


async def talk_into_another_run(session: SessionHandle) -> SendMessageResult:
    """Send messages until the session continues as new; returns the last answer of the old run."""
    first = (await session.status()).run_id
    for number in range(50):
        result = await session.say(f"And {number}")
        await session.until_settled()  # the run may end by then, and a later message goes to the next one
        if await another_run(session, first):
            return result
    raise AssertionError("the session never continued as new")


async def all_answered(session: SessionHandle, turns: int) -> bool:
    """True once the session has so many answered turns."""
    texts = await session.texts()
    return len(texts) == turns and all(reply for _, reply in texts)


async def another_run(session: SessionHandle, run_id: str) -> bool:
    """True once the session has left the run."""
    return (await session.status()).run_id != run_id


async def test_a_simulated_user_continues_over_several_runs(stack: SessionStack, scripted: Scripted) -> None:
    lines = [TextReply(f"Line {number} of the caller.") for number in range(20)]
    caller, agent = scripted(*lines, ToolCallReply("hang_up", '{"reason": "done"}')), scripted()
    session = await stack.prepare(model=agent.string)
    config = SimulatorConfig(goal="Talk for long.", model=caller.string)
    session.start = session.start.model_copy(update={"simulator": config})
    await session.begin()
    first_run = (await session.status()).run_id
    await session.handle.result()
    head = await session.status()
    assert head.run_id != first_run
    assert head.completion_reason == "caller_hung_up"
    assert [said for said, _ in await session.texts()] == [None, *(line.text for line in lines)]
    assert caller.journal[-1].conversation[-2:] == [
        ("assistant", "Line 19 of the caller."),
        ("user", "You said: Line 19 of the caller."),
    ]
    assert len(caller.journal) == 21, "no message was paid for twice"
