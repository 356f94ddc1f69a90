"""Scenarios of recorded histories: suites, which together take every path through the suite workflow."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from domain.suites.scenario import RecordedStart
from tests.support.waiting import eventually
from tests.workflows.suite.suite_stack import PlayedSuite, Players, SuiteStack, scenario, suite_of
from workflows.suite.workflow import SuiteWorkflow

SuiteStory = Callable[[SuiteStack, Players], Awaitable[PlayedSuite]]


@dataclass(frozen=True)
class SuiteScenario:
    """A suite to run on a server, by a workflow that continues as new after `events_per_run` events."""

    story: SuiteStory
    events_per_run: int | None = None


async def whole_suite(stack: SuiteStack, players: Players) -> PlayedSuite:
    """A suite within a budget: runs that pass, fail and could not begin, and a judge that fails."""
    players.calls = lambda start: ["0.01"] * 3
    players.finds = lambda judged: "failed" if judged.scenario.id == "hopeless" else "passed"
    players.judge_fails_on = "unjudged"
    lost = scenario("lost").model_copy(update={"history": RecordedStart(session="ses_erased")})
    scenarios = (scenario("easy", repeats=2), scenario("hopeless"), scenario("unjudged"), lost)
    suite = await stack.start(suite_of(*scenarios, concurrency=2, budget="0.50"))
    await suite.handle.result()
    return suite


async def small_budget(stack: SuiteStack, players: Players) -> PlayedSuite:
    """A budget that the first conversation uses up: it is checked and not judged, and no other begins."""
    players.calls = lambda start: ["0.10"] * 9
    suite = await stack.start(suite_of(scenario("a", repeats=3), budget="0.15"))
    await suite.handle.result()
    return suite


async def steered_suite(stack: SuiteStack, players: Players) -> PlayedSuite:
    """Paused, resumed, and cancelled while a session is under way."""
    players.open = False
    suite = await stack.start(suite_of(scenario("a", repeats=3), concurrency=1))
    await suite.until(lambda progress: progress.running == 1)
    await suite.handle.execute_update(SuiteWorkflow.pause)
    players.let_go(suite.session_ids[0])
    await suite.until(lambda progress: progress.passed == 1)
    await suite.handle.execute_update(SuiteWorkflow.resume)
    await suite.until(lambda progress: progress.running == 1)
    await eventually(lambda: _plays(players, 2))
    await suite.handle.execute_update(SuiteWorkflow.cancel)
    await suite.handle.result()
    return suite


async def long_suite(stack: SuiteStack, players: Players) -> PlayedSuite:
    """Several runs of the workflow; one session starts in the first and outlives it."""
    players.open = False
    suite = await stack.start(suite_of(scenario("a", repeats=8), concurrency=3))
    for session_id in suite.session_ids[1:]:
        players.let_go(session_id)
    await suite.until(lambda progress: progress.passed == 7)
    players.let_go(suite.session_ids[0])
    await suite.handle.result()
    return suite


async def _plays(players: Players, sessions: int) -> bool:
    return len(players.played) >= sessions


SUITE_SCENARIOS = {
    "suite": SuiteScenario(whole_suite),
    "suite-budget": SuiteScenario(small_budget),
    "suite-steered": SuiteScenario(steered_suite),
    "suite-continues": SuiteScenario(long_suite, events_per_run=80),
}
"""Histories of suites that every later version of the code has to replay."""
