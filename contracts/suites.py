"""Every durable input and result of suites that crosses a Temporal boundary, and the id a suite is found under.

Each of these is in running suites' histories: give new fields defaults, never change or reuse one.
"""

from datetime import datetime

from pydantic import JsonValue

from contracts.sessions import AgentRef, StartSession, Timing
from domain.agents.definition import AgentDefinition
from domain.durable import FrozenModel
from domain.sessions.timeline import Timeline
from domain.suites.scenario import RecordedStart, Scenario, Suite
from domain.suites.suite_state import Run, StartedRun, SuiteState, SuiteStatus
from domain.suites.verdicts import Outcome, Verdict
from domain.usage import Money


class PinnedAgent(FrozenModel):
    """The version of an agent that every session of a suite talks to, with what a session's record shows of it."""

    ref: AgentRef
    number: int
    name: str
    definition: AgentDefinition


class StartSuite(FrozenModel):
    """Everything a suite is made of. `model` is taken where neither suite nor agent names one.

    `price_per_second` is the organization's when the suite was started, `state` what an earlier run of the workflow
    carries over.
    """

    suite_id: str
    organization_id: str
    suite: Suite
    agent: PinnedAgent
    model: str
    timing: Timing = Timing()
    price_per_second: Money | None = None
    state: SuiteState | None = None


class SuiteResult(FrozenModel):
    """What a finished suite leaves in Temporal. The store has the rest."""

    status: SuiteStatus
    outcome: Outcome
    passed: int
    failed: int
    inconclusive: int


class BeginRunInput(FrozenModel):
    """A run whose session is about to be started: it is written down first, so that its turns can be recorded.

    `name`, `model`, `initial_context` and `simulator` are what the session's record shows; `history` is a recorded
    session that it goes on from.
    """

    suite_id: str
    run: Run
    session_id: str
    organization_id: str
    agent: AgentRef
    agent_number: int
    agent_name: str
    name: str
    model: str
    initial_context: dict[str, JsonValue] = {}
    simulator: dict[str, JsonValue] | None = None
    history: RecordedStart | None = None
    at: datetime


class BeginRunResult(FrozenModel):
    """The past that a run goes on from, if its scenario names one, and what the session of that past began with."""

    timeline: Timeline | None = None
    initial_context: dict[str, JsonValue] = {}

    def with_history(self, session: StartSession) -> StartSession:
        """The session of the run, with its past."""
        if self.timeline is None:
            return session
        return session.model_copy(update={"timeline": self.timeline, "initial_context": self.initial_context})


class PriceRunInput(FrozenModel):
    """A session of which to tell what it has cost so far."""

    session_id: str
    organization_id: str


class RunPrice(FrozenModel):
    """What a session has cost by its saved steps, and the dearest exchange (or judge) among them."""

    cost: Money
    largest_call: Money | None = None


class RecordRunInput(FrozenModel):
    """What came of a run. `error` says why there is no verdict, if something broke."""

    suite_id: str
    run: Run
    session_id: str
    organization_id: str
    verdict: Verdict
    error: str | None = None
    at: datetime


class NoteSuiteInput(FrozenModel):
    """How a suite stands, for everybody who reads the store."""

    suite_id: str
    status: SuiteStatus
    outcome: Outcome | None = None
    at: datetime


class AwaitSessionsInput(FrozenModel):
    """Sessions of which to wait for any to close, for so many seconds at most."""

    session_ids: tuple[str, ...]
    seconds: float


class AwaitSessionsResult(FrozenModel):
    """Those that have closed, however they did. None when the time was over first."""

    closed: tuple[str, ...] = ()


def suite_workflow_id(suite_id: str) -> str:
    """The workflow that is this suite."""
    return f"suite-{suite_id}"


def run_session(start: StartSuite, started: StartedRun) -> StartSession:
    """The session of a run, as it is started: the suite's agent, talking to the scenario's caller."""
    suite, run = start.suite, started.run
    scenario = scenario_of(suite, run)
    limits = start.agent.definition.limits.model_copy(update={"max_cost_usd": started.limit})
    model = suite.model or start.agent.definition.model or start.model
    return StartSession(
        session_id=run.session_id(start.suite_id),
        organization_id=start.organization_id,
        agent=start.agent.ref,
        definition=start.agent.definition.model_copy(update={"limits": limits}),
        model=model,
        name=f"{scenario.id} {run.repeat}",
        initial_context=scenario.context,
        timing=start.timing,
        price_per_second=start.price_per_second,
        suite_id=start.suite_id,
        simulator=scenario.simulator(model=suite.caller_model, seed=suite.seed_of(scenario.id, run.repeat)),
        mocks=scenario.mocks,
        settles_again=True,
        reads_after_the_end=True,
    )


def scenario_of(suite: Suite, run: Run) -> Scenario:
    """The scenario of a run."""
    return next(scenario for scenario in suite.scenarios if scenario.id == run.scenario)
