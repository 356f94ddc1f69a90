"""Continue-as-new of long suites with running sessions: every run is played and judged once."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from contracts.sessions import session_workflow_id
from playhead.temporal.client import PlayheadPlugin
from playhead.temporal.dev_server import server_program
from store.database.connection import Database
from tests.conftest import PROMPT_TIMERS
from tests.support.waiting import eventually
from tests.workflows.suite.suite_stack import PlayedSuite, Players, SuiteStack, scenario, suite_of, suite_stack
from workflows.search_attributes import ALL
from workflows.suite.workflow import CANCELLED, SuiteWorkflow

EVENTS_PER_RUN = 60
"""Number of events after which the server suggests continue-as-new; a run of a suite takes about 25."""


@pytest_asyncio.fixture(scope="module")
async def impatient_server() -> AsyncIterator[WorkflowEnvironment]:
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
    finally:
        await server.shutdown()


@pytest.fixture
def players(database: Database) -> Players:
    return Players(database)


@pytest_asyncio.fixture
async def stack(impatient_server: WorkflowEnvironment, players: Players) -> AsyncIterator[SuiteStack]:
    async with suite_stack(impatient_server.client, players) as stack:
        yield stack


async def test_suite_over_several_runs_plays_and_judges_every_session_once(stack: SuiteStack, players: Players) -> None:
    suite = await stack.start(suite_of(scenario("a", repeats=10), scenario("b", repeats=10), concurrency=4))
    result = await suite.handle.result()
    assert await _runs(suite) >= 3
    assert (result.passed, result.outcome) == (20, "passed")
    assert sorted(each.session_id for each in players.played) == sorted(suite.session_ids)
    assert sorted(each.session_id for each in players.judged) == sorted(suite.session_ids)
    assert players.most_at_once <= 4


async def test_session_that_outlives_the_run_that_started_it_is_judged_by_a_later_one(
    stack: SuiteStack, players: Players
) -> None:
    suite = await _with_a_long_session(stack, players)
    players.let_go(suite.session_ids[0])
    assert (await suite.handle.result()).passed == 12
    assert players.judged[-1].session_id == suite.session_ids[0]


async def test_session_that_outlived_its_run_and_was_terminated_is_judged_too(
    stack: SuiteStack, players: Players
) -> None:
    suite = await _with_a_long_session(stack, players)
    await stack.client.get_workflow_handle(session_workflow_id(suite.session_ids[0])).terminate()
    assert (await suite.handle.result()).passed == 12


async def test_session_that_outlived_its_run_is_ended_when_the_suite_is_cancelled(
    stack: SuiteStack, players: Players
) -> None:
    suite = await _with_a_long_session(stack, players)
    await suite.handle.execute_update(SuiteWorkflow.cancel)
    assert (await suite.handle.result()).status == "cancelled"
    verdict = (await suite.runs())["a", 1].verdict
    assert verdict is not None
    assert verdict.cut_short == CANCELLED


async def test_suite_stays_paused_in_its_next_run(stack: SuiteStack, players: Players) -> None:
    players.open = False
    suite = await stack.start(suite_of(scenario("a", repeats=8), concurrency=5))
    await suite.until(lambda progress: progress.running == 5)
    await suite.handle.execute_update(SuiteWorkflow.pause)
    for session_id in suite.session_ids:
        players.let_go(session_id)
    await suite.until(lambda progress: progress.passed == 5)
    assert await _runs(suite) >= 2
    assert (await suite.progress()).status == "paused"
    await suite.handle.execute_update(SuiteWorkflow.resume)
    assert (await suite.handle.result()).passed == 8


async def _with_a_long_session(stack: SuiteStack, players: Players) -> PlayedSuite:
    """A suite whose first session is still running when all others are judged, in a later workflow run."""
    players.open = False
    suite = await stack.start(suite_of(scenario("a", repeats=12), concurrency=3))
    for session_id in suite.session_ids[1:]:
        players.let_go(session_id)
    await suite.until(lambda progress: progress.passed == 11)
    assert await _runs(suite) >= 2
    await eventually(lambda: _looks(suite))
    return suite


async def _looks(suite: PlayedSuite) -> bool:
    """True while the suite looks for sessions that have closed."""
    described = await suite.client.get_workflow_handle(suite.handle.id).describe()
    pending = described.raw_description.pending_activities
    return [each.activity_type.name for each in pending] == ["await_sessions"]


async def _runs(suite: PlayedSuite) -> int:
    """The number of runs of the workflow so far."""
    count, run_id = 1, ""
    while True:
        history = await suite.client.get_workflow_handle(suite.handle.id, run_id=run_id or None).fetch_history()
        run_id = history.events[0].workflow_execution_started_event_attributes.continued_execution_run_id
        if not run_id:
            return count
        count += 1
