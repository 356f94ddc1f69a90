"""The way from the API to the workflows: every command and question a session takes, typed, timed and translated."""

import asyncio
from asyncio import Semaphore
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Final, Literal, TypeVar
from weakref import WeakValueDictionary

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
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.workflow import UpdateMethodMultiParam

from api.temporal.errors import translate_temporal_errors
from contracts.sessions import (
    CONTINUED_AS_NEW,
    SendMessageResult,
    SessionResult,
    StartSession,
    message_update_id,
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
    Rewind,
    SendMessage,
    TurnCommand,
)
from domain.sessions.views import SessionHead, TimelineView
from workflows import search_attributes
from workflows.session.workflow import SessionWorkflow

QUERY_SECONDS: Final = 2.0
"""How long a worker may take for a question before the store is asked instead."""
SUMMARY_BYTES: Final = 200
"""Temporal takes 400 for a summary; a list of sessions shows less."""

ABNORMAL_CLOSE_STATUSES: Final = frozenset(
    {
        WorkflowExecutionStatus.CANCELED,
        WorkflowExecutionStatus.FAILED,
        WorkflowExecutionStatus.TERMINATED,
        WorkflowExecutionStatus.TIMED_OUT,
    }
)
"""How a workflow is closed other than by the end of its session."""

SessionCommand = TypeVar("SessionCommand", CancelTurn, Rewind, RestoreBranch, DecideApproval, EndSession)
Handle = WorkflowHandle[SessionWorkflow, SessionResult]


class LiveQueryFailed(Exception):
    """The workflow cannot say what it is just now. `status` is set when it is known to be closed."""

    def __init__(self, status: WorkflowExecutionStatus | None = None) -> None:
        super().__init__(status.name if status else "no worker answered")
        self.status = status


class SessionClient:
    """The workflows of sessions as the API sees them.

    Every command raises `Problem` when it is refused or Temporal cannot be reached, `SessionClosed` when no workflow
    of that id is running, and `WaitEnded` when the answer takes longer than `wait_seconds`.
    """

    def __init__(self, client: Client, *, task_queue: str, wait_seconds: float) -> None:
        self._client = client
        self._task_queue = task_queue
        self._places = UpdateSlots()
        self.wait_seconds = wait_seconds

    async def open(self, start: StartSession) -> SessionHead:
        """Start a session and wait until the agent has greeted, or has failed to."""
        operation = self._start_operation(start)
        try:
            async with self._the_wait():
                return await self._client.execute_update_with_start_workflow(
                    SessionWorkflow.await_greeting, start_workflow_operation=operation
                )
        except BaseException:
            # The operation may carry the same error, which asyncio complains about unless somebody looks at it.
            with suppress(BaseException):
                async with asyncio.timeout(0):
                    await operation.workflow_handle()
            raise

    async def start(self, start: StartSession) -> None:
        """Start a session; its greeting comes when it comes."""
        async with self._the_wait():
            await self._client.start_workflow(
                SessionWorkflow.run,
                start,
                id=session_workflow_id(start.session_id),
                task_queue=self._task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                search_attributes=search_attributes.of_session(start),
                static_summary=_summary(start),
                static_details=_details(start),
            )

    async def open_turn(self, session_id: str, command: TurnCommand) -> SendMessageResult:
        """Say something, or say it differently, and wait as long as the command says.

        The same message id joins the first call.
        """
        waits = self._places.to_wait(session_id)
        async with self._the_wait():
            if not command.wait:
                return await self._accepted(session_id, command)
            if waits.locked():
                # The message takes its place in the session's queue, or is refused, before its caller may wait for it.
                await self._accepted(session_id, command.model_copy(update={"wait": False}))
            async with waits:
                return await self._answered(session_id, command)

    async def cancel(self, session_id: str, command: CancelTurn) -> SessionHead:
        """Stop the reply that is pending, and wait until it has."""
        return await self._obeyed(session_id, SessionWorkflow.cancel, command)

    async def restore(self, session_id: str, command: RestoreBranch) -> SessionHead:
        """Go back to a branch that was given up."""
        return await self._obeyed(session_id, SessionWorkflow.restore, command)

    async def rewind(self, session_id: str, command: Rewind) -> SessionHead:
        """Move the cursor."""
        return await self._obeyed(session_id, SessionWorkflow.rewind, command)

    async def decide(
        self, session_id: str, command: DecideApproval, decision: Literal["approve", "deny"]
    ) -> SessionHead:
        """Let a tool call be made, or not."""
        update = SessionWorkflow.approve if decision == "approve" else SessionWorkflow.deny
        return await self._obeyed(session_id, update, command)

    async def end(self, session_id: str, command: EndSession) -> SessionHead:
        """End the session."""
        return await self._obeyed(session_id, SessionWorkflow.end, command)

    async def set_simulator(self, session_id: str, command: SetSimulator) -> SessionHead:
        """Switch the simulated caller."""
        async with self._the_wait():
            return await self._handle(session_id).execute_update(SessionWorkflow.set_simulator, command)

    async def timeline(self, session_id: str) -> TimelineView:
        """The session as it is now. Raises LiveQueryFailed after two seconds, or when the workflow is closed."""
        try:
            async with asyncio.timeout(QUERY_SECONDS):
                return await self._handle(session_id).query(
                    SessionWorkflow.timeline, reject_condition=QueryRejectCondition.NOT_OPEN
                )
        except WorkflowQueryRejectedError as error:
            raise LiveQueryFailed(error.status) from error
        except (TimeoutError, RPCError, RuntimeError, RPCTimeoutOrCancelledError, WorkflowQueryFailedError) as error:
            # RuntimeError: the client has not been able to connect yet.
            raise LiveQueryFailed from error

    async def was_started(self, session_id: str) -> bool | None:
        """Whether Temporal knows the session; None when it cannot be asked."""
        try:
            async with asyncio.timeout(QUERY_SECONDS):
                await self._handle(session_id).describe(rpc_timeout=timedelta(seconds=QUERY_SECONDS))
        except RPCError as error:
            return False if error.status is RPCStatusCode.NOT_FOUND else None
        except (TimeoutError, RuntimeError):
            return None
        return True

    async def was_closed_abnormally(self, session_id: str) -> bool:
        """Whether the workflow was closed from outside, by an operator or by a failure. False when nobody can tell."""
        with suppress(TimeoutError, RPCError, RuntimeError):
            async with asyncio.timeout(QUERY_SECONDS):
                known = await self._handle(session_id).describe(rpc_timeout=timedelta(seconds=QUERY_SECONDS))
                return known.status in ABNORMAL_CLOSE_STATUSES
        return False

    def _start_operation(self, start: StartSession) -> WithStartWorkflowOperation[SessionWorkflow, SessionResult]:
        return WithStartWorkflowOperation(
            SessionWorkflow.run,
            start,
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

    async def _obeyed(
        self,
        session_id: str,
        update: UpdateMethodMultiParam[[SessionWorkflow, SessionCommand], SessionHead],
        command: SessionCommand,
    ) -> SessionHead:
        """Give a command that is obeyed at once."""
        async with self._the_wait(), self._places.to_act(session_id):
            return await self._handle(session_id).execute_update(update, command)

    async def _accepted(self, session_id: str, command: TurnCommand) -> SendMessageResult:
        async with self._places.to_act(session_id):
            return await self._said(session_id, command)

    async def _answered(self, session_id: str, command: TurnCommand) -> SendMessageResult:
        while True:
            try:
                return await self._said(session_id, command)
            except WorkflowUpdateFailedError as error:
                if not (isinstance(error.cause, ApplicationError) and error.cause.type == CONTINUED_AS_NEW):
                    raise

    async def _said(self, session_id: str, command: TurnCommand) -> SendMessageResult:
        handle = self._handle(session_id)
        update_id = message_update_id(command)
        match command:
            case SendMessage():
                return await handle.execute_update(SessionWorkflow.send_message, command, id=update_id)
            case EditMessage():
                return await handle.execute_update(SessionWorkflow.edit, command, id=update_id)
            case Regenerate():
                return await handle.execute_update(SessionWorkflow.regenerate, command, id=update_id)

    @asynccontextmanager
    async def _the_wait(self) -> AsyncIterator[None]:
        with translate_temporal_errors():
            async with asyncio.timeout(self.wait_seconds):
                yield


def _summary(start: StartSession) -> str:
    summary = f"{start.name} with {start.definition.name}, version {start.agent.version}"
    return summary.encode()[:SUMMARY_BYTES].decode(errors="ignore")


def _details(start: StartSession) -> str:
    return (
        f"A conversation with agent `{start.agent.id}` version {start.agent.version}, model `{start.model}`, "
        f"of organization `{start.organization_id}`."
    )


MAX_WAITING_UPDATES: Final = 3
"""Messages of one session that wait for their reply in Temporal; the others have been accepted and wait here."""
MAX_IMMEDIATE_UPDATES: Final = 2
"""Commands of one session that are obeyed at once: they need a place for milliseconds, and always find one."""


class UpdateSlots:
    """What one process takes of the places of each session: half of them, so that two fill them and none is refused."""

    def __init__(self) -> None:
        # A semaphore is kept for as long as somebody waits at it.
        self._to_wait: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()
        self._to_act: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()

    def to_wait(self, session_id: str) -> Semaphore:
        """The places in which callers wait for replies of a session."""
        return self._to_wait.setdefault(session_id, Semaphore(MAX_WAITING_UPDATES))

    def to_act(self, session_id: str) -> Semaphore:
        """The places for everything that is obeyed at once."""
        return self._to_act.setdefault(session_id, Semaphore(MAX_IMMEDIATE_UPDATES))
