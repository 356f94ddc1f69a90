"""A suite of simulated sessions as one workflow: it starts them, a few at a time, and has each judged at its end."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pydantic import JsonValue
from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ActivityError, ChildWorkflowError, FailureError, WorkflowAlreadyStartedError
from temporalio.workflow import ContinueAsNewVersioningBehavior

from activities.judge import JudgeActivities
from activities.suites import SuiteActivities
from contracts.judge import JudgeInput, JudgeResult
from contracts.sessions import StartSession, session_workflow_id
from contracts.suites import (
    AwaitSessionsInput,
    BeginRunInput,
    BeginRunResult,
    NoteSuiteInput,
    PriceRunInput,
    RecordRunInput,
    RunPrice,
    StartSuite,
    SuiteResult,
    run_session,
    scenario_of,
)
from domain.sessions.caller_config import SimulatorConfig
from domain.sessions.commands import EndSession
from domain.suites import suite_state as rules
from domain.suites.scenario import Scenario
from domain.suites.suite_state import Run, StartedRun, SuiteProgress, SuiteState
from domain.suites.verdicts import Verdict, inconclusive_verdicts, verdict_of
from workflows import search_attributes
from workflows.activity_options import model_call_options, polling_options, store_options
from workflows.background_tasks import BackgroundTasks
from workflows.errors import reason_of, rejections_as_errors
from workflows.session.workflow import SessionWorkflow
from workflows.suite.current_details import suite_details

LOOK_SECONDS = 30.0
"""Seconds that one poll for closed sessions waits for the first of them."""
CANCELLED = "suite_cancelled"
"""The completion reason of sessions that end because their suite was cancelled."""
NO_BUDGET = "The budget of the suite was used up before the judge was called."
NOT_BEGUN = "The conversation could not begin."
NOT_JUDGED = "The suite was cancelled before the judge was called."


@workflow.defn(name="Suite")
class SuiteWorkflow:
    """Many conversations with one version of an agent, each with a simulated user."""

    @workflow.init
    def __init__(self, start: StartSuite) -> None:
        self._start = start
        self._suite = start.suite
        self._plan = rules.plan_of(start.suite)
        self._state = start.state or SuiteState()
        # Sessions without a child handle in this run, because an earlier run has started them.
        self._out_of_sight = set(self._state.under_way)
        self._closed: set[str] = set()
        self._busy: set[str] = set()
        self._tasks = BackgroundTasks()

    # --- the story of a suite --------------------------------------------------------------------

    @workflow.run
    async def run(self, start: StartSuite) -> SuiteResult:
        """Start what may start and judge what has ended, until every run has its verdict or none will start."""
        self._show()
        self._resume_active_runs()
        while not rules.is_over(self._state, self._suite, self._plan):
            if self._may_continue_as_new():
                workflow.continue_as_new(
                    start.model_copy(update={"state": self._state}),
                    # The sessions that a suite starts run the code of the suite: both follow a deployment.
                    initial_versioning_behavior=ContinueAsNewVersioningBehavior.AUTO_UPGRADE,
                )
            self._start_due_runs()
            await self._until(self._needs_attention)
        note = self._tasks.start(self._note())
        await self._until(lambda: note.done() and workflow.all_handlers_finished())
        return self._result()

    def _resume_active_runs(self) -> None:
        for session_id, started in self._state.under_way.items():
            self._tasks.start(self._judge_when_closed(session_id, started))
        if self._out_of_sight:
            self._tasks.start(self._poll_closed_sessions())

    def _start_due_runs(self) -> None:
        while (started := self._next_start()) is not None:
            session_id = started.run.session_id(self._start.suite_id)
            self._change(rules.record_start(self._state, session_id, started))
            self._tasks.start(self._run(session_id, started))

    async def _run(self, session_id: str, started: StartedRun) -> None:
        """Carry out a run, from its start to its verdict."""
        with self._counted_as_active(session_id):
            session = run_session(self._start, started)
            try:
                begun = await self._begin_run(started, session)
            except ActivityError as error:  # the session that it continues, or its own, is gone
                await self._abandon(session_id, started, reason_of(error))
                return
            await self._start_session(begun.with_history(session))
        await self._judge_when_closed(session_id, started)

    async def _abandon(self, session_id: str, started: StartedRun, why: str) -> None:
        """Record that a run could not begin."""
        criteria = inconclusive_verdicts(scenario_of(self._suite, started.run).success, why)
        await self._finish(session_id, started, verdict_of(criteria, (), NOT_BEGUN), why)

    async def _judge_when_closed(self, session_id: str, started: StartedRun) -> None:
        """Wait until the session has closed, have it judged, and record the result."""
        await self._until_closed(session_id)
        # A workflow run that is long enough continues as new first: an activity that starts here would delay that.
        await workflow.wait_condition(lambda: not self._should_continue_as_new())
        with self._counted_as_active(session_id):
            judged, error = await self._verdict(session_id, started)
            await self._finish(session_id, started, judged.verdict, error, judged.price)

    async def _finish(
        self, session_id: str, started: StartedRun, verdict: Verdict, error: str | None, price: RunPrice | None = None
    ) -> None:
        """Record the result of a run; `price` is its cost if the judge has recorded the result already."""
        price = price or await self._record(session_id, started, verdict, error)
        finished = rules.record_outcome(
            self._state, session_id, verdict.outcome, cost=price.cost, largest_call=price.largest_call
        )
        self._change(finished)

    async def _until_closed(self, session_id: str) -> None:
        """Wait until the session has closed. It is ended, cleanly, when the suite is cancelled meanwhile."""
        await workflow.wait_condition(lambda: session_id in self._closed or self._state.is_cancelled)
        if session_id not in self._closed:
            with self._counted_as_active(session_id):
                await self._end(session_id)
        await workflow.wait_condition(lambda: session_id in self._closed)

    async def _verdict(self, session_id: str, started: StartedRun) -> tuple[JudgeResult, str | None]:
        """The verdict on a session, with the error that kept it from being judged."""
        scenario = scenario_of(self._suite, started.run)
        if self._state.is_cancelled:
            criteria = inconclusive_verdicts(scenario.success, NOT_JUDGED)
            return JudgeResult(verdict=verdict_of(criteria, (), CANCELLED)), None
        if not await self._may_judge(session_id):
            return await self._verdict_of_checks(session_id, started, scenario, NO_BUDGET), None
        try:
            return await self._judge(session_id, started, scenario, run=started.run), None
        except ActivityError as error:
            reason = reason_of(error)
            return await self._verdict_of_checks(session_id, started, scenario, reason), reason

    # --- updates and queries ---------------------------------------------------------------------

    @workflow.update
    async def pause(self) -> SuiteProgress:
        """Start no more runs until `resume`; those under way go on."""
        with rejections_as_errors():
            self._change(rules.pause(self._state))
        return await self._note_and_report()

    @pause.validator
    def check_pause(self) -> None:
        with rejections_as_errors():
            rules.pause(self._state)

    @workflow.update
    async def resume(self) -> SuiteProgress:
        """Start runs again."""
        with rejections_as_errors():
            self._change(rules.resume(self._state))
        return await self._note_and_report()

    @resume.validator
    def check_resume(self) -> None:
        with rejections_as_errors():
            rules.resume(self._state)

    @workflow.update
    async def cancel(self) -> SuiteProgress:
        """Start no more runs, and end the sessions under way; their usage is billed as usual."""
        self._change(rules.cancel(self._state))
        return await self._note_and_report()

    @workflow.query
    def progress(self) -> SuiteProgress:
        """The progress of the suite."""
        return rules.progress_of(self._state, self._suite, self._plan)

    # --- steps -----------------------------------------------------------------------------------

    async def _begin_run(self, started: StartedRun, session: StartSession) -> BeginRunResult:
        agent = self._start.agent
        return await workflow.execute_activity_method(
            SuiteActivities.begin_run,
            BeginRunInput(
                suite_id=self._start.suite_id,
                run=started.run,
                session_id=session.session_id,
                organization_id=session.organization_id,
                agent=agent.ref,
                agent_number=agent.number,
                agent_name=agent.name,
                name=session.name,
                model=session.model,
                initial_context=session.initial_context,
                simulator=_shown(session.simulator),
                history=scenario_of(self._suite, started.run).history,
                held=started.held,
                at=workflow.now(),
            ),
            summary=session.name,
            **store_options(self._start.timing),
        )

    async def _start_session(self, session: StartSession) -> None:
        """Start the session. If an earlier attempt has started it already, its end is polled for."""
        try:
            child = await workflow.start_child_workflow(
                SessionWorkflow.run,
                session,
                id=session_workflow_id(session.session_id),
                # The suite may be terminated or continue as new; conversations under way go on.
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                search_attributes=search_attributes.of_session(session),
                static_summary=session.name,
            )
        except WorkflowAlreadyStartedError:
            if not self._out_of_sight:
                self._tasks.start(self._poll_closed_sessions())
            self._out_of_sight.add(session.session_id)
        else:
            self._tasks.start(self._note_closed(session.session_id, child))

    async def _note_closed(self, session_id: str, child: "asyncio.Task[Any]") -> None:
        with suppress(ChildWorkflowError):  # perhaps terminated by hand: the judge gets what is recorded
            await child
        self._closed.add(session_id)

    async def _poll_closed_sessions(self) -> None:
        """Poll for the end of the sessions without a child handle."""
        while self._out_of_sight:
            found = await workflow.execute_activity_method(
                SuiteActivities.await_sessions,
                AwaitSessionsInput(session_ids=tuple(sorted(self._out_of_sight)), seconds=LOOK_SECONDS),
                **polling_options(self._start.timing, LOOK_SECONDS),
            )
            self._out_of_sight.difference_update(found.closed)
            self._closed.update(found.closed)

    async def _end(self, session_id: str) -> None:
        session: workflow.ExternalWorkflowHandle[SessionWorkflow] = workflow.get_external_workflow_handle_for(
            SessionWorkflow.run, session_workflow_id(session_id)
        )
        with suppress(FailureError):  # it has just closed by itself
            await session.signal(SessionWorkflow.end_session, EndSession(reason=CANCELLED))

    async def _may_judge(self, session_id: str) -> bool:
        if self._suite.budget_usd is None:
            return True
        price = await workflow.execute_activity_method(
            SuiteActivities.price_run,
            PriceRunInput(session_id=session_id, organization_id=self._start.organization_id),
            **store_options(self._start.timing),
        )
        return rules.may_judge(self._state, self._suite, session_id, price.cost)

    async def _judge(
        self, session_id: str, started: StartedRun, scenario: Scenario, run: Run | None = None
    ) -> JudgeResult:
        start = self._start
        return await workflow.execute_activity_method(
            JudgeActivities.judge_session,
            JudgeInput(
                session_id=session_id,
                organization_id=start.organization_id,
                judgement_id=f"judge_{session_id.removeprefix('ses_')}",
                agent=start.agent.ref,
                suite_id=start.suite_id,
                scenario=scenario,
                model=scenario.judge_model or self._suite.judge_model or start.model,
                seed=self._suite.seed_of(scenario.id, started.run.repeat),
                timeout=start.timing.model_timeout,
                price_per_second=start.price_per_second,
                run=run,
            ),
            summary=f"judge {scenario.id} {started.run.repeat}",
            **model_call_options(start.timing),
        )

    async def _verdict_of_checks(
        self, session_id: str, started: StartedRun, scenario: Scenario, why: str
    ) -> JudgeResult:
        """The verdict without a judge: the checks decide what they can, the criteria are left open."""
        criteria = inconclusive_verdicts(scenario.success, why)
        try:
            found = await self._judge(session_id, started, scenario.model_copy(update={"success": ()}))
        except ActivityError as error:  # nothing was ever recorded of the session
            return JudgeResult(verdict=verdict_of(criteria, (), reason_of(error)))
        return JudgeResult(verdict=verdict_of(criteria, found.verdict.findings, found.verdict.cut_short))

    async def _record(self, session_id: str, started: StartedRun, verdict: Verdict, error: str | None) -> RunPrice:
        return await workflow.execute_activity_method(
            SuiteActivities.record_run,
            RecordRunInput(
                suite_id=self._start.suite_id,
                run=started.run,
                session_id=session_id,
                organization_id=self._start.organization_id,
                verdict=verdict,
                error=error,
                at=workflow.now(),
            ),
            summary=f"{started.run.scenario} {started.run.repeat}: {verdict.outcome}",
            **store_options(self._start.timing),
        )

    async def _note_and_report(self) -> SuiteProgress:
        await self._note()
        return self.progress()

    async def _note(self) -> None:
        """Record the state of the suite in the store."""
        status = rules.status_of(self._state, self._suite, self._plan)
        is_over = rules.is_over(self._state, self._suite, self._plan)
        await workflow.execute_activity_method(
            SuiteActivities.note_suite,
            NoteSuiteInput(
                suite_id=self._start.suite_id,
                status=status,
                outcome=rules.outcome_of(self._suite, self._state.tallies) if is_over else None,
                at=workflow.now(),
            ),
            summary=status,
            **store_options(self._start.timing),
        )

    # --- predicates and state --------------------------------------------------------------------

    def _next_start(self) -> StartedRun | None:
        if self._should_continue_as_new() or self._state.started >= len(self._plan):
            return None
        scenario = scenario_of(self._suite, self._plan[self._state.started])
        of_agent = self._start.agent.definition.limits.max_cost_usd
        limit = rules.cost_limit(self._suite, scenario, of_agent, len(self._plan))
        return rules.next_start(self._state, self._suite, self._plan, limit)

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition. A workflow that is cancelled meanwhile cancels its suite, and waits on."""
        while True:
            try:
                await workflow.wait_condition(condition)
                break
            except asyncio.CancelledError:
                self._change(rules.cancel(self._state))
        self._tasks.surface_errors()

    def _needs_attention(self) -> bool:
        is_over = rules.is_over(self._state, self._suite, self._plan)
        is_due = self._next_start() is not None or self._may_continue_as_new()
        return is_over or is_due or self._tasks.are_broken

    def _should_continue_as_new(self) -> bool:
        info = workflow.info()
        return info.is_continue_as_new_suggested() or info.is_target_worker_deployment_version_changed()

    def _may_continue_as_new(self) -> bool:
        """True when this run is long enough, and every run of the suite is at a point where the next one can take over:
        its session goes on, or has closed and is not being judged yet."""
        return self._should_continue_as_new() and not self._busy and workflow.all_handlers_finished()

    @contextmanager
    def _counted_as_active(self, session_id: str) -> Iterator[None]:
        self._busy.add(session_id)
        try:
            yield
        finally:
            self._busy.discard(session_id)

    def _change(self, state: SuiteState) -> None:
        self._state = state
        self._show()

    def _show(self) -> None:
        workflow.set_current_details(suite_details(self._state, self._suite, self.progress()))

    def _result(self) -> SuiteResult:
        progress = self.progress()
        return SuiteResult(
            status=progress.status,
            outcome=rules.outcome_of(self._suite, self._state.tallies),
            passed=progress.passed,
            failed=progress.failed,
            inconclusive=progress.inconclusive,
        )


def _shown(caller: SimulatorConfig | None) -> dict[str, JsonValue] | None:
    """A simulated user as the record of its session shows it."""
    return {"enabled": True, "config": caller.model_dump(mode="json")} if caller else None
