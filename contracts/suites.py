"""Suites: inputs and results of the suite workflow and its activities, and the id of the workflow.

Running suites have these in their histories: give new fields defaults, never change or reuse a field.
"""

from datetime import datetime
from decimal import Decimal

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
    """The version of an agent that all sessions of a suite use, with the fields that session records show."""

    ref: AgentRef
    number: int
    name: str
    definition: AgentDefinition


class StartSuite(FrozenModel):
    """Input of the suite workflow. `model` is the default where neither suite nor agent names one.

    `price_per_second` is the organization's price at the start of the suite; `state` is carried over from an earlier
    run of the workflow.
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
    """Result of the suite workflow, in brief. The store has everything else."""

    status: SuiteStatus
    outcome: Outcome
    passed: int
    failed: int
    inconclusive: int


class BeginRunInput(FrozenModel):
    """A run whose session is about to start. It is stored first, so that the turns of the session can be recorded.

    `name`, `model`, `initial_context` and `simulator` become the record of the session; `history` is a recorded
    session to continue from; `held` is what the run reserves of the suite's budget.
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
    held: Money = Decimal(0)
    at: datetime


class BeginRunResult(FrozenModel):
    """The recorded timeline a run continues from, if its scenario names one, and the initial context it had."""

    timeline: Timeline | None = None
    initial_context: dict[str, JsonValue] = {}

    def with_history(self, session: StartSession) -> StartSession:
        """The session of the run, with the recorded timeline."""
        if self.timeline is None:
            return session
        return session.model_copy(update={"timeline": self.timeline, "initial_context": self.initial_context})


class PriceRunInput(FrozenModel):
    """A session whose cost so far is requested."""

    session_id: str
    organization_id: str


class RunPrice(FrozenModel):
    """Cost of a session according to its saved steps, and an upper bound on its costliest exchange or judge call."""

    cost: Money
    largest_call: Money | None = None


class RecordRunInput(FrozenModel):
    """The verdict of a run. `error` is the reason why the run could not be judged, if it failed."""

    suite_id: str
    run: Run
    session_id: str
    organization_id: str
    verdict: Verdict
    error: str | None = None
    at: datetime


class NoteSuiteInput(FrozenModel):
    """Status of a suite, to be stored."""

    suite_id: str
    status: SuiteStatus
    outcome: Outcome | None = None
    at: datetime


class AwaitSessionsInput(FrozenModel):
    """Sessions to wait for: until one of them closes, or for at most `seconds`."""

    session_ids: tuple[str, ...]
    seconds: float


class AwaitSessionsResult(FrozenModel):
    """The sessions that have closed, for any reason; empty after a timeout."""

    closed: tuple[str, ...] = ()


def suite_workflow_id(suite_id: str) -> str:
    """Id of the workflow of a suite."""
    return f"suite-{suite_id}"


def run_session(start: StartSuite, started: StartedRun) -> StartSession:
    """Input of the session of a run: the suite's agent, with the scenario's simulated user."""
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
    )


def scenario_of(suite: Suite, run: Run) -> Scenario:
    """The scenario of a run."""
    return next(scenario for scenario in suite.scenarios if scenario.id == run.scenario)
