"""The reconciler on real sessions: what is over in Temporal ends in the store, and what was paid for is billed."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import Connection, delete, update
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle

from activities import reconciler as reconciler_module
from activities.reconciler import Reconciler, ReconcilerOptions
from contracts.reconciliation import Difference, ReconciliationResult
from domain.turns.engine import ModelReply
from domain.usage import ModelUsage, Usage
from playhead.services.reconciliation import build_reconciler
from store.database.tables import events, ledger, sessions, steps, turns
from store.reconciliation import LOST_REPLY_OF_CLOSED
from store.sessions.sessions import SessionStore, StoredSession
from store.sessions.steps import StepStore
from tests.support.closed_sessions import closed, forgotten
from tests.support.provider import Gate, ModelProvider, ScriptedModel, TextReply
from tests.support.session_stack import QUICK, SessionHandle, SessionStack
from tests.support.waiting import eventually
from tests.workflows.conftest import separate_stack

NOW = ReconcilerOptions(grace=timedelta(0), is_bounded=False)
LATE = QUICK.model_copy(update={"settle_within": 60.0})
"""Only the greeting is settled at once: everything after it waits for a minute."""


@pytest_asyncio.fixture(scope="module")
async def stack(
    client: Client, provider: ModelProvider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[SessionStack]:
    """Separate, because every session of the store is looked at."""
    async with separate_stack(client, tmp_path_factory) as running:
        yield running


def reconciler(stack: SessionStack) -> Reconciler:
    return build_reconciler(stack.client, stack.database, stack.task_queue)


async def found_of(
    stack: SessionStack, session: SessionHandle, options: ReconcilerOptions = NOW
) -> tuple[ReconciliationResult, list[Difference]]:
    """The result of a reconciliation of everything, and what it found of one session."""
    of_all = await reconciler(stack).reconcile(ReconciliationResult(), None, options)
    return of_all, [finding for finding in of_all.findings if finding.id == session.id]


async def stored(session: SessionHandle) -> StoredSession:
    found = await SessionStore(session.stack.database).find(session.stack.organization_id, session.id)
    assert found is not None
    return found


async def greeted(session: SessionHandle) -> None:
    """Wait until the greeting is settled."""

    async def is_recorded() -> bool:
        return (await stored(session)).head is not None

    await eventually(is_recorded)


async def terminate(session: SessionHandle) -> None:
    await session.handle.terminate(reason="test")
    await closed(session.stack.client, session.workflow_id)


async def test_a_terminated_session_is_closed_with_all_its_unsettled_turns(stack: SessionStack) -> None:
    session = await stack.open(timing=LATE)
    await greeted(session)
    said = await session.say("A table, please")
    await terminate(session)
    _, [finding] = await found_of(stack, session)
    assert (finding.found, finding.done, finding.billed) == ("workflow_terminated", "closed", 1)
    head = (await stored(session)).head
    assert head is not None
    assert (head.status, head.is_completed, head.completion_reason) == ("completed", True, "workflow_terminated")
    assert head.head_turn_id == said.turn.id
    [_, turn] = await session.stored_turns(said.turn.id)
    assert turn.user_message is not None
    assert turn.user_message.text == "A table, please"
    assert len(await stack.ledger(session)) == 2
    _, again = await found_of(stack, session)
    assert again == []
    assert len(await stack.ledger(session)) == 2


async def test_a_dry_run_reports_differences_and_changes_nothing(stack: SessionStack) -> None:
    session = await stack.open(timing=LATE)
    await greeted(session)
    await session.say("A table, please")
    await terminate(session)
    _, [finding] = await found_of(stack, session, replace(NOW, only_looks=True, is_thorough=True))
    assert (finding.found, finding.done) == ("workflow_terminated", "left")
    assert (finding.turns_in_store, finding.turns_in_temporal) == (1, 2)
    head = (await stored(session)).head
    assert head is not None
    assert not head.is_completed
    assert len(await stack.ledger(session)) == 1
    await found_of(stack, session)


async def test_a_session_that_temporal_lost_is_closed_and_its_paid_replies_are_billed(stack: SessionStack) -> None:
    session = await stack.open(timing=LATE)
    await greeted(session)
    await session.say("A table, please")
    await terminate(session)
    await forgotten(stack.client, session.workflow_id)
    other = await stack.open()
    _, [finding] = await found_of(stack, session)
    assert (finding.found, finding.done, finding.billed) == ("workflow_not_found", "closed", 1)
    head = (await stored(session)).head
    assert head is not None
    assert head.completion_reason == "workflow_not_found"
    ledger_rows = await stack.ledger(session)
    assert [row.purpose for row in ledger_rows] == ["turn", "turn"]
    assert sum(row.usage.requests for row in ledger_rows) == head.usage.requests
    await other.end()


async def test_a_session_that_ends_by_itself_keeps_its_own_reason(stack: SessionStack) -> None:
    """In a store that was restored from before the end, the session is still open."""
    session = await stack.open()
    await session.say("A table, please")
    await session.until_settled()
    before = await stored(session)
    assert before.head is not None
    await session.end("user_hangup")
    await session.handle.result()
    rows = len(await stack.ledger(session))
    await set_back(session, before)
    _, [finding] = await found_of(stack, session)
    assert (finding.found, finding.done) == ("user_hangup", "closed")
    head = (await stored(session)).head
    assert head is not None
    assert (head.completion_reason, head.status) == ("user_hangup", "completed")
    assert len(await stack.ledger(session)) == rows


async def set_back(session: SessionHandle, to: StoredSession, *lost_turn_ids: str) -> None:
    """Set the record of a session back in the store, and delete some turns with all that belongs to them."""
    assert to.head is not None

    def work(connection: Connection) -> None:
        execute = connection.execute
        for table in (turns, steps, ledger, events):
            column = table.c.id if table is turns else table.c.turn_id
            execute(delete(table).where(table.c.session_id == session.id, column.in_(lost_turn_ids)))
        assert to.head is not None
        execute(
            update(sessions)
            .where(sessions.c.id == session.id)
            .values(status=to.head.status, head=to.head.model_dump_json(), head_version=to.head.version)
        )

    await session.stack.database.write(work)


async def lose(*lost: SessionHandle) -> None:
    """Delete sessions from the store."""
    ids = [session.id for session in lost]

    def work(connection: Connection) -> None:
        execute = connection.execute
        for table in (steps, ledger):
            execute(delete(table).where(table.c.session_id.in_(ids)))
        execute(delete(sessions).where(sessions.c.id.in_(ids)))

    await lost[0].stack.database.write(work)


async def test_turns_of_an_idle_session_that_the_store_lost_are_settled_again(stack: SessionStack) -> None:
    session = await stack.open()
    await session.until_settled()
    before = await stored(session)
    first, second = await session.say("One"), await session.say("Two")
    await session.until_settled()
    billed = [row.turn_id for row in await stack.ledger(session)]
    await set_back(session, before, first.turn.id, second.turn.id)
    thorough = replace(NOW, is_thorough=True, wait_seconds=20.0)
    result, [finding] = await found_of(stack, session, thorough)
    assert (finding.found, finding.done) == ("store_behind", "compared")
    assert (finding.turns_in_store, finding.turns_in_temporal) == (1, 3)
    assert result.turns_in_temporal >= result.turns_in_store
    await session.until_settled()
    assert [turn.id for turn in await session.stored_turns()][1:] == [first.turn.id, second.turn.id]
    assert sorted(row.turn_id for row in await stack.ledger(session)) == sorted(billed)
    _, again = await found_of(stack, session, thorough)
    assert again == []


async def test_turns_of_a_terminated_session_that_the_store_lost_are_settled_again(stack: SessionStack) -> None:
    session = await stack.open()
    await session.until_settled()
    before = await stored(session)
    first, second = await session.say("One"), await session.say("Two")
    await session.until_settled()
    await terminate(session)
    await set_back(session, before, first.turn.id, second.turn.id)
    _, [finding] = await found_of(stack, session)
    assert (finding.turns_in_store, finding.turns_in_temporal) == (1, 3)
    assert [turn.id for turn in await session.stored_turns(second.turn.id)][1:] == [first.turn.id, second.turn.id]
    assert len(await stack.ledger(session)) == 3


async def test_a_task_queue_that_no_worker_polls_is_waited_for_once(
    stack: SessionStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler_module, "QUERY_SECONDS", 0.5)
    asked: list[str] = []
    query = WorkflowHandle.query

    def counted(handle: WorkflowHandle[Any, Any], *arguments: Any, **options: Any) -> Any:
        asked.append(handle.id)
        return query(handle, *arguments, **options)

    monkeypatch.setattr(WorkflowHandle, "query", counted)
    deserted = replace(stack, task_queue=f"deserted-{uuid4().hex[:8]}")
    waiting = [await deserted.prepare() for _ in range(3 * reconciler_module.AT_ONCE)]
    for session in waiting:
        await session.begin()
    of_all, _ = await found_of(stack, waiting[0], replace(NOW, is_thorough=True))
    ids = {session.id for session in waiting}
    found = [finding for finding in of_all.findings if finding.id in ids]
    assert [(finding.found, finding.done) for finding in found] == [("no_worker", "left")] * len(waiting)
    assert len(ids & {workflow_id.removeprefix("session-") for workflow_id in asked}) <= reconciler_module.AT_ONCE
    await lose(*waiting)


async def test_a_session_that_the_store_lost_is_recreated(stack: SessionStack) -> None:
    session = await stack.open()
    said = await session.say("One")
    await session.until_settled()

    await lose(session)
    _, [finding] = await found_of(stack, session, replace(NOW, is_thorough=True, wait_seconds=20.0))
    assert (finding.found, finding.done) == ("unknown_to_store", "recreated")
    assert [turn.id for turn in await session.stored_turns(said.turn.id)][1:] == [said.turn.id]
    assert len(await stack.ledger(session)) == 2
    await session.say("Two")
    await session.until_settled()


async def test_a_reply_that_is_paid_for_after_the_end_is_billed_by_the_next_reconciliation(
    stack: SessionStack, scripted: Callable[..., ScriptedModel]
) -> None:
    gate = Gate()
    session = await stack.open(model=scripted(TextReply("At nine.", gate=gate)).string)
    await session.until_settled()
    pending = (await session.say("When do you open?", wait=False)).turn.id
    await gate.reached()
    await terminate(session)
    await found_of(stack, session)
    [_, turn] = await session.stored_turns(pending)
    assert (turn.status, turn.error) == ("failed", LOST_REPLY_OF_CLOSED)
    assert [row.usage.requests for row in await stack.ledger(session)] == [0, 0]
    await save_reply(session, pending)
    _, [finding] = await found_of(stack, session)
    assert (finding.found, finding.done, finding.billed) == ("unbilled", "billed", 1)
    head = (await stored(session)).head
    assert head is not None
    assert head.usage.requests == sum(row.usage.requests for row in await stack.ledger(session)) == 1
    assert (await found_of(stack, session))[1] == []
    gate.open()


async def save_reply(session: SessionHandle, turn_id: str) -> None:
    """Save a paid reply, as a worker does whose call goes on after its session was closed."""
    used = Usage(llm={"openai:gpt-5-mini": ModelUsage(prompt_tokens=9, total_tokens=9, requests=1)})
    await StepStore(session.stack.database).save(
        session_id=session.id,
        organization_id=session.stack.organization_id,
        digest="late",
        after="",
        turn_id=turn_id,
        step=0,
        node_id="greet",
        model="openai:gpt-5-mini",
        messages="[]",
        reply=ModelReply(text="At nine.", usage=used),
        created_at=datetime.now(UTC),
    )


async def test_a_closed_session_goes_on_after_a_reset(stack: SessionStack) -> None:
    session = await stack.open()
    await session.say("One")
    await session.until_settled()
    await terminate(session)
    await found_of(stack, session)
    await reset_to_last_task(session)
    said = await session.say("Two")
    await session.until_settled()
    head = (await stored(session)).head
    assert head is not None
    assert (head.status, head.completion_reason, head.head_turn_id) == ("idle", None, said.turn.id)


async def reset_to_last_task(session: SessionHandle) -> None:
    """Undo a terminate, as `temporal workflow reset -t LastWorkflowTask` does."""
    completed = [
        event.event_id
        for event in await session.events()
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    ]
    await session.stack.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=session.stack.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=session.workflow_id),
            reason="test",
            workflow_task_finish_event_id=completed[-1],
            request_id=session.id,
        ),
        retry=True,
    )
