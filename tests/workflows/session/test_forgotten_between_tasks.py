"""A session that its worker has evicted, after tasks that left nothing in its history but their own events."""

from collections.abc import Callable

from temporalio.worker import Worker

from tests.support.activities import session_activities
from tests.support.outages import HeldSettlement
from tests.support.provider import ScriptedModel
from tests.support.session_stack import SessionHandle, SessionStack
from tests.support.waiting import eventually
from workflows.session.workflow import SessionWorkflow


async def test_a_session_that_ends_after_tasks_without_commands_is_settled(
    stack_without_worker: SessionStack, scripted: Callable[..., ScriptedModel]
) -> None:
    """The workflow must not receive the end of its settlement together with the command to end, in another order."""
    stack, settlement = stack_without_worker, HeldSettlement(stack_without_worker.database)
    async with Worker(
        stack.client,
        task_queue=stack.task_queue,
        workflows=[SessionWorkflow],
        activities=session_activities(stack.database, settlement=settlement),
        max_cached_workflows=0,
    ):
        session = await stack.open(model=scripted().string)
        await settlement.holds.wait()
        await session.handle.signal(SessionWorkflow.settle)
        await has_gone_on(session)
        settlement.let_go()
        await session.until_settled()
        await session.end()
        assert (await session.handle.result()).completion_reason == "user_hangup"


async def has_gone_on(session: SessionHandle) -> None:
    """Wait until a session has processed what was sent to it."""

    async def has_no_task() -> bool:
        return not (await session.handle.describe()).raw_description.HasField("pending_workflow_task")

    await eventually(has_no_task)
