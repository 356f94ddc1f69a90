"""A suite whose scenario goes on from a recorded session: its runs have that past, and pay for what is new only."""

from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest_asyncio
from temporalio.worker import Worker

from activities.suites import SuiteActivities
from domain.suites.checks import Checks
from domain.suites.scenario import RecordedStart, Scenario
from domain.usage import TokenPrice
from store.recorded_sessions import RecordedSessions
from store.sessions.sessions import SessionStore
from store.suites import SuiteStore
from tests.support.activities import activities_on
from tests.support.agents import GREETING
from tests.support.provider import Calls, Says, ScriptedModel
from tests.support.stage import ORGANIZATION, Stage
from tests.workflows.suite.suite_stage import SuiteStage, suite_of
from workflows.session.workflow import SessionWorkflow
from workflows.suite.workflow import SuiteWorkflow

Scripted = Callable[..., ScriptedModel]

A_DOLLAR_A_TOKEN = TokenPrice(input=Decimal(1_000_000), output=Decimal(1_000_000))


@pytest_asyncio.fixture
async def stage(empty_stage: Stage) -> AsyncIterator[Stage]:
    """A stage with a worker for sessions and suites, on which every scripted token costs a dollar."""
    database = empty_stage.database
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
        empty_stage.client,
        task_queue=empty_stage.task_queue,
        workflows=[SessionWorkflow, SuiteWorkflow],
        activities=[*activities_on(database, prices=prices), *kept],
    ):
        yield empty_stage


def going_on_from(session_id: str, turn_id: str | None, model: str) -> Scenario:
    return Scenario(
        id="goes-on",
        goal="Borrow Emma.",
        history=RecordedStart(session=session_id, turn=turn_id),
        checks=Checks(ended_with=("caller_hung_up",)),
        caller_model=model,
    )


async def test_a_run_goes_on_from_a_recorded_turn_and_costs_what_it_adds(stage: Stage, scripted: Scripted) -> None:
    agent = scripted(Says("We have Emma."), Says("It is out."), Says("On shelf 7."), name="history-agent")
    caller = scripted(Says("Where does it stand?"), Calls("hang_up", '{"reason": "done"}'), name="history-caller")
    source = await stage.open(model=agent.string)
    first = (await source.say("Do you have Emma?")).turn
    await source.say("Is it in?")
    await source.at_rest()
    suites = SuiteStage(stage.client, stage.database, stage.task_queue)
    suite = suite_of(going_on_from(source.id, first.id, caller.string)).model_copy(update={"model": agent.string})
    played = await suites.start(suite)
    await played.handle.result()
    assert await played.outcomes() == {"goes-on 1": "passed"}
    [session_id] = played.session_ids
    stored = await SessionStore(stage.database).find(ORGANIZATION, session_id)
    assert stored is not None
    assert stored.head is not None
    turns = await SessionStore(stage.database).turns(session_id, leaf_turn_id=stored.head.head_turn_id or "", limit=9)
    answers = [turn.assistant_message.text for turn in turns if turn.assistant_message]
    assert answers == [GREETING, "We have Emma.", "On shelf 7."]
    bought = agent.journal[2:] + caller.journal
    [run] = (await played.runs()).values()
    assert run.cost.total == stored.head.cost.total == Decimal(18 * len(bought))
