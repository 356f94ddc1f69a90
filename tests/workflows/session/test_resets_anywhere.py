"""Generated conversations, reset at every event and continued: every answer belongs to its question, and is billed.

A short conversation is held once. Its run is then reset at each event at which Temporal allows it, every time from the
same history, with a message after each. RESET_EXAMPLES in the environment is the number of generated conversations,
new ones each time; without it they are few and always the same.
"""

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from uuid import uuid4

import pytest_asyncio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import ResetReapplyExcludeType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from store.database.connection import Database
from tests.support.activities import session_activities
from tests.support.agents import GREETING
from tests.support.provider import ModelProvider, ScriptedModel
from tests.support.session_stack import SessionHandle, SessionStack
from tests.support.waiting import eventually
from workflows.session.workflow import SessionWorkflow
from workflows.webhook_delivery import DeliverWebhookWorkflow

EXAMPLES = os.environ.get("RESET_EXAMPLES")
EXAMPLES_OF_THE_SUITE = 1
SIGNALS = ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL
UPDATES = ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE
EXCLUDED = ((SIGNALS, UPDATES), (), (SIGNALS,))
"""Kinds of events that a reset does not reapply; the resets take these sets in turn."""


@dataclass(frozen=True)
class Say:
    """A message with an id, or a signal without one. The same words may be said twice."""

    text: str
    is_signal: bool = False


@dataclass(frozen=True)
class GoBack:
    """A rewind by so many turns."""

    turns: int


Action = Say | GoBack
ACTIONS = st.one_of(
    st.builds(Say, st.sampled_from(["One", "Two"]), st.booleans()), st.builds(GoBack, st.integers(1, 2))
)
CONVERSATIONS = st.lists(ACTIONS, min_size=1, max_size=3)


@pytest_asyncio.fixture(scope="module")
async def stack(client: Client, database: Database, provider: ModelProvider) -> AsyncIterator[SessionStack]:
    """A worker without a workflow cache: each of its tasks replays the history."""
    stack = SessionStack.on(client, database, f"resets-{uuid4().hex[:8]}")
    async with Worker(
        stack.client,
        task_queue=stack.task_queue,
        workflows=[SessionWorkflow, DeliverWebhookWorkflow],
        activities=session_activities(database),
        max_cached_workflows=0,
    ):
        yield stack


@settings(
    max_examples=int(EXAMPLES or EXAMPLES_OF_THE_SUITE),
    derandomize=EXAMPLES is None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(actions=[Say("One"), GoBack(1), Say("Two", is_signal=True)], offset=1)
@given(actions=CONVERSATIONS, offset=st.integers(0, len(EXCLUDED) - 1))
async def test_a_session_that_was_reset_at_any_event_answers_each_question_with_its_own_answer(
    stack: SessionStack, scripted: Callable[..., ScriptedModel], actions: list[Action], offset: int
) -> None:
    model = scripted()
    session = await stack.open(model=model.string)
    for action in actions:
        await take(session, action)
    await session.until_settled()
    [*_, newest] = history = await session.events()
    run_id = (await session.handle.describe()).run_id
    resets = 0
    for event_id in range(history[0].event_id, newest.event_id + 2):
        excluded = EXCLUDED[(offset + resets) % len(EXCLUDED)]
        if await reset(session, run_id, event_id, excluded):
            resets += 1
            await session.say(f"After {event_id}", on_busy="enqueue")
            await agreed(session, model)
    assert resets > len(actions)
    await session.end()
    await session.handle.result()


async def take(session: SessionHandle, action: Action) -> None:
    """Take one step of a conversation, and wait until it is done."""
    turns = (await session.timeline()).turns
    match action:
        case GoBack(back):
            await session.rewind(turns[max(0, len(turns) - 1 - back)].id)
        case Say(text, is_signal=True):
            await session.handle.signal(SessionWorkflow.user_message, text)

            async def is_answered() -> bool:
                return (await session.status()).head_turn_id != turns[-1].id and not await is_busy(session)

            await eventually(is_answered)
        case Say(text):
            await session.say(text)


async def is_busy(session: SessionHandle) -> bool:
    return (await session.status()).status == "pending_assistant_turn"


async def reset(
    session: SessionHandle, run_id: str, event_id: int, excluded: tuple[ResetReapplyExcludeType.ValueType, ...]
) -> bool:
    """Reset a run of a session to before an event. False where Temporal does not allow it."""
    client = session.stack.client
    request = ResetWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=session.workflow_id, run_id=run_id),
        workflow_task_finish_event_id=event_id,
        reset_reapply_exclude_types=excluded,
        request_id=uuid4().hex,
        reason="a test",
    )
    try:
        await client.workflow_service.reset_workflow_execution(request, retry=True)
    except RPCError as error:
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise
        return False
    return True


async def agreed(session: SessionHandle, model: ScriptedModel) -> None:
    """Wait until session, ledger and provider count the same calls; then each answer must belong to its question."""

    async def agrees() -> bool:
        used = sum(each.requests for each in (await session.status()).usage.llm.values())
        rows = await session.stack.ledger(session)
        billed = sum(each.requests for row in rows for each in row.usage.llm.values())
        return used == billed == len(model.journal) and not await is_busy(session)

    await eventually(agrees)
    view = await session.timeline()
    for turn in (*view.turns, *(turn for branch in view.discarded_branches for turn in branch.turns)):
        question = turn.user_message.text if turn.user_message else None
        answer = turn.assistant_message.text if turn.assistant_message else None
        if turn.status == "completed" or answer is not None:  # a rewind that is delivered again stops a reply
            assert answer == (GREETING if question is None else f"You said: {question}")
