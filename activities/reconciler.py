"""The reconciler: compares the store's open sessions and suites with Temporal, and repairs the differences.

It reads them from the store page by page, and looks up each in Temporal. One that is closed or missing there is closed
in the store, after a query to its workflow has returned everything unsettled, which is settled first. After a restore
of either database every open session is compared turn by turn; a running one that differs gets a signal to compare
itself with its record. Everything can be repeated, and an error ends the reconciliation without closing anything.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from temporalio.api.common.v1 import Payloads, WorkflowExecution
from temporalio.api.enums.v1 import EventType, TaskQueueType
from temporalio.api.enums.v1 import WorkflowExecutionStatus as Status
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeWorkflowExecutionRequest
from temporalio.client import Client, RPCTimeoutOrCancelledError, WorkflowFailureError, WorkflowQueryFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from contracts.judge import JudgeInput, JudgeResult, recorded_outcome
from contracts.reconciliation import (
    COMPARE_SIGNAL,
    UNSETTLED_QUERY,
    Action,
    Difference,
    ReconciliationResult,
    UnsettledInput,
    UnsettledTurns,
)
from contracts.sessions import RUN_HAS_ENDED, SessionResult, StartSession, session_workflow_id
from contracts.suites import BeginRunInput, NoteSuiteInput, RecordRunInput, suite_workflow_id
from domain.durable import FrozenModel
from domain.sessions.command_handlers import new_timeline
from domain.sessions.views import SessionHead, head_of
from store.reconciliation import Closing, OpenSession, OpenSuite, ReconciliationStore

if TYPE_CHECKING:
    from activities.recovery import RecoveryActivities
    from activities.settlement import SettlementActivities
    from activities.suites import SuiteActivities
    from store.agents import AgentStore
    from store.suites import SuiteStore
    from streaming.messages import Subscribers

GRACE = timedelta(minutes=2)
"""Age before which a session or suite without a workflow is left alone: its row is written before the workflow is
started."""
UNANSWERED = timedelta(minutes=10)
"""Time for which a closed session waits for a worker that can answer the query for unsettled turns."""
PAGE = 100
AT_ONCE = 8
"""Sessions that are reconciled concurrently."""
MAX_SESSIONS = 1_000
MAX_SECONDS = 60.0
"""Bounds of one scheduled reconciliation; the next one goes on from there."""
MAX_FINDINGS = 100
"""Findings that a result lists; the others are counted, and recorded in the store."""
MAX_LISTED = 2_000
"""Newest sessions of Temporal that are looked up in the store after a restore."""
SAMPLE = 100
"""Newest sessions of Temporal that are looked up in the store to recognise the Temporal that belongs to it."""
MAX_ROUNDS = 1_000
RPC_SECONDS = timedelta(seconds=10)
QUERY_SECONDS = 10.0
UNPOLLED = timedelta(minutes=2)
"""Time without a poll after which a task queue counts as one without workers: a worker polls every minute."""
UNANSWERED_CODES = (
    RPCStatusCode.FAILED_PRECONDITION,  # no worker polls the task queue
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
)
OPEN = (
    Status.WORKFLOW_EXECUTION_STATUS_UNSPECIFIED,
    Status.WORKFLOW_EXECUTION_STATUS_RUNNING,
    Status.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW,
    Status.WORKFLOW_EXECUTION_STATUS_PAUSED,
)
NOT_FOUND_REASON = "workflow_not_found"
SUITE_RECORDS: Mapping[str, type[FrozenModel]] = {
    "begin_run": BeginRunInput,
    "record_run": RecordRunInput,
    "judge_session": JudgeInput,
    "note_suite": NoteSuiteInput,
}
"""The activities of a suite that record something, with their inputs. The record of a judge is made from its result."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class ReconcilerOptions:
    """Options of a reconciliation.

    `is_thorough` compares every open session turn by turn. `accepts_new_temporal` closes sessions although Temporal
    has none of them. With `only_looks` nothing is changed. `wait_seconds` is the time to wait for running sessions to
    agree with their record. `grace` is the age before which sessions without a workflow are left alone.
    """

    is_thorough: bool = False
    accepts_new_temporal: bool = False
    only_looks: bool = False
    is_bounded: bool = True
    wait_seconds: float = 0.0
    grace: timedelta = GRACE


@dataclass(frozen=True, slots=True)
class Pairing:
    """The newest sessions of Temporal: the number of those that the store has, and of the others."""

    known: int
    unknown: int


class Reconciler:
    """Reconciles one store with the sessions and suites of one task queue in Temporal."""

    def __init__(
        self,
        client: Client,
        *,
        task_queue: str,
        store: ReconciliationStore,
        agents: "AgentStore",
        suites: "SuiteStore",
        recovery: "RecoveryActivities",
        settlement: "SettlementActivities",
        suite_records: "SuiteActivities",
        subscribers: "Subscribers | None" = None,
    ) -> None:
        self._client = client
        self._sessions = f'WorkflowType = "Session" AND TaskQueue = "{task_queue}"'
        self._store = store
        self._agents = agents
        self._suites = suites
        self._recovery = recovery
        self._settlement = settlement
        self._suite_records = suite_records
        self._subscribers = subscribers
        self._deserted: set[str] = set()

    async def pairing(self) -> Pairing:
        """Count those of Temporal's newest sessions that the store has. Raises RPCError without Temporal."""
        ids = [workflow_id async for workflow_id, _ in self._listed(SAMPLE)]
        known = await self._store.known([_session_id(each) for each in ids])
        return Pairing(known=len(known), unknown=len(ids) - len(known))

    async def reconcile(
        self, before: ReconciliationResult, name: str | None, options: ReconcilerOptions
    ) -> ReconciliationResult:
        """Compare the open sessions and suites from where the last reconciliation stopped, and repair the differences.

        `name` is that of a schedule, whose runs are counted in both databases. Raises RPCError when Temporal cannot be
        reached and StoreUnavailable without the store; changes made by then stay, and can be repeated.
        """
        self._deserted = set()
        counted = await self._store.generation(name) if name else 0
        was_set_back = name is not None and counted != before.generation
        pairing = await self.pairing()
        is_ours = pairing.known > 0 or (counted > 0 and not was_set_back)
        run = _Run(self, before, options, was_set_back=was_set_back, is_ours=is_ours)
        generation = max(counted, before.generation) + 1
        result = (await run.result()).model_copy(update={"generation": generation if name else 0})
        if not options.only_looks:
            await self._store.finish(name, generation, run.findings)
        return result

    # --- Temporal --------------------------------------------------------------------------------

    async def _describe(self, workflow_id: str) -> WorkflowExecutionInfo | None:
        """The newest run of a workflow; None if Temporal has none."""
        request = DescribeWorkflowExecutionRequest(
            namespace=self._client.namespace, execution=WorkflowExecution(workflow_id=workflow_id)
        )
        try:
            described = await self._client.workflow_service.describe_workflow_execution(
                request, retry=True, timeout=RPC_SECONDS
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND or _is_about_the_namespace(error):
                raise
            return None
        return described.workflow_execution_info

    async def _listed(self, limit: int) -> AsyncIterator[tuple[str, WorkflowExecutionInfo]]:
        """The newest sessions of the task queue, each once, with its newest run."""
        seen: set[str] = set()
        async for listed in self._client.list_workflows(self._sessions, page_size=min(limit, 1_000)):
            if listed.id not in seen:
                seen.add(listed.id)
                yield listed.id, listed.raw_info
            if len(seen) >= limit:
                return

    async def _ask(self, session_id: str, info: WorkflowExecutionInfo, record: UnsettledInput) -> UnsettledTurns | None:
        """Query a session for its differences. None if its code cannot answer; raises TimeoutError without a worker."""
        if info.task_queue in self._deserted:
            raise TimeoutError
        handle = self._client.get_workflow_handle(session_workflow_id(session_id), run_id=info.execution.run_id)
        try:
            async with asyncio.timeout(QUERY_SECONDS):
                answer: UnsettledTurns = await handle.query(UNSETTLED_QUERY, record, result_type=UnsettledTurns)
                return answer
        except WorkflowQueryFailedError as error:
            if RUN_HAS_ENDED in str(error):
                raise TimeoutError from error  # it answers a moment later
            return None
        except (TimeoutError, RPCTimeoutOrCancelledError, RPCError) as error:
            if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                return None
            if isinstance(error, RPCError) and error.status not in UNANSWERED_CODES:
                raise
            await self._note_silence(info.task_queue)
            raise TimeoutError from error

    async def _note_silence(self, task_queue: str) -> None:
        """Stop querying sessions of a task queue that no worker polls: every query would time out."""
        request = DescribeTaskQueueRequest(
            namespace=self._client.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
        described = await self._client.workflow_service.describe_task_queue(request, retry=True, timeout=RPC_SECONDS)
        since = datetime.now(UTC) - UNPOLLED
        if not any(each.last_access_time.ToDatetime(tzinfo=UTC) > since for each in described.pollers):
            self._deserted.add(task_queue)

    async def _events(self, workflow_id: str, run_id: str) -> AsyncIterator[HistoryEvent]:
        """The events of a workflow from its first run on, as far as Temporal has them."""
        chain: list[str] = []
        while run_id and len(chain) < MAX_ROUNDS:
            chain.append(run_id)
            handle = self._client.get_workflow_handle(workflow_id, run_id=run_id)
            run_id = ""
            with suppress(RPCError, StopAsyncIteration):
                first = await anext(handle.fetch_history_events(page_size=1))
                run_id = first.workflow_execution_started_event_attributes.continued_execution_run_id
        for each in reversed(chain):
            with suppress(RPCError):
                async for event in self._client.get_workflow_handle(workflow_id, run_id=each).fetch_history_events():
                    yield event

    async def _decoded(self, payloads: Payloads, kind: type[Item]) -> Item | None:
        """The first of these payloads; None if it cannot be read, for example because the store has lost it."""
        try:
            [decoded] = await self._client.data_converter.decode(list(payloads.payloads)[:1], [kind])
        except Exception:  # whatever a codec, a driver or a model raises
            return None
        return decoded if isinstance(decoded, kind) else None

    # --- sessions --------------------------------------------------------------------------------

    async def session(self, session: OpenSession, options: ReconcilerOptions, *, is_ours: bool) -> "_Look":
        """Reconcile one session that is open in the store."""
        info = await self._describe(session_workflow_id(session.id))
        if info is None:
            if _is_young(session.created_at, options):
                return _Look()
            if not is_ours:
                return _Look(is_unknown_to_temporal=True)
            return await self._close(session, NOT_FOUND_REASON, datetime.now(UTC), f"gone-{session.version}", options)
        if info.status in OPEN:
            return await self._compare(session, info, options)
        return await self._close_settled(session, info, options)

    async def _compare(self, session: OpenSession, info: WorkflowExecutionInfo, options: ReconcilerOptions) -> "_Look":
        if not options.is_thorough:
            return _Look()
        look = await self._apart(session, info)
        if look.finding is None or look.finding.found == "no_worker":
            return look
        look = await self._apart(session, info)  # it may have been settled between the two reads
        if look.finding is None or options.only_looks or look.finding.found == "no_worker":
            return look
        await self.request_comparison(session.id)
        await self._until_agreed(session, options.wait_seconds)
        return look.done("compared")

    async def request_comparison(self, session_id: str) -> None:
        """Have a running session compare itself with its record."""
        handle = self._client.get_workflow_handle(session_workflow_id(session_id))
        with suppress(RPCError):  # closed meanwhile: the next reconciliation finds it closed
            await handle.signal(COMPARE_SIGNAL)

    async def _apart(self, session: OpenSession, info: WorkflowExecutionInfo) -> "_Look":
        """The difference of a running session and its record."""
        recorded = await self._store.recorded_turns(session.id)
        current = await self._store.find(session.id)
        version = current.version if current is not None else None
        try:
            record = UnsettledInput(recorded_turn_ids=recorded, recorded_version=version)
            answer = await self._ask(session.id, info, record)
        except TimeoutError:
            return _Look(_finding(session, "no_worker", turns_in_store=len(recorded)))
        if answer is None:
            return _Look()
        look = _Look(turns_in_store=len(recorded), turns_in_temporal=answer.turns)
        if not answer.is_apart:
            return look
        found = _side(answer, version)
        finding = _finding(session, found, turns_in_store=len(recorded), turns_in_temporal=answer.turns)
        return _Look(finding, turns_in_store=len(recorded), turns_in_temporal=answer.turns)

    async def _until_agreed(self, session: OpenSession, seconds: float) -> None:
        deadline = monotonic() + seconds
        while monotonic() < deadline:
            info = await self._describe(session_workflow_id(session.id))
            if info is None or info.status not in OPEN:
                return
            if (await self._apart(session, info)).finding is None:
                return
            await asyncio.sleep(0.2)

    async def _close_settled(
        self, session: OpenSession, info: WorkflowExecutionInfo, options: ReconcilerOptions
    ) -> "_Look":
        """Close a session whose workflow is closed, after recording everything that the workflow had not settled."""
        closed_at = info.close_time.ToDatetime(tzinfo=UTC)
        reason = f"workflow_{Status.Name(info.status).removeprefix('WORKFLOW_EXECUTION_STATUS_').lower()}"
        run_id = info.execution.run_id
        if session.first_run_id not in (None, info.first_run_id):  # a copy that was started under the session's id
            return await self._close(session, reason, closed_at, run_id, options)
        rows = await self._store.ledger_rows(session.id)
        recorded = await self._store.recorded_turns(session.id)
        try:
            turns = await self._settle_closed(session, info, only_looks=options.only_looks)
        except TimeoutError:
            if datetime.now(UTC) - closed_at < UNANSWERED:
                return _Look(_finding(session, "no_worker", turns_in_store=len(recorded)))
            turns = None
        counted = {"turns_in_store": len(recorded), "turns_in_temporal": turns}
        after = await self._store.find(session.id)
        if after is None:
            return _Look()
        if after.is_completed:
            billed = await self._store.ledger_rows(session.id) - rows
            reason = (after.head.completion_reason if after.head else None) or reason
            finding = _finding(session, reason, billed=billed, **counted).model_copy(update={"done": "closed"})
            return _Look(finding, len(recorded), turns or 0)
        if info.status == Status.WORKFLOW_EXECUTION_STATUS_COMPLETED:
            reason = await self._own_reason(session.id, run_id) or reason
        look = await self._close(after, reason, closed_at, run_id, options)
        if look.finding is None:
            return look
        billed = await self._store.ledger_rows(session.id) - rows
        finding = look.finding.model_copy(update={**counted, "billed": billed})
        return _Look(finding, len(recorded), turns or 0)

    async def _settle_closed(
        self, session: OpenSession, info: WorkflowExecutionInfo, *, only_looks: bool
    ) -> int | None:
        """Record what a closed workflow had not settled. Returns the number of its turns; None if it cannot answer."""
        for _ in range(MAX_ROUNDS):
            recorded = await self._store.recorded_turns(session.id)
            record = UnsettledInput(
                recorded_turn_ids=recorded, recorded_version=session.version, with_turns=not only_looks
            )
            answer = await self._ask(session.id, info, record)
            if answer is None:
                return None
            if answer.restore is not None:
                await self._recovery.restore_turns(answer.restore)
            if answer.restore is None or only_looks:
                if answer.settle is not None:
                    await self._settlement.settle_turns(answer.settle)
                return answer.turns
        return None

    async def _own_reason(self, session_id: str, run_id: str) -> str | None:
        """The reason for which a session ended, as its workflow returned it."""
        handle = self._client.get_workflow_handle(
            session_workflow_id(session_id), run_id=run_id, result_type=SessionResult
        )
        with suppress(WorkflowFailureError, RPCError):
            return (await handle.result(follow_runs=False, rpc_timeout=RPC_SECONDS)).completion_reason or None
        return None

    async def _close(
        self, session: OpenSession, reason: str, at: datetime, key: str, options: ReconcilerOptions
    ) -> "_Look":
        finding = _finding(session, reason)
        if options.only_looks:
            return _Look(finding)
        head = session.head or await self._first_head(session)
        closing = Closing(reason=reason, at=at, key=f"session_completed-{key}")
        billed = await self._store.close_session(session, head, closing)
        if billed is None:
            return _Look()
        if self._subscribers is not None:
            self._subscribers.log_appended(session.id)
        return _Look(finding.model_copy(update={"done": "closed", "billed": billed}))

    async def _first_head(self, session: OpenSession) -> SessionHead:
        """The head of a session that was never settled."""
        definition = await self._agents.definition(session.agent_id, session.agent_version)
        return head_of(new_timeline(at=session.created_at), definition, run_id="")

    async def reconcile_from_temporal(self, options: ReconcilerOptions) -> AsyncIterator["_Look"]:
        """Reconcile sessions of Temporal that the store has lost, or has as ended."""
        listed = {workflow_id: info async for workflow_id, info in self._listed(MAX_LISTED)}
        for workflow_ids in _pages(list(listed), PAGE):
            known = await self._store.known([_session_id(each) for each in workflow_ids])
            for workflow_id in workflow_ids:
                session_id, info = _session_id(workflow_id), listed[workflow_id]
                if session_id not in known:
                    yield await self._recreate(session_id, info, options)
                elif not known[session_id] and info.status in OPEN:
                    yield await self._reopen(session_id, options)

    async def _reopen(self, session_id: str, options: ReconcilerOptions) -> "_Look":
        """Have a session that runs in Temporal, and is over in the store, compare itself with its record."""
        info = await self._describe(session_workflow_id(session_id))
        session = await self._store.find(session_id)
        is_closing = info is None or info.status not in OPEN
        if is_closing or session is None or not session.is_completed:
            return _Look()
        look = await self._apart(session, info) if info is not None else _Look()
        if look.finding is None or look.finding.found == "no_worker" or options.only_looks:
            return look
        await self.request_comparison(session_id)
        await self._until_agreed(session, options.wait_seconds)
        return look.done("compared")

    async def _recreate(self, session_id: str, info: WorkflowExecutionInfo, options: ReconcilerOptions) -> "_Look":
        """Insert the row of a session that only Temporal has, so that its turns can be recorded."""
        workflow_id, run_id = session_workflow_id(session_id), info.execution.run_id
        handle = self._client.get_workflow_handle(workflow_id, run_id=run_id)
        try:
            first = await anext(handle.fetch_history_events(page_size=1))
        except (RPCError, StopAsyncIteration):
            return _Look()
        start = await self._decoded(first.workflow_execution_started_event_attributes.input, StartSession)
        if start is None or start.session_id != session_id:
            return _Look(_unknown(session_id, ""))
        unknown = _unknown(session_id, start.organization_id)
        began = start.timeline.created_at if start.timeline else info.start_time.ToDatetime(tzinfo=UTC)
        if options.only_looks or not await self._store.recreate(start, began):
            return _Look(unknown)
        session = await self._store.find(session_id)
        if session is None:
            return _Look()
        if info.status in OPEN:
            await self.request_comparison(session_id)
            await self._until_agreed(session, options.wait_seconds)
        else:
            await self._close_settled(session, info, options)
        turns = len(await self._store.recorded_turns(session_id))
        finding = unknown.model_copy(update={"done": "recreated", "turns_in_store": 0, "turns_in_temporal": turns})
        return _Look(finding, 0, turns)

    async def late_calls(self, options: ReconcilerOptions) -> AsyncIterator["_Look"]:
        """Bill calls that were saved after their session was closed: a worker may have been making one."""
        for session_id in await self._store.lately_closed() if not options.only_looks else ():
            billed = await self._store.bill_late_calls(session_id)
            session = await self._store.find(session_id) if billed else None
            if session is not None:
                finding = _finding(session, "unbilled", billed=billed).model_copy(update={"done": "billed"})
                yield _Look(finding)

    # --- suites ----------------------------------------------------------------------------------

    async def suite(self, suite: OpenSuite, options: ReconcilerOptions, *, is_ours: bool) -> "_Look":
        """Reconcile one suite that has no outcome in the store."""
        workflow_id = suite_workflow_id(suite.id)
        info = await self._describe(workflow_id)
        if info is None and _is_young(suite.created_at, options):
            return _Look()
        if info is None and not is_ours:
            return _Look(is_unknown_to_temporal=True)
        if info is not None and info.status in OPEN:
            if options.is_thorough and not options.only_looks:
                await self._record_again(workflow_id, info.execution.run_id)
            return _Look()
        reason, at = NOT_FOUND_REASON, datetime.now(UTC)
        if info is not None:
            reason = f"workflow_{Status.Name(info.status).removeprefix('WORKFLOW_EXECUTION_STATUS_').lower()}"
            at = info.close_time.ToDatetime(tzinfo=UTC)
        finding = Difference(
            subject="suite", id=suite.id, organization_id=suite.organization_id, found=reason, done="left"
        )
        if options.only_looks:
            return _Look(finding)
        if info is not None:
            await self._record_again(workflow_id, info.execution.run_id)
        why = f"The workflow of the suite was closed before this run was judged ({reason})."
        was_open = await self._suites.close(suite.id, why, at)
        return _Look(finding.model_copy(update={"done": "closed" if was_open else "settled"}))

    async def _record_again(self, workflow_id: str, run_id: str) -> None:
        """Repeat the records in the history of a suite; rows that the store has stay as they are."""
        judged: dict[int, JudgeInput] = {}
        async for event in self._events(workflow_id, run_id):
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                completed = event.activity_task_completed_event_attributes
                input = judged.pop(completed.scheduled_event_id, None)
                result = await self._decoded(completed.result, JudgeResult) if input else None
                if input and isinstance(result, JudgeResult) and result.price is not None:
                    at = event.event_time.ToDatetime(tzinfo=UTC)
                    await self._record_part_again(recorded_outcome(input, result.verdict, at))
            elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                scheduled = event.activity_task_scheduled_event_attributes
                kind = SUITE_RECORDS.get(scheduled.activity_type.name)
                recorded = await self._decoded(scheduled.input, kind) if kind else None
                if isinstance(recorded, JudgeInput):
                    judged[event.event_id] = recorded
                else:
                    await self._record_part_again(recorded)

    async def _record_part_again(self, recorded: FrozenModel | None) -> None:
        with suppress(ApplicationError):  # a session that was erased, or one to continue from that is gone
            match recorded:
                case BeginRunInput():
                    await self._suite_records.begin_run(recorded)
                case RecordRunInput():
                    await self._suite_records.record_run(recorded)
                case NoteSuiteInput():
                    await self._suite_records.note_suite(recorded)


class _Run:
    """One reconciliation: its place in the lists, and its findings so far."""

    def __init__(
        self,
        reconciler: Reconciler,
        before: ReconciliationResult,
        options: ReconcilerOptions,
        *,
        was_set_back: bool,
        is_ours: bool,
    ) -> None:
        self._reconciler = reconciler
        self._is_ours = is_ours or options.accepts_new_temporal
        self._next_session = 0 if was_set_back else before.next_session
        self._next_suite = 0 if was_set_back else before.next_suite
        goes_on = bool(self._next_session or self._next_suite)
        is_thorough = options.is_thorough or was_set_back or (before.is_thorough and goes_on)
        self._options = ReconcilerOptions(
            is_thorough=is_thorough,
            accepts_new_temporal=options.accepts_new_temporal,
            only_looks=options.only_looks,
            is_bounded=options.is_bounded,
            wait_seconds=options.wait_seconds,
            grace=options.grace,
        )
        self._deadline = monotonic() + MAX_SECONDS
        self._sessions = 0
        self._suites = 0
        self._unknown_to_temporal = 0
        self._turns_in_store = 0
        self._turns_in_temporal = 0
        self.findings: list[Difference] = []

    async def result(self) -> ReconciliationResult:
        """Reconcile everything within the bounds, sessions first."""
        self._next_session = await self._open_sessions()
        self._next_suite = await self._open_suites()
        if not (self._next_session or self._next_suite) and self._options.is_thorough:
            async for look in self._reconciler.reconcile_from_temporal(self._options):
                self._note(look)
        async for look in self._reconciler.late_calls(self._options):
            self._note(look)
        counts: dict[str, int] = {}
        for finding in self.findings:
            counts[finding.found] = counts.get(finding.found, 0) + 1
        return ReconciliationResult(
            next_session=self._next_session,
            next_suite=self._next_suite,
            is_thorough=self._options.is_thorough,
            sessions=self._sessions,
            suites=self._suites,
            turns_in_store=self._turns_in_store,
            turns_in_temporal=self._turns_in_temporal,
            counts=counts,
            findings=tuple(self.findings[:MAX_FINDINGS]),
            rejection=self._rejection(),
        )

    async def _open_sessions(self) -> int:
        store, after = self._reconciler._store, self._next_session
        while True:
            page = await store.open_sessions(after=after, limit=PAGE)
            for some in _pages(page, AT_ONCE):
                for look in await asyncio.gather(
                    *(self._reconciler.session(each, self._options, is_ours=self._is_ours) for each in some)
                ):
                    self._note(look)
                self._sessions += len(some)
                after = some[-1].number
                if self._is_long(self._sessions):
                    return after
            if len(page) < PAGE:
                return 0

    async def _open_suites(self) -> int:
        store, after = self._reconciler._store, self._next_suite
        while True:
            page = await store.open_suites(after=after, limit=PAGE)
            for each in page:
                self._note(await self._reconciler.suite(each, self._options, is_ours=self._is_ours))
                self._suites += 1
                after = each.number
                if self._is_long(self._suites):
                    return after
            if len(page) < PAGE:
                return 0

    def _note(self, look: "_Look") -> None:
        self._unknown_to_temporal += look.is_unknown_to_temporal
        self._turns_in_store += look.turns_in_store
        self._turns_in_temporal += look.turns_in_temporal
        if look.finding is not None:
            self.findings.append(look.finding)

    def _is_long(self, seen: int) -> bool:
        return self._options.is_bounded and (seen >= MAX_SESSIONS or monotonic() > self._deadline)

    def _rejection(self) -> str | None:
        if not self._unknown_to_temporal:
            return None
        return (
            f"Temporal knows none of the sessions of this store, so the {self._unknown_to_temporal} that are open here "
            "were left as they are: its namespace is new, or another one. Check TEMPORAL_ADDRESS and "
            "TEMPORAL_NAMESPACE, or restore Temporal's database. If its data is lost for good, run `playhead reconcile "
            "--accept-new-temporal`: they are closed as workflow_not_found, with all that the store has of them."
        )


@dataclass(frozen=True, slots=True)
class _Look:
    """The result of looking at one session or suite."""

    finding: Difference | None = None
    turns_in_store: int = 0
    turns_in_temporal: int = 0
    is_unknown_to_temporal: bool = False

    def done(self, action: Action) -> "_Look":
        finding = self.finding.model_copy(update={"done": action}) if self.finding else None
        return _Look(finding, self.turns_in_store, self.turns_in_temporal)


def _finding(
    session: OpenSession,
    found: str,
    *,
    billed: int = 0,
    turns_in_store: int | None = None,
    turns_in_temporal: int | None = None,
) -> Difference:
    return Difference(
        subject="session",
        id=session.id,
        organization_id=session.organization_id,
        found=found,
        done="left",
        billed=billed,
        turns_in_store=turns_in_store,
        turns_in_temporal=turns_in_temporal,
    )


def _is_young(created_at: datetime, options: ReconcilerOptions) -> bool:
    return datetime.now(UTC) - created_at < options.grace


def _unknown(session_id: str, organization_id: str) -> Difference:
    return Difference(
        subject="session", id=session_id, organization_id=organization_id, found="unknown_to_store", done="left"
    )


def _side(answer: UnsettledTurns, recorded_version: int | None) -> str:
    """The side that was set back, by the turns that each of them has alone, or else by their versions."""
    if answer.missing and answer.unknown:
        return "apart"
    if answer.missing or answer.unknown:
        return "store_behind" if answer.missing else "temporal_behind"
    return "store_behind" if (recorded_version or 0) < answer.version else "temporal_behind"


def _is_about_the_namespace(error: RPCError) -> bool:
    return any("NamespaceNotFound" in detail.type_url for detail in error.grpc_status.details)


def _session_id(workflow_id: str) -> str:
    return workflow_id.removeprefix(session_workflow_id(""))


def _pages(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
