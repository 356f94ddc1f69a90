"""Suites from start to end: every run once, within concurrency and budget, and cancelled on request."""

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import pytest_asyncio
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.worker import Replayer

from contracts.sessions import SessionResult, session_workflow_id
from contracts.suites import run_session
from domain.sessions.caller_config import CallerLimits
from domain.suites.scenario import RecordedStart
from domain.suites.suite_state import Run, StartedRun
from playhead.temporal.client import PlayheadPlugin
from store.database.connection import Database
from store.sessions.sessions import SessionStore
from tests.support.session_stack import ORGANIZATION
from tests.support.waiting import eventually
from tests.workflows.suite.played_session import PlayedSession
from tests.workflows.suite.suite_stack import Players, SuiteStack, scenario, suite_of, suite_stack
from workflows.suite.workflow import CANCELLED, SuiteWorkflow


@pytest.fixture
def players(database: Database) -> Players:
    return Players(database)


@pytest_asyncio.fixture
async def stack(client: Client, players: Players) -> AsyncIterator[SuiteStack]:
    async with suite_stack(client, players) as stack:
        yield stack
    suites = client.list_workflows(f"WorkflowType = 'Suite' AND TaskQueue = '{stack.task_queue}'")
    replayer = Replayer(workflows=[SuiteWorkflow], plugins=[PlayheadPlugin()])
    results = await replayer.replay_workflows(suites.map_histories(), raise_on_replay_failure=False)
    assert not results.replay_failures, f"these suites were not deterministic: {results.replay_failures}"


async def test_every_run_is_played_judged_and_recorded_once(stack: SuiteStack, players: Players) -> None:
    players.finds = lambda judged: "failed" if judged.scenario.id == "hopeless" else "passed"
    suite = await stack.start(suite_of(scenario("easy", repeats=3), scenario("hopeless")))
    result = await suite.handle.result()
    assert (result.status, result.outcome) == ("completed", "failed")
    assert (result.passed, result.failed, result.inconclusive) == (3, 1, 0)
    assert await suite.outcomes() == {
        "easy 1": "passed",
        "easy 2": "passed",
        "easy 3": "passed",
        "hopeless 1": "failed",
    }
    assert sorted(each.session_id for each in players.played) == sorted(suite.session_ids)
    assert sorted(each.session_id for each in players.judged) == sorted(suite.session_ids)
    stored = await suite.stored()
    assert (stored.status, stored.outcome) == ("completed", "failed")


async def test_session_of_a_run_has_the_scenarios_context_and_is_found_by_its_suite(
    stack: SuiteStack, players: Players
) -> None:
    wanted = scenario("anna").model_copy(update={"context": {"first_name": "Anna"}})
    suite = await stack.start(suite_of(wanted))
    await suite.handle.result()
    (played,) = players.played
    assert (played.suite_id, played.initial_context) == (suite.id, {"first_name": "Anna"})
    row = await SessionStore(stack.database).find(ORGANIZATION, played.session_id)
    assert row is not None
    assert (row.suite_id, row.name, row.model) == (suite.id, "anna 1", "demo")
    assert row.annotations == {"suite": suite.id, "scenario": "anna", "repeat": 1}

    async def found() -> bool:
        sessions = stack.client.list_workflows(f"PlayheadSuite = '{suite.id}' AND WorkflowType = 'Session'")
        return [each.id async for each in sessions] == [session_workflow_id(played.session_id)]

    await eventually(found)


async def test_results_are_written_while_others_are_under_way(stack: SuiteStack, players: Players) -> None:
    players.open = False
    suite = await stack.start(suite_of(scenario("a", repeats=3)))
    await suite.until(lambda progress: progress.running == 3)
    players.let_go(suite.session_ids[1])
    await suite.until(lambda progress: progress.passed == 1)
    assert await suite.outcomes() == {"a 1": None, "a 2": "passed", "a 3": None}
    for session_id in suite.session_ids:
        players.let_go(session_id)
    await suite.handle.result()


async def test_sessions_at_once_never_exceed_the_concurrency_of_the_suite(stack: SuiteStack, players: Players) -> None:
    suite = await stack.start(suite_of(scenario("a", repeats=12), concurrency=3))
    await suite.handle.result()
    assert len(players.played) == 12
    assert players.most_at_once <= 3


async def test_paused_suite_finishes_what_is_under_way_and_starts_nothing_until_it_is_resumed(
    stack: SuiteStack, players: Players
) -> None:
    players.open = False
    suite = await stack.start(suite_of(scenario("a", repeats=3), concurrency=1))
    await suite.until(lambda progress: progress.running == 1)
    paused = await suite.handle.execute_update(SuiteWorkflow.pause)
    assert paused.status == (await suite.stored()).status == "paused"
    players.open = True
    players.let_go(suite.session_ids[0])
    await suite.until(lambda progress: progress.passed == 1 and progress.running == 0)
    assert len(players.played) == 1
    resumed = await suite.handle.execute_update(SuiteWorkflow.resume)
    assert resumed.status == (await suite.stored()).status == "running"
    assert (await suite.handle.result()).passed == 3


async def test_cancelled_suite_ends_its_sessions_and_judges_none(stack: SuiteStack, players: Players) -> None:
    players.open = False
    suite = await stack.start(suite_of(scenario("a", repeats=5), concurrency=2))
    await suite.until(lambda progress: progress.running == 2)
    await eventually(lambda: _has_begun(stack, suite.session_ids[:2]))
    cancelled = await suite.handle.execute_update(SuiteWorkflow.cancel)
    assert cancelled.status == "cancelled"
    result = await suite.handle.result()
    assert (result.status, result.outcome, result.inconclusive) == ("cancelled", "inconclusive", 2)
    assert players.judged == []
    runs = await suite.runs()
    assert {run.verdict.cut_short for run in runs.values() if run.verdict} == {CANCELLED}
    for session_id in suite.session_ids[:2]:
        session: WorkflowHandle[PlayedSession, SessionResult] = stack.client.get_workflow_handle_for(
            PlayedSession.run, session_workflow_id(session_id)
        )
        assert (await session.result()).completion_reason == CANCELLED
    assert (await suite.stored()).status == "cancelled"


async def test_cancellation_by_temporal_itself_ends_the_suite_cleanly(stack: SuiteStack, players: Players) -> None:
    players.open = False
    suite = await stack.start(suite_of(scenario("a", repeats=2)))
    await suite.until(lambda progress: progress.running == 2)
    await eventually(lambda: _has_begun(stack, suite.session_ids))
    await suite.handle.cancel()
    assert (await suite.handle.result()).status == "cancelled"
    assert (await suite.stored()).status == "cancelled"


async def test_budget_stops_new_runs_and_is_exceeded_by_less_than_a_call(stack: SuiteStack, players: Players) -> None:
    players.calls = lambda start: ["0.10"] * 7
    players.judge_costs = "0.10"
    suite = await stack.start(suite_of(scenario("a", repeats=30), concurrency=8, budget="4.00"))
    result = await suite.handle.result()
    runs = await suite.runs()
    spent = sum((run.cost.total for run in runs.values()), start=Decimal(0))
    assert Decimal("3.50") <= spent < Decimal("4.10")
    assert (await suite.progress()).cost == spent
    assert len(runs) < 30
    assert result.status == "completed"
    assert result.outcome == "inconclusive"


async def test_the_record_of_a_run_shows_its_held_budget(stack: SuiteStack, players: Players) -> None:
    players.open = False
    limited = scenario("a", repeats=9).model_copy(update={"limits": CallerLimits(max_cost_usd=Decimal("0.10"))})
    suite = await stack.start(suite_of(limited, concurrency=2, budget="1.00"))

    async def held() -> Decimal:
        return (await suite.store.progress(suite.id)).held

    async def both_are_recorded() -> bool:
        return len(await suite.runs()) == 2

    await eventually(both_are_recorded)
    assert await held() == Decimal("0.60"), "for each its limit, an exchange beyond it and a judge"
    players.open = True
    for session_id in suite.session_ids[:2]:
        players.let_go(session_id)
    await suite.handle.result()
    assert await held() == 0


async def test_session_that_used_up_the_budget_is_checked_and_not_judged(stack: SuiteStack, players: Players) -> None:
    players.calls = lambda start: ["0.60"] * 9
    suite = await stack.start(suite_of(scenario("a"), budget="1.00"))
    result = await suite.handle.result()
    assert result.outcome == "inconclusive"
    (checked,) = players.judged
    assert checked.scenario.success == ()
    run = (await suite.runs())["a", 1]
    assert run.cost.total == Decimal("1.20")
    assert run.verdict is not None
    assert [each.reason for each in run.verdict.criteria] == [
        "The budget of the suite was used up before the judge was called."
    ]


async def test_failing_judge_leaves_a_run_inconclusive_with_its_error(stack: SuiteStack, players: Players) -> None:
    players.judge_fails_on = "a"
    suite = await stack.start(suite_of(scenario("a")))
    assert (await suite.handle.result()).outcome == "inconclusive"
    assert (await suite.runs())["a", 1].error == "the judge refused"


async def test_terminated_session_is_judged_like_any(stack: SuiteStack, players: Players) -> None:
    players.open = False
    suite = await stack.start(suite_of(scenario("a")))
    await eventually(lambda: _has_begun(stack, suite.session_ids))
    await stack.client.get_workflow_handle(session_workflow_id(suite.session_ids[0])).terminate()
    assert (await suite.handle.result()).passed == 1


async def test_run_whose_recorded_session_is_gone_is_inconclusive_with_an_error(
    stack: SuiteStack, players: Players
) -> None:
    lost = scenario("lost").model_copy(update={"history": RecordedStart(session="ses_erased")})
    suite = await stack.start(suite_of(lost, scenario("a")))
    result = await suite.handle.result()
    assert (result.passed, result.inconclusive) == (1, 1)
    run = (await suite.runs())["lost", 1]
    assert run.error == "The session ses_erased that the scenario goes on from is not recorded."
    assert [each.scenario.id for each in players.judged] == ["a"]


async def test_retried_start_finds_its_session(stack: SuiteStack, players: Players) -> None:
    """As after a reset of the suite to before the start."""
    players.open = False
    suite_id, start = await stack.prepare(suite_of(scenario("a")))
    session = run_session(start, StartedRun(run=Run(scenario="a", repeat=1)))
    await stack.client.start_workflow(
        PlayedSession.run, session, id=session_workflow_id(session.session_id), task_queue=stack.task_queue
    )
    suite = await stack.go(suite_id, start)
    await eventually(lambda: _has_begun(stack, suite.session_ids))
    await suite.until(lambda progress: progress.running == 1)
    players.let_go(session.session_id)
    assert (await suite.handle.result()).passed == 1
    assert [each.session_id for each in players.played] == [session.session_id]


async def test_suite_that_is_terminated_leaves_its_sessions_alone(stack: SuiteStack, players: Players) -> None:
    players.open = False
    suite = await stack.start(suite_of(scenario("a")))
    await eventually(lambda: _has_begun(stack, suite.session_ids))
    await suite.handle.terminate()
    session = stack.client.get_workflow_handle(session_workflow_id(suite.session_ids[0]))
    players.let_go(suite.session_ids[0])
    await session.result()


async def _has_begun(stack: SuiteStack, session_ids: list[str]) -> bool:
    for session_id in session_ids:
        try:
            described = await stack.client.get_workflow_handle(session_workflow_id(session_id)).describe()
        except Exception:
            return False
        if described.status is not WorkflowExecutionStatus.RUNNING:
            return False
    return True
