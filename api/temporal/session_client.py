"""Client of the session workflows: every update and query, typed, with a timeout and translated errors."""

import asyncio
from asyncio import Semaphore
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypedDict, TypeVar
from weakref import WeakValueDictionary

from cachetools import LRUCache
from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WithStartWorkflowOperation,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import (
    QueryRejectCondition,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.workflow import UpdateMethodMultiParam

from api.temporal.errors import CLOSED_UNDER_AN_UPDATE, SessionClosed
from api.temporal.time_limit import time_limit
from contracts.sessions import (
    CONTINUED_AS_NEW,
    ReturnResultsResult,
    SendMessageResult,
    SessionResult,
    StartSession,
    message_update_id,
    results_update_id,
    session_workflow_id,
)
from domain.sessions.caller_config import SetSimulator
from domain.sessions.commands import (
    CancelTurn,
    DecideApproval,
    EditMessage,
    EndSession,
    Regenerate,
    RestoreBranch,
    ReturnResults,
    Rewind,
    SendMessage,
    TurnCommand,
)
from domain.sessions.views import SessionHead, TimelineView
from workflows import search_attributes
from workflows.session.workflow import SessionWorkflow

QUERY_SECONDS: Final = 2.0
"""Upper bound on the time of a query, after which the store is read instead."""
SLOW_QUERY_SECONDS: Final = 0.02
"""A query that takes longer may have met the end of a run."""
MORE_PATIENCE: Final = 2.0
MAX_PATIENCE: Final = 0.5
"""Growth factor and maximum, in seconds, of the time between two checks for a new run."""
YOUNG_RUN: Final = timedelta(seconds=5)
"""Age up to which a run may have started after the query, with an allowance for the difference of two clocks."""
MAX_KNOWN_RUNS: Final = 10_000
SUMMARY_BYTES: Final = 200
"""Temporal accepts 400 for a summary; a list of sessions shows less."""

ABNORMAL_CLOSE_STATUSES: Final = frozenset(
    {
        WorkflowExecutionStatus.CANCELED,
        WorkflowExecutionStatus.FAILED,
        WorkflowExecutionStatus.TERMINATED,
        WorkflowExecutionStatus.TIMED_OUT,
    }
)
"""Statuses of a workflow that was closed otherwise than by the end of its session."""

SessionCommand = TypeVar("SessionCommand", CancelTurn, Rewind, RestoreBranch, DecideApproval, EndSession)
Handle = WorkflowHandle[SessionWorkflow, SessionResult]


class LiveQueryFailed(Exception):
    """The workflow did not answer a query. `status` is set when it is known to be closed."""

    def __init__(self, status: WorkflowExecutionStatus | None = None) -> None:
        super().__init__(status.name if status else "no worker answered")
        self.status = status


class _StartOptions(TypedDict):
    """Options with which the workflow of a session is started."""

    id: str
    task_queue: str
    id_conflict_policy: WorkflowIDConflictPolicy
    id_reuse_policy: WorkflowIDReusePolicy
    search_attributes: TypedSearchAttributes
    static_summary: str
    static_details: str


class SessionClient:
    """The workflows of sessions as the API sees them.

    Every command raises `Problem` when it is rejected or Temporal cannot be reached, `SessionClosed` when no workflow
    of that id is running, and `WaitTimedOut` when the answer takes longer than `wait_seconds`.
    """

    def __init__(self, client: Client, *, task_queue: str, wait_seconds: float) -> None:
        self._client = client
        self._task_queue = task_queue
        self._slots = UpdateSlots()
        self._runs: LRUCache[str, str] = LRUCache(MAX_KNOWN_RUNS)
        """The run of each session that answered the latest query."""
        self.wait_seconds = wait_seconds

    async def open(self, start: StartSession) -> SessionHead:
        """Start a session, or join it if it is running, and wait for the greeting, even one that fails.

        Raises SessionClosed for a session that has ended.
        """
        operation: WithStartWorkflowOperation[SessionWorkflow, SessionResult] = WithStartWorkflowOperation(
            SessionWorkflow.run, start, **self._start_options(start)
        )
        try:
            async with self._timed(start.session_id):
                return await self._client.execute_update_with_start_workflow(
                    SessionWorkflow.await_greeting, start_workflow_operation=operation
                )
        except BaseException as error:
            # The operation may hold the same error, which asyncio reports unless it is retrieved.
            with suppress(BaseException):
                async with asyncio.timeout(0):
                    await operation.workflow_handle()
            if isinstance(error, WorkflowAlreadyStartedError):
                raise SessionClosed from error
            raise

    async def start(self, start: StartSession) -> None:
        """Start a session without waiting for its greeting. Changes nothing if it is running.

        Raises SessionClosed for a session that has ended.
        """
        try:
            async with self._timed(start.session_id):
                await self._client.start_workflow(SessionWorkflow.run, start, **self._start_options(start))
        except WorkflowAlreadyStartedError as error:
            raise SessionClosed from error

    async def open_turn(self, session_id: str, command: TurnCommand) -> SendMessageResult:
        """Send, edit or regenerate a message, and wait for the reply if the command says so.

        A repeat with the same message id joins the first call.
        """
        waiting = self._slots.waiting(session_id)
        async with self._timed(session_id):
            if not command.wait:
                return await self._send_without_wait(session_id, command)
            if waiting.locked():
                # The message is queued or rejected before its caller waits for a slot.
                await self._send_without_wait(session_id, command.model_copy(update={"wait": False}))
            async with waiting:
                return await self._send_and_wait(session_id, command)

    async def cancel(self, session_id: str, command: CancelTurn) -> SessionHead:
        """Stop the pending reply and wait until it has stopped."""
        return await self._apply(session_id, SessionWorkflow.cancel, command)

    async def restore(self, session_id: str, command: RestoreBranch) -> SessionHead:
        """Make a discarded branch active again."""
        return await self._apply(session_id, SessionWorkflow.restore, command)

    async def rewind(self, session_id: str, command: Rewind) -> SessionHead:
        """Move the cursor."""
        return await self._apply(session_id, SessionWorkflow.rewind, command)

    async def decide(
        self, session_id: str, command: DecideApproval, decision: Literal["approve", "deny"]
    ) -> SessionHead:
        """Approve or deny a tool call."""
        update = SessionWorkflow.approve if decision == "approve" else SessionWorkflow.deny
        return await self._apply(session_id, update, command)

    async def return_results(self, session_id: str, command: ReturnResults) -> ReturnResultsResult:
        """Return results of client tools, and wait for the rest of the reply if the command says so.

        Equal results join the first call.
        """
        update_id = results_update_id(command)
        handle, slots = self._handle(session_id), self._slots
        slot = slots.waiting(session_id) if command.wait else slots.immediate(session_id)
        async with self._timed(session_id), slot:
            while True:
                try:
                    return await handle.execute_update(SessionWorkflow.return_results, command, id=update_id)
                except WorkflowUpdateFailedError as error:
                    if not await self._goes_on_elsewhere(session_id, error):
                        raise

    async def end(self, session_id: str, command: EndSession) -> SessionHead:
        """End the session."""
        return await self._apply(session_id, SessionWorkflow.end, command)

    async def set_simulator(self, session_id: str, command: SetSimulator) -> SessionHead:
        """Switch the simulated user on or off."""
        async with self._timed(session_id):
            return await self._handle(session_id).execute_update(SessionWorkflow.set_simulator, command)

    async def timeline(self, session_id: str) -> TimelineView:
        """The session as it is now. Raises LiveQueryFailed after two seconds, or when the workflow is closed."""
        try:
            async with asyncio.timeout(QUERY_SECONDS):
                return await self._newest_timeline(session_id)
        except WorkflowQueryRejectedError as error:
            raise LiveQueryFailed(error.status) from error
        except (TimeoutError, RPCError, RuntimeError, RPCTimeoutOrCancelledError, WorkflowQueryFailedError) as error:
            # RuntimeError: the client has not been able to connect yet.
            raise LiveQueryFailed from error
        except ValueError as error:  # a status that the SDK has no name for: the workflow is paused
            raise LiveQueryFailed from error

    async def _newest_timeline(self, session_id: str) -> TimelineView:
        """The timeline, as the newest run answers the query.

        When a run ends while a query waits, Temporal still has that run answer it: a worker that has not processed its
        end replays the whole run for this, which takes seconds. The next run answers at once, but Temporal may hold
        back its first task while a query waits for the earlier run, so the earlier query is cancelled first.
        """
        handle = self._handle(session_id)
        # The query goes to the run that answered the latest one, if that is still the newest.
        asked = {None, self._runs.get(session_id)}
        query = asyncio.ensure_future(_timeline_of(handle))
        patience = SLOW_QUERY_SECONDS
        try:
            while True:
                answered, _ = await asyncio.wait([query], timeout=patience)
                if answered:
                    view = query.result()
                    self._runs[session_id] = view.head.run_id
                    return view
                patience = min(patience * MORE_PATIENCE, MAX_PATIENCE)
                run_id = await _young_run(handle)
                if run_id not in asked and not query.done():
                    await _cancel(query)
                    asked.add(run_id)
                    query = asyncio.ensure_future(_timeline_of(handle))
        finally:
            await _cancel(query)

    async def settle(self, session_id: str) -> None:
        """Signal the session to settle at once. Does nothing when its workflow cannot be reached."""
        with suppress(TimeoutError, RPCError, RuntimeError, RPCTimeoutOrCancelledError):
            async with asyncio.timeout(QUERY_SECONDS):
                await self._handle(session_id).signal(SessionWorkflow.settle)

    async def was_started(self, session_id: str) -> bool | None:
        """True when Temporal has the workflow; None when Temporal cannot be reached."""
        try:
            async with asyncio.timeout(QUERY_SECONDS):
                await self._handle(session_id).describe(rpc_timeout=timedelta(seconds=QUERY_SECONDS))
        except RPCError as error:
            return False if error.status is RPCStatusCode.NOT_FOUND else None
        except (TimeoutError, RuntimeError):
            return None
        except ValueError:  # paused
            return True
        return True

    async def was_closed_abnormally(self, session_id: str) -> bool:
        """True when the workflow was closed by an operator or a failure; False also when that is unknown."""
        with suppress(TimeoutError, RPCError, RuntimeError, ValueError):
            async with asyncio.timeout(QUERY_SECONDS):
                known = await self._handle(session_id).describe(rpc_timeout=timedelta(seconds=QUERY_SECONDS))
                return known.status in ABNORMAL_CLOSE_STATUSES
        return False

    def _start_options(self, start: StartSession) -> _StartOptions:
        return _StartOptions(
            id=session_workflow_id(start.session_id),
            task_queue=self._task_queue,
            # The session's row in the store makes its id unique; an existing workflow is this call, repeated.
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            search_attributes=search_attributes.of_session(start),
            static_summary=_summary(start),
            static_details=_details(start),
        )

    def _handle(self, session_id: str) -> Handle:
        return self._client.get_workflow_handle_for(SessionWorkflow.run, session_workflow_id(session_id))

    async def _apply(
        self,
        session_id: str,
        update: UpdateMethodMultiParam[[SessionWorkflow, SessionCommand], SessionHead],
        command: SessionCommand,
    ) -> SessionHead:
        """Send a command that completes at once."""
        async with self._timed(session_id), self._slots.immediate(session_id):
            return await self._handle(session_id).execute_update(update, command)

    async def _send_without_wait(self, session_id: str, command: TurnCommand) -> SendMessageResult:
        async with self._slots.immediate(session_id):
            return await self._send(session_id, command)

    async def _send_and_wait(self, session_id: str, command: TurnCommand) -> SendMessageResult:
        while True:
            try:
                return await self._send(session_id, command)
            except WorkflowUpdateFailedError as error:
                if not await self._goes_on_elsewhere(session_id, error):
                    raise

    async def _goes_on_elsewhere(self, session_id: str, error: WorkflowUpdateFailedError) -> bool:
        """True when the run that took a command is over and another run of the session may answer it.

        The other run began by continue-as-new or a reset: a message that is sent to it again joins its turn.
        """
        kind = error.cause.type if isinstance(error.cause, ApplicationError) else None
        if kind == CLOSED_UNDER_AN_UPDATE:
            described = await self._handle(session_id).describe(rpc_timeout=timedelta(seconds=QUERY_SECONDS))
            return described.status is WorkflowExecutionStatus.RUNNING
        return kind == CONTINUED_AS_NEW

    async def _send(self, session_id: str, command: TurnCommand) -> SendMessageResult:
        handle = self._handle(session_id)
        update_id = message_update_id(command)
        match command:
            case SendMessage():
                return await handle.execute_update(SessionWorkflow.send_message, command, id=update_id)
            case EditMessage():
                return await handle.execute_update(SessionWorkflow.edit, command, id=update_id)
            case Regenerate():
                return await handle.execute_update(SessionWorkflow.regenerate, command, id=update_id)

    def _timed(self, session_id: str) -> AbstractAsyncContextManager[None]:
        return time_limit(self._client, session_workflow_id(session_id), self.wait_seconds)


async def _cancel(query: "asyncio.Future[TimelineView]") -> None:
    """Cancel a query, and wait until it has ended."""
    query.cancel()
    await asyncio.gather(query, return_exceptions=True)


async def _timeline_of(handle: Handle) -> TimelineView:
    return await handle.query(SessionWorkflow.timeline, reject_condition=QueryRejectCondition.NOT_OPEN)


async def _young_run(handle: Handle) -> str | None:
    """The newest run, if it began so recently that a query may have met the end of the one before."""
    try:
        described = await handle.describe(rpc_timeout=timedelta(seconds=QUERY_SECONDS))
    except (RPCError, RuntimeError, ValueError):
        return None
    return described.run_id if datetime.now(UTC) - described.start_time < YOUNG_RUN else None


def _summary(start: StartSession) -> str:
    summary = f"{start.name} with {start.definition.name}, version {start.agent.version}"
    return summary.encode()[:SUMMARY_BYTES].decode(errors="ignore")


def _details(start: StartSession) -> str:
    return (
        f"A conversation with agent `{start.agent.id}` version {start.agent.version}, model `{start.model}`, "
        f"of organization `{start.organization_id}`."
    )


MAX_WAITING_UPDATES: Final = 3
"""Updates of one session that wait for a reply in Temporal. Further messages are accepted and wait in this process."""
MAX_IMMEDIATE_UPDATES: Final = 2
"""Updates of one session that complete at once and need a slot for milliseconds only."""


class UpdateSlots:
    """Limits the updates in flight of each session to half of what Temporal allows, so that two API processes fit."""

    def __init__(self) -> None:
        # A semaphore exists as long as it is in use.
        self._waiting: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()
        self._immediate: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()

    def waiting(self, session_id: str) -> Semaphore:
        """The slots for updates that wait for a reply."""
        return self._waiting.setdefault(session_id, Semaphore(MAX_WAITING_UPDATES))

    def immediate(self, session_id: str) -> Semaphore:
        """The slots for updates that complete at once."""
        return self._immediate.setdefault(session_id, Semaphore(MAX_IMMEDIATE_UPDATES))
