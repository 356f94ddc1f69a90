"""Start, pause, resume and cancellation of suites: first their row in the store, then their workflow."""

import asyncio
from datetime import UTC, datetime
from typing import Final, Literal

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from api.http.problems import Problem, invalid, not_found, unavailable
from api.sessions.spending_limits import SpendingLimits
from api.temporal.errors import SessionClosed, WaitTimedOut, translate_temporal_errors
from api.temporal.time_limit import time_limit
from contracts.sessions import AgentRef, Timing
from contracts.suites import PinnedAgent, StartSuite, SuiteResult, suite_workflow_id
from domain.agents.validation_errors import InvalidDefinition, ValidationIssue, error_count
from domain.suites.compatibility import compatibility_issues
from domain.suites.scenario import InvalidSuite, Suite
from domain.suites.suite_state import SuiteProgress, plan_of
from store.agents import AgentStore, StoredAgent
from store.database.ids import keyed_id, new_id
from store.recorded_sessions import RecordedSessions
from store.suites import NewSuite, StoredSuite, SuiteStore
from workflows import search_attributes
from workflows.suite.workflow import SuiteWorkflow

SUMMARY_BYTES: Final = 200

_OTHER_SUITE: Final = "The Idempotency-Key was already used for another suite. Use a new key for a new suite."

SuiteCommand = Literal["pause", "resume", "cancel"]
Handle = WorkflowHandle[SuiteWorkflow, SuiteResult]

_UPDATES: Final = {"pause": SuiteWorkflow.pause, "resume": SuiteWorkflow.resume, "cancel": SuiteWorkflow.cancel}


class SuiteService:
    """Starts suites and sends commands to them."""

    def __init__(
        self,
        client: Client,
        suites: SuiteStore,
        agents: AgentStore,
        spending_limits: SpendingLimits,
        recorded_sessions: RecordedSessions,
        *,
        task_queue: str,
        model: str,
        timing: Timing,
        wait_seconds: float,
    ) -> None:
        self._client = client
        self._suites = suites
        self._agents = agents
        self._spending_limits = spending_limits
        self._recorded_sessions = recorded_sessions
        self._task_queue = task_queue
        self._model = model
        self._timing = timing
        self._wait_seconds = wait_seconds

    async def start(self, organization_id: str, suite: Suite, idempotency_key: str | None) -> StoredSuite:
        """Start a suite. A repeat with an earlier idempotency key returns the suite of the first call.

        Raises Problem("quota_exceeded"), Problem("not_found") for an unknown agent, Problem("invalid_suite") for a
        suite that is not compatible with its agent, Problem("idempotency_mismatch") when the key belongs to another
        suite, and Problem("unavailable") when the suite was not started.
        """
        terms = await self._spending_limits.require(organization_id)
        agent = await self._compatible_agent(organization_id, suite)
        new = NewSuite(
            id=keyed_id("sui", organization_id, idempotency_key) if idempotency_key else new_id("sui"),
            organization_id=organization_id,
            agent_id=agent.id,
            agent_version=agent.version,
            agent_name=agent.name,
            suite=suite,
            planned=len(plan_of(suite)),
            created_at=datetime.now(UTC),
        )
        stored = await self._suites.create(new)
        if stored.suite != suite:
            raise Problem("idempotency_mismatch", _OTHER_SUITE, suite_id=stored.id)
        start = StartSuite(
            suite_id=stored.id,
            organization_id=organization_id,
            suite=stored.suite,
            agent=await self._pinned(stored, agent),
            model=self._model,
            timing=self._timing,
            price_per_second=terms.price_per_second,
        )
        try:
            await self._begin(start)
        except (Problem, SessionClosed, WaitTimedOut) as error:
            raise await self._discard_unstarted(stored, error) from error
        return stored

    async def send(self, suite: StoredSuite, command: SuiteCommand) -> SuiteProgress:
        """Pause, resume or cancel a suite.

        Raises Problem("suite_ended") when it is over, and Problem("session_stuck") when its workflow cannot go on.
        """
        try:
            async with time_limit(self._client, suite_workflow_id(suite.id), self._wait_seconds):
                return await self._handle(suite.id).execute_update(_UPDATES[command])
        except SessionClosed as error:
            raise Problem("suite_ended", "The suite has ended and accepts no more commands.") from error
        except WaitTimedOut as error:
            detail = (
                f"No worker accepted the command within {self._wait_seconds:g} seconds. It is applied as soon as "
                "a worker is running."
            )
            raise Problem("wait_timeout", detail) from error

    async def _compatible_agent(self, organization_id: str, suite: Suite) -> StoredAgent:
        agent = await self._agents.find(organization_id, suite.agent_name, suite.agent_version)
        if agent is None:
            raise not_found("agent", suite.agent)
        issues = (*compatibility_issues(suite, agent.definition), *await self._history_errors(suite, agent))
        if issues:
            raise invalid_suite(InvalidSuite(issues))
        return agent

    async def _history_errors(self, suite: Suite, agent: StoredAgent) -> list[ValidationIssue]:
        """Errors of recorded sessions to continue from: unknown ones, or at a node that the agent does not have."""
        issues = []
        for index, scenario in enumerate(suite.scenarios):
            if scenario.history is None:
                continue
            past = await self._recorded_sessions.past(agent.organization_id, scenario.history)
            left = next((turn.checkpoint for turn in reversed(past.turns) if turn.checkpoint), None) if past else None
            place = f"scenarios[{index}].history"
            if past is None:
                issues.append(ValidationIssue(path=place, message="there is no such session, or no such turn in it"))
            elif left is not None and left.node_id not in agent.definition.nodes:
                message = f"the conversation stands at {left.node_id}, a node that the agent does not have"
                issues.append(ValidationIssue(path=place, message=message))
        return issues

    async def _pinned(self, suite: StoredSuite, agent: StoredAgent) -> PinnedAgent:
        """The agent version that the suite was stored with, which a repeated call must not replace by a newer one."""
        if (agent.id, agent.version) != (suite.agent_id, suite.agent_version):
            agent = await self._agents.find(suite.organization_id, suite.agent_id, suite.agent_version) or agent
        ref = AgentRef(id=agent.id, version=agent.version)
        return PinnedAgent(ref=ref, number=agent.number, name=agent.name, definition=agent.definition)

    async def _begin(self, start: StartSuite) -> None:
        try:
            with translate_temporal_errors():
                async with asyncio.timeout(self._wait_seconds):
                    await self._client.start_workflow(
                        SuiteWorkflow.run,
                        start,
                        id=suite_workflow_id(start.suite_id),
                        task_queue=self._task_queue,
                        # The suite's row in the store makes its id unique; an existing workflow is this call, repeated.
                        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                        search_attributes=search_attributes.of_suite(
                            start.organization_id, start.agent.ref.id, start.suite_id
                        ),
                        static_summary=_summary(start),
                    )
        except WorkflowAlreadyStartedError:
            return  # a repeat of this call after the end of the suite

    async def _discard_unstarted(self, suite: StoredSuite, error: Exception) -> Problem:
        """Remove the row of a suite that was not started. It stays when Temporal is unreachable: the suite may run."""
        try:
            with translate_temporal_errors():
                async with asyncio.timeout(self._wait_seconds):
                    await self._handle(suite.id).describe()
        except SessionClosed:
            await self._suites.discard_unstarted(suite.id)
        except (Problem, WaitTimedOut):
            pass
        if isinstance(error, Problem):
            return error
        return unavailable("temporal", "Temporal did not start the suite in time. Try again in a second.")

    def _handle(self, suite_id: str) -> Handle:
        return self._client.get_workflow_handle_for(SuiteWorkflow.run, suite_workflow_id(suite_id))


def invalid_suite(error: InvalidDefinition) -> Problem:
    """The problem for a suite that cannot be run, with its validation issues."""
    first = error.issues[0]
    detail = f"The suite has {error_count(error.count)}: {first.path}: {first.message}. Nothing was started."
    return invalid("invalid_suite", detail, [(issue.path, issue.message) for issue in error.issues])


def _summary(start: StartSuite) -> str:
    summary = f"{start.suite.name} with {start.agent.name}, version {start.agent.ref.version}"
    return summary.encode()[:SUMMARY_BYTES].decode(errors="ignore")
