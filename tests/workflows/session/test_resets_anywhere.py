"""Generated conversations that are reset at any event and go on: every answer belongs to its question, and is billed.

RESET_EXAMPLES in the environment is the number of conversations.
"""

import os
from collections.abc import Callable
from random import Random
from uuid import uuid4

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, ResetReapplyExcludeType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client

from store.database.connection import Database
from tests.support.agents import GREETING
from tests.support.provider import ScriptedModel
from tests.support.session_stack import SessionHandle, SessionStack, session_worker
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]
EXAMPLES = int(os.environ.get("RESET_EXAMPLES", "3"))
EXCLUDED = (
    (),
    (ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL,),
    (
        ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL,
        ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE,
    ),
)


@pytest.mark.parametrize("seed", range(EXAMPLES))
async def test_a_session_that_was_reset_answers_each_question_with_its_own_answer(
    client: Client, database: Database, scripted: Scripted, seed: int
) -> None:
    # A replayer does not know the id of a run, by which a session knows that it was reset: a new worker replays it.
    stack = SessionStack.on(client, database, f"resets-{uuid4().hex[:8]}")
    async with session_worker(stack):
        session = await converse(stack, scripted(), Random(seed))
    async with session_worker(stack):
        await session.say("Once more", on_busy="enqueue")
        assert (await session.texts())[-1] == ("Once more", "You said: Once more")
        await session.end()
        await session.handle.result()


async def converse(stack: SessionStack, model: ScriptedModel, random: Random) -> SessionHandle:
    """A session that talked, was reset and talked on, with all answers in their place."""
    session = await stack.open(model=model.string)
    for number in range(random.randint(1, 3)):
        await session.reply(f"Before {number}")
    await session.until_settled()
    await reset(session, random)
    for number in range(random.randint(1, 2)):
        await session.say(f"After {number}", on_busy="enqueue")

    async def agrees() -> bool:
        used = sum(each.requests for each in (await session.status()).usage.llm.values())
        rows = await stack.ledger(session)
        billed = sum(each.requests for row in rows for each in row.usage.llm.values())
        return used == billed == len(model.journal)

    await eventually(agrees)
    view = await session.timeline()
    for turn in (*view.turns, *(turn for branch in view.discarded_branches for turn in branch.turns)):
        assert turn.assistant_message is not None
        question = turn.user_message.text if turn.user_message else None
        assert turn.assistant_message.text == (GREETING if question is None else f"You said: {question}")
    return session


async def reset(session: SessionHandle, random: Random) -> None:
    """Reset a session at any of its workflow tasks, with or without what came after it."""
    ended = (EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,)
    tasks = [event.event_id for event in await session.events() if event.event_type in ended]
    client = session.stack.client
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=session.workflow_id),
            workflow_task_finish_event_id=random.choice(tasks),
            reset_reapply_exclude_types=random.choice(EXCLUDED),
            request_id=uuid4().hex,
            reason="a test",
        )
    )
