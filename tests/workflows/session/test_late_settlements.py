"""Settlements that end late: after a reset, when the session has already been compared with its record."""

from collections.abc import Callable, Sequence
from uuid import uuid4

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest

from domain.sessions.recovery import SessionRecord
from store.sessions.recovery import RecoveryStore
from tests.support.activities import session_activities
from tests.support.agents import GREETING
from tests.support.outages import HeldSettlement
from tests.support.provider import ScriptedModel
from tests.support.session_stack import QUICK, SessionHandle, SessionStack, session_worker
from tests.support.waiting import eventually


@pytest.mark.parametrize("settle_within", [QUICK.settle_within, 0.5], ids=["at_once", "later"])
async def test_a_settlement_that_ends_after_the_recovery_hides_nothing_from_the_record(
    stack_without_worker: SessionStack,
    scripted: Callable[..., ScriptedModel],
    monkeypatch: pytest.MonkeyPatch,
    settle_within: float,
) -> None:
    stack, settlements = stack_without_worker, HeldSettlement(stack_without_worker.database, record="is_ahead")
    read = RecoveryStore.record

    async def read_later(self: RecoveryStore, organization: str, session: str, known: Sequence[str]) -> SessionRecord:
        await settlements.holds.wait()
        return await read(self, organization, session, known)

    monkeypatch.setattr(RecoveryStore, "record", read_later)
    async with session_worker(stack, session_activities(stack.database, settlement=settlements)):
        session = await stack.open(
            model=scripted().string, timing=QUICK.model_copy(update={"settle_within": settle_within})
        )
        for text in ("One", "Two", "Three"):
            await session.say(text)
        await session.until_settled()
        before = await session.status()
        await reset_to_the_beginning(session)

        async def is_answered_again() -> bool:
            head = await session.status()
            return head.revision > before.revision and head.status == "idle"

        await eventually(is_answered_again)
        assert settlements.holds.is_set()
        settlements.let_go()
        await session.until_settled()
        said = [(text, f"You said: {text}") for text in ("One", "Two", "Three")]
        assert await session.texts() == [(None, GREETING), *said]


async def reset_to_the_beginning(session: SessionHandle) -> None:
    """Reset a session to its first workflow task; its messages are delivered again."""
    done = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    first = next(event.event_id for event in await session.events() if event.event_type == done)
    client = session.stack.client
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=session.workflow_id),
            workflow_task_finish_event_id=first,
            request_id=uuid4().hex,
            reason="a test",
        ),
        retry=True,
    )
