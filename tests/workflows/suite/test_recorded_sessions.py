"""Scenarios that continue a recorded session: runs have its turns, and are billed for new ones only."""

from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest_asyncio
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowHandle
from temporalio.worker import Worker

from activities.suites import SuiteActivities
from contracts.sessions import session_workflow_id
from contracts.suites import SuiteResult
from domain.suites.checks import Checks
from domain.suites.scenario import RecordedStart, Scenario
from domain.usage import TokenPrice
from store.recorded_sessions import RecordedSessions
from store.sessions.erasure import ErasureStore
from store.sessions.sessions import SessionStore
from store.suites import SuiteStore
from tests.support.activities import session_activities
from tests.support.agents import GREETING
from tests.support.closed_sessions import forgotten, is_known
from tests.support.provider import ScriptedModel, TextReply, ToolCallReply
from tests.support.session_stack import ORGANIZATION, SessionStack
from tests.workflows.suite.suite_stack import SuiteStack, suite_of
from workflows.session.workflow import SessionWorkflow
from workflows.suite.workflow import SuiteWorkflow

Scripted = Callable[..., ScriptedModel]

A_DOLLAR_A_TOKEN = TokenPrice(input=Decimal(1_000_000), output=Decimal(1_000_000))


@pytest_asyncio.fixture
async def stack(stack_without_worker: SessionStack) -> AsyncIterator[SessionStack]:
    """A stack with a worker for sessions and suites, on which every scripted token costs a dollar."""
    database = stack_without_worker.database
    suites = SuiteActivities(SuiteStore(database), RecordedSessions(SessionStore(database)))
    kept: list[Callable[..., Any]] = [
        suites.begin_run,
        suites.price_run,
        suites.record_run,
        suites.note_suite,
        suites.await_sessions,
    ]
    prices = {f"openai:history-{each}": A_DOLLAR_A_TOKEN for each in ("agent", "caller")}
    async with Worker(
        stack_without_worker.client,
        task_queue=stack_without_worker.task_queue,
        workflows=[SessionWorkflow, SuiteWorkflow],
        activities=[*session_activities(database, prices=prices), *kept],
    ):
        yield stack_without_worker


def going_on_from(session_id: str, turn_id: str | None, model: str) -> Scenario:
    return Scenario(
        id="goes-on",
        goal="Borrow Emma.",
        history=RecordedStart(session=session_id, turn=turn_id),
        checks=Checks(ended_with=("caller_hung_up",)),
        caller_model=model,
    )


async def test_a_run_goes_on_from_a_recorded_turn_and_costs_only_its_own_calls(
    stack: SessionStack, scripted: Scripted
) -> None:
    agent = scripted(
        TextReply("We have Emma."), TextReply("It is out."), TextReply("On shelf 7."), name="history-agent"
    )
    caller = scripted(
        TextReply("Where does it stand?"), ToolCallReply("hang_up", '{"reason": "done"}'), name="history-caller"
    )
    source = await stack.open(model=agent.string)
    first = (await source.say("Do you have Emma?")).turn
    await source.say("Is it in?")
    await source.until_settled()
    before = len(agent.journal) + len(caller.journal)
    suites = SuiteStack(stack.client, stack.database, stack.task_queue)
    suite = suite_of(going_on_from(source.id, first.id, caller.string)).model_copy(update={"model": agent.string})
    played = await suites.start(suite)
    await played.handle.result()
    assert await played.outcomes() == {"goes-on 1": "passed"}
    [session_id] = played.session_ids
    stored = await SessionStore(stack.database).find(ORGANIZATION, session_id)
    assert stored is not None
    assert stored.head is not None
    turns = await SessionStore(stack.database).turns(session_id, leaf_turn_id=stored.head.head_turn_id or "", limit=9)
    answers = [turn.assistant_message.text for turn in turns if turn.assistant_message]
    assert answers == [GREETING, "We have Emma.", "On shelf 7."]
    calls = len(agent.journal) + len(caller.journal) - before
    [run] = (await played.runs()).values()
    assert calls == 3
    assert run.cost.total == stored.head.cost.total == Decimal(18 * calls)


async def test_a_suite_that_is_reset_does_not_start_an_erased_session_again(
    stack: SessionStack, scripted: Scripted
) -> None:
    agent = scripted(TextReply("We have Emma."), TextReply("On shelf 7."), name="history-agent")
    caller = scripted(
        TextReply("Where does it stand?"), ToolCallReply("hang_up", '{"reason": "done"}'), name="history-caller"
    )
    source = await stack.open(model=agent.string)
    await source.say("Do you have Emma?")
    await source.until_settled()
    suites = SuiteStack(stack.client, stack.database, stack.task_queue)
    suite = suite_of(going_on_from(source.id, None, caller.string)).model_copy(update={"model": agent.string})
    played = await suites.start(suite)
    await played.handle.result()
    [session_id] = played.session_ids
    calls = len(agent.journal) + len(caller.journal)
    await forgotten(stack.client, session_workflow_id(session_id))
    assert await ErasureStore(stack.database).erase(ORGANIZATION, session_id)

    described = await played.handle.describe()
    reset = ResetWorkflowExecutionRequest(
        namespace=stack.client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=described.id, run_id=described.run_id),
        reason="as an operator does",
        workflow_task_finish_event_id=4,
        request_id=uuid4().hex,
    )
    response = await stack.client.workflow_service.reset_workflow_execution(reset, retry=True)
    again: WorkflowHandle[SuiteWorkflow, SuiteResult] = stack.client.get_workflow_handle_for(
        SuiteWorkflow.run, described.id, run_id=response.run_id
    )
    await again.result()
    assert not await is_known(stack.client, session_workflow_id(session_id))
    assert await SessionStore(stack.database).find(ORGANIZATION, session_id) is None
    assert len(agent.journal) + len(caller.journal) == calls
    assert await played.outcomes() == {"goes-on 1": "passed"}, "the first outcome of a run stays"
