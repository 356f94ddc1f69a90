"""The stack of the suite tests: real suites over fake sessions with scripted results and costs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities.heartbeats import heartbeats
from activities.suites import SuiteActivities
from contracts.judge import JudgeInput, JudgeResult
from contracts.sessions import AgentRef, StartSession
from contracts.suites import PinnedAgent, StartSuite, SuiteResult, suite_workflow_id
from domain.suites.checks import Checks
from domain.suites.scenario import Scenario, Suite
from domain.suites.suite_state import SuiteProgress, plan_of
from domain.suites.verdicts import CriterionVerdict, Outcome, verdict_of
from domain.turns.engine import ModelReply
from domain.usage import Usage, rounded_cost
from store.agents import AgentStore
from store.database.connection import Database
from store.recorded_sessions import RecordedSessions
from store.sessions.sessions import SessionStore
from store.sessions.steps import StepStore
from store.suites import NewSuite, StoredRun, StoredSuite, SuiteStore
from tests.support.agents import CLERK
from tests.support.session_stack import ORGANIZATION, QUICK
from tests.support.waiting import eventually
from tests.workflows.suite.played_session import PlayedSession
from workflows.suite.workflow import SuiteWorkflow

MODEL = "openai:gpt-5-mini"


@dataclass
class Players:
    """Activities that play sessions and judge them as the test says, and record what they did."""

    database: Database
    open: bool = True
    """True when sessions end by themselves; otherwise each waits until the test lets it go."""
    calls: Callable[[StartSession], list[str]] = lambda start: []
    """Costs of the model calls of a session, in US dollars; it stops at its limit, as sessions do."""
    judge_costs: str | None = None
    finds: Callable[[JudgeInput], Outcome] = lambda judged: "passed"
    judge_fails_on: str | None = None
    """The scenario whose judge fails."""
    played: list[StartSession] = field(default_factory=list)
    judged: list[JudgeInput] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    _let_go: dict[str, asyncio.Event] = field(default_factory=dict)

    def let_go(self, session_id: str) -> None:
        """Let a session end."""
        self._let_go.setdefault(session_id, asyncio.Event()).set()

    @activity.defn
    async def play(self, start: StartSession) -> None:
        """Play one session."""
        self.played.append(start)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self._make_calls(start)
            async with heartbeats():
                if not self.open:
                    await self._let_go.setdefault(start.session_id, asyncio.Event()).wait()
        finally:
            self.at_once -= 1

    @activity.defn
    async def judge_session(self, judged: JudgeInput) -> JudgeResult:
        """Judge one session."""
        self.judged.append(judged)
        if judged.scenario.id == self.judge_fails_on and judged.scenario.success:
            raise ApplicationError("the judge refused", type="model_failed", non_retryable=True)
        outcome = self.finds(judged)
        if judged.scenario.success and self.judge_costs:
            await self._save(judged.session_id, judged.judgement_id, 0, self.judge_costs)
        criteria = tuple(
            CriterionVerdict(criterion=each, outcome=outcome, reason="It is so.") for each in judged.scenario.success
        )
        return JudgeResult(verdict=verdict_of(criteria, ()))

    async def _make_calls(self, start: StartSession) -> None:
        limit, spent = start.definition.limits.max_cost_usd, Decimal(0)
        for number, cost in enumerate(self.calls(start)):
            if limit is not None and spent >= limit:
                return
            await self._save(start.session_id, f"turn_{number}", 0, cost)
            spent += Decimal(cost)

    async def _save(self, session_id: str, turn_id: str, step: int, cost: str) -> None:
        await StepStore(self.database).save(
            session_id=session_id,
            organization_id=ORGANIZATION,
            digest=f"{turn_id}/{step}",
            after="",
            turn_id=turn_id,
            step=step,
            node_id="greet",
            model=MODEL,
            messages="[]",
            reply=ModelReply(text="Yes.", usage=Usage(), cost=rounded_cost(MODEL, Decimal(cost))),
            created_at=datetime.now(UTC),
        )


@dataclass(frozen=True)
class PlayedSuite:
    """A started suite, and the requests of its client."""

    id: str
    suite: Suite
    client: Client
    store: SuiteStore
    handle: WorkflowHandle[SuiteWorkflow, SuiteResult]

    @property
    def session_ids(self) -> list[str]:
        """The sessions of all its runs, in the order of the plan."""
        return [run.session_id(self.id) for run in plan_of(self.suite)]

    async def progress(self) -> SuiteProgress:
        """The progress of the suite."""
        return await self.handle.query(SuiteWorkflow.progress)

    async def until(self, seen: Callable[[SuiteProgress], bool]) -> SuiteProgress:
        """Its progress, once the condition holds."""

        async def look() -> SuiteProgress | None:
            progress = await self.progress()
            return progress if seen(progress) else None

        found = await eventually(look)
        assert found is not None
        return found

    async def stored(self) -> StoredSuite:
        """The suite as the store has it."""
        found = await self.store.find(ORGANIZATION, self.id)
        assert found is not None
        return found

    async def runs(self) -> dict[tuple[str, int], StoredRun]:
        """Its runs as the store has them."""
        return {(each.run.scenario, each.run.repeat): each for each in await self.store.runs(self.id)}

    async def outcomes(self) -> dict[str, str | None]:
        """The outcomes of its runs, as far as they were judged."""
        return {
            f"{scenario} {repeat}": each.verdict.outcome if each.verdict else None
            for (scenario, repeat), each in (await self.runs()).items()
        }


@dataclass(frozen=True)
class SuiteStack:
    """A task queue for suites, and the store behind it."""

    client: Client
    database: Database
    task_queue: str

    async def prepare(self, suite: Suite) -> tuple[str, StartSuite]:
        """A suite as the API has it before its workflow is started."""
        agent = await AgentStore(self.database).add_version(ORGANIZATION, CLERK, ())
        suite_id = f"sui_{uuid4().hex[:12]}"
        new = NewSuite(
            id=suite_id,
            organization_id=ORGANIZATION,
            agent_id=agent.id,
            agent_version=agent.version,
            agent_name=agent.name,
            suite=suite,
            planned=len(plan_of(suite)),
            created_at=datetime.now(UTC),
        )
        await SuiteStore(self.database).create(new)
        pinned = PinnedAgent(
            ref=AgentRef(id=agent.id, version=agent.version),
            number=agent.number,
            name=agent.name,
            definition=agent.definition,
        )
        return suite_id, StartSuite(
            suite_id=suite_id, organization_id=ORGANIZATION, suite=suite, agent=pinned, model="demo", timing=QUICK
        )

    async def start(self, suite: Suite) -> PlayedSuite:
        """Start a suite."""
        return await self.go(*await self.prepare(suite))

    async def go(self, suite_id: str, start: StartSuite) -> PlayedSuite:
        """Start a suite that was prepared."""
        handle = await self.client.start_workflow(
            SuiteWorkflow.run, start, id=suite_workflow_id(suite_id), task_queue=self.task_queue
        )
        return PlayedSuite(suite_id, start.suite, self.client, SuiteStore(self.database), handle)


@asynccontextmanager
async def suite_stack(client: Client, players: Players) -> AsyncIterator[SuiteStack]:
    """A stack with a worker that runs the players."""
    stack = SuiteStack(client, players.database, f"suites-{uuid4().hex[:8]}")
    async with suite_worker(stack, players):
        yield stack


def suite_worker(stack: SuiteStack, players: Players) -> Worker:
    """A worker of a stack."""
    kept = SuiteActivities(SuiteStore(stack.database), RecordedSessions(SessionStore(stack.database)))
    return Worker(
        stack.client,
        task_queue=stack.task_queue,
        workflows=[SuiteWorkflow, PlayedSession],
        activities=[
            players.play,
            players.judge_session,
            kept.begin_run,
            kept.price_run,
            kept.record_run,
            kept.note_suite,
            kept.await_sessions,
        ],
        graceful_shutdown_timeout=timedelta(seconds=0.1),
    )


def scenario(name: str, *, repeats: int | None = None, criteria: tuple[str, ...] = ("It went well.",)) -> Scenario:
    """A scenario whose sessions are played by the test."""
    return Scenario(id=name, goal="Whatever the test says.", success=criteria, repeats=repeats, checks=Checks())


def suite_of(*scenarios: Scenario, concurrency: int = 10, repeats: int = 1, budget: str | None = None) -> Suite:
    """A suite of scenarios with the clerk."""
    return Suite(
        name="a suite of the tests",
        agent=CLERK.name,
        scenarios=scenarios,
        concurrency=concurrency,
        repeats=repeats,
        budget_usd=Decimal(budget) if budget else None,
    )
