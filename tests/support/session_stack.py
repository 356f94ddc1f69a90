"""The stack of the workflow tests: workers, a store, and sessions driven as their clients drive them."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import JsonValue
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import ActivityTaskScheduledEventAttributes, HistoryEvent
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowHandle,
    WorkflowHistory,
    WorkflowUpdateFailedError,
)
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer, Worker

from activities.heartbeats import MAX_HEARTBEAT_INTERVAL
from contracts.sessions import (
    AgentRef,
    GenerateStepInput,
    SendMessageResult,
    SessionResult,
    SettleTurnsInput,
    StartSession,
    Timing,
    message_update_id,
    session_workflow_id,
)
from contracts.webhooks import WebhookTarget
from domain.agents.definition import AgentDefinition
from domain.rejections import Rejection
from domain.sessions.commands import EndSession, OnBusy, Rewind, SendMessage
from domain.sessions.timeline import DiscardedBranch
from domain.sessions.views import SessionHead, TimelineView
from domain.turns.turn import Turn
from playhead.config.settings import PAYLOAD_OFFLOAD_THRESHOLD
from playhead.services.worker import POLLS_FOR_NEW_RUNS, WORKFLOW_TASK_POLLS
from playhead.temporal.client import PlayheadPlugin
from playhead.temporal.large_payloads import LargePayloads, with_large_payloads
from store.agents import AgentStore
from store.api_keys import KeyStore
from store.billing.ledger import LedgerRow, LedgerStore
from store.database.connection import Database
from store.migrate import upgrade
from store.sessions.sessions import NewSession, SessionStore
from tests.support.activities import session_activities
from tests.support.agents import CLERK
from tests.support.waiting import eventually
from workflows.search_attributes import AGENT, ORG, STATUS
from workflows.session.workflow import SessionWorkflow
from workflows.webhook_delivery import DeliverWebhookWorkflow

ORGANIZATION = "org_tests"
PRICED = "priced"
"""The one scripted model whose price is known in the tests: a dollar for a thousand tokens, in or out."""
QUICK = Timing(
    model_timeout=10.0,
    heartbeat=10.0,
    retry_initial=0.05,
    retry_maximum=0.2,
    settle_within=0.1,
    settle_unattended_within=0.2,
)
"""Short pauses, so that tests do not wait; timeouts long enough for a busy machine."""


@dataclass(frozen=True)
class SessionStack:
    """A Temporal task queue for sessions, and the store behind its workers."""

    client: Client
    database: Database
    task_queue: str
    organization_id: str = ORGANIZATION

    @classmethod
    def on(
        cls, client: Client, database: Database, task_queue: str, *, threshold: int = PAYLOAD_OFFLOAD_THRESHOLD
    ) -> "SessionStack":
        """A stack that keeps payloads of `threshold` bytes or more in the store, as a worker and an API do."""
        return cls(with_large_payloads(client, database, threshold=threshold), database, task_queue)

    async def prepare(
        self,
        definition: AgentDefinition = CLERK,
        *,
        model: str = "demo",
        timing: Timing = QUICK,
        initial_context: dict[str, JsonValue] | None = None,
        webhook: WebhookTarget | None = None,
        price_per_second: Decimal | None = None,
    ) -> "SessionHandle":
        """A session as the API creates it, before its workflow is started."""
        agent = await AgentStore(self.database).add_version(self.organization_id, definition, ())
        start = StartSession(
            session_id=f"ses_{uuid4().hex[:12]}",
            organization_id=self.organization_id,
            agent=AgentRef(id=agent.id, version=agent.version),
            definition=definition,
            model=model,
            name="a test",
            initial_context=initial_context or {},
            timing=timing,
            webhook=webhook,
            price_per_second=price_per_second,
        )
        row = NewSession(
            id=start.session_id,
            organization_id=self.organization_id,
            agent_id=agent.id,
            agent_version=agent.version,
            agent_name=agent.name,
            agent_number=agent.number,
            name=start.name,
            model=model,
            created_at=datetime.now(UTC),
            initial_context=start.initial_context,
            annotations={},
        )
        await SessionStore(self.database).create(row)
        return SessionHandle(self, start)

    async def open(
        self,
        definition: AgentDefinition = CLERK,
        *,
        model: str = "demo",
        timing: Timing = QUICK,
        initial_context: dict[str, JsonValue] | None = None,
        webhook: WebhookTarget | None = None,
    ) -> "SessionHandle":
        """A session that has greeted."""
        session = await self.prepare(
            definition, model=model, timing=timing, initial_context=initial_context, webhook=webhook
        )
        await session.greet()
        return session

    async def ledger(self, session: "SessionHandle") -> list[LedgerRow]:
        """The ledger rows of the session, in the order of billing."""
        page = await LedgerStore(self.database).rows(self.organization_id, session_id=session.id, limit=200)
        return list(reversed(page.items))


class SessionHandle:
    """One session, and every request a client can make of it."""

    def __init__(self, stack: SessionStack, start: StartSession) -> None:
        self.stack = stack
        self.start = start
        self.id = start.session_id
        self.workflow_id = session_workflow_id(start.session_id)
        self.handle: WorkflowHandle[SessionWorkflow, SessionResult] = stack.client.get_workflow_handle_for(
            SessionWorkflow.run, self.workflow_id
        )

    async def greet(self) -> SessionHead:
        """Start the workflow and wait for the greeting."""
        operation = WithStartWorkflowOperation(
            SessionWorkflow.run,
            self.start,
            id=self.workflow_id,
            task_queue=self.stack.task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            search_attributes=self._search_attributes(),
        )
        return await self.stack.client.execute_update_with_start_workflow(
            SessionWorkflow.await_greeting, start_workflow_operation=operation
        )

    async def begin(self, *, signal: str | None = None, argument: object = None) -> None:
        """Start the workflow without waiting for it, with a signal if one is named."""
        await self.stack.client.start_workflow(
            SessionWorkflow.run,
            self.start,
            id=self.workflow_id,
            task_queue=self.stack.task_queue,
            search_attributes=self._search_attributes(),
            start_signal=signal,
            start_signal_args=[argument] if signal else [],
        )

    async def say(
        self,
        text: str,
        *,
        message_id: str | None = None,
        expected_revision: int | None = None,
        on_busy: OnBusy | None = None,
        wait: bool = True,
    ) -> SendMessageResult:
        """Send a message under an id of its own, as the API does, and wait for the reply."""
        command = SendMessage(
            text=text,
            message_id=message_id or f"msg_{uuid4().hex[:12]}",
            expected_revision=expected_revision,
            on_busy=on_busy,
            wait=wait,
        )
        return await self.handle.execute_update(SessionWorkflow.send_message, command, id=message_update_id(command))

    async def reply(self, text: str) -> str:
        """Send a message and return what the agent says to it."""
        return reply_text((await self.say(text)).turn)

    async def rewind(
        self, turn_id: str | None, *, before: bool = False, expected_revision: int | None = None
    ) -> SessionHead:
        """Point the cursor at a turn."""
        command = Rewind(turn_id=turn_id, before=before, expected_revision=expected_revision)
        return await self.handle.execute_update(SessionWorkflow.rewind, command)

    async def end(self, reason: str = "user_hangup", *, expected_revision: int | None = None) -> SessionHead:
        """End the session."""
        command = EndSession(reason=reason, expected_revision=expected_revision)
        return await self.handle.execute_update(SessionWorkflow.end, command)

    async def status(self) -> SessionHead:
        """The head of the session."""
        return await self.handle.query(SessionWorkflow.status)

    async def timeline(self) -> TimelineView:
        """The view of the session that the API reads."""
        return await self.handle.query(SessionWorkflow.timeline)

    async def texts(self) -> list[tuple[str | None, str | None]]:
        """The visible turns: for each the texts of the user and of the agent."""
        return [
            (
                turn.user_message.text if turn.user_message else None,
                turn.assistant_message.text if turn.assistant_message else None,
            )
            for turn in (await self.timeline()).turns
        ]

    async def events(self) -> list[HistoryEvent]:
        """The history of the newest run."""
        return list((await self.handle.fetch_history()).events)

    async def scheduled(self, activity: str) -> list[ActivityTaskScheduledEventAttributes]:
        """The activities of a type that the newest run has scheduled, oldest first."""
        found = [event.activity_task_scheduled_event_attributes for event in await self.events()]
        return [scheduled for scheduled in found if scheduled.activity_type.name == activity]

    async def settlements(self) -> list[SettleTurnsInput]:
        """The inputs of the settlements of the newest run, oldest first."""
        converter = self.stack.client.data_converter
        inputs = [
            await converter.decode(list(scheduled.input.payloads), [SettleTurnsInput])
            for scheduled in await self.scheduled("settle_turns")
        ]
        return [each for (each,) in inputs]

    async def travelled(self) -> list[SettleTurnsInput]:
        """The settlements that travelled with model calls of the newest run, oldest first."""
        converter = self.stack.client.data_converter
        steps = [
            await converter.decode(list(scheduled.input.payloads), [GenerateStepInput])
            for scheduled in await self.scheduled("generate_step")
        ]
        return [step.record for (step,) in steps if step.record is not None]

    async def event_counts(self) -> Counter[str]:
        """The number of events of each type in the history of the newest run."""
        return Counter(EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in await self.events())

    async def billed(self, turns: int) -> list[LedgerRow]:
        """The ledger of the session, as soon as it has this many rows. Fails when it has more."""

        async def rows() -> list[LedgerRow]:
            found = await self.stack.ledger(self)
            return found if len(found) >= turns else []

        entries = await eventually(rows)
        assert len(entries) == turns
        return entries

    async def until_settled(self) -> None:
        """Wait until no reply, settlement, activity or workflow task is pending.

        Then a worker can be stopped. A task that is on its way to a worker when it stops is lost, and the server waits
        ten seconds for a workflow task, half a minute for a settlement, before it hands it to another worker.
        """

        async def is_settled() -> bool:
            recorded = await self._recorded_version() == (await self.status()).version
            open_turns = [turn for turn in (await self.timeline()).turns if turn.status == "pending"]
            described = (await self.handle.describe()).raw_description
            tasks = described.pending_activities or described.HasField("pending_workflow_task")
            return recorded and not open_turns and not tasks

        await eventually(is_settled)

    async def stored_turns(self, leaf_turn_id: str | None = None) -> list[Turn]:
        """The stored branch down to a leaf (by default the visible one), oldest turn first."""
        leaf = leaf_turn_id or (await self.status()).head_turn_id
        assert leaf is not None
        return await SessionStore(self.stack.database).turns(self.id, leaf_turn_id=leaf, limit=200)

    async def stored_branches(self) -> list[DiscardedBranch]:
        """The discarded branches that the store has."""
        return await SessionStore(self.stack.database).branches(self.id)

    async def _recorded_version(self) -> int | None:
        stored = await SessionStore(self.stack.database).find(self.stack.organization_id, self.id)
        return stored.head.version if stored and stored.head else None

    def _search_attributes(self) -> TypedSearchAttributes:
        return TypedSearchAttributes(
            [
                SearchAttributePair(ORG, self.start.organization_id),
                SearchAttributePair(AGENT, self.start.agent.id),
                SearchAttributePair(STATUS, "idle"),
            ]
        )


@asynccontextmanager
async def store_in(folder: Path) -> AsyncIterator[Database]:
    """A new store with the organization of the tests in it."""
    database = Database.open(f"sqlite:///{folder / 'playhead.db'}")
    await upgrade(database)
    await KeyStore(database).ensure_organization(ORGANIZATION, "The tests")
    try:
        yield database
    finally:
        await database.aclose()


def session_worker(
    stack: SessionStack,
    activities: list[Callable[..., Any]] | None = None,
    *,
    workflow: type[SessionWorkflow] = SessionWorkflow,
) -> Worker:
    """A worker with the activities or the workflow that the test names; it polls as Playhead's worker does."""
    return Worker(
        stack.client,
        task_queue=stack.task_queue,
        workflows=[workflow, DeliverWebhookWorkflow],
        # Workflows call local activities: a worker for workflows only still has activities, but polls for none.
        activities=activities or session_activities(stack.database),
        no_remote_activities=activities is not None and not activities,
        max_concurrent_workflow_task_polls=WORKFLOW_TASK_POLLS,
        nonsticky_to_sticky_poll_ratio=POLLS_FOR_NEW_RUNS,
        max_heartbeat_throttle_interval=MAX_HEARTBEAT_INTERVAL,
    )


async def replay_all(client: Client, database: Database, task_queues: str) -> None:
    """Replay every session on the task queues with this prefix: its code must have been deterministic.

    Runs that began with a reset are left out: the SDK's replayer gives a run the id of the one it was reset from, so
    that workflow code cannot detect the reset. Workers without a cache replay those, in the tests of resets.
    """
    plugins = [PlayheadPlugin(), LargePayloads(database)]
    sessions = client.list_workflows(f"WorkflowType = 'Session' AND TaskQueue STARTS_WITH '{task_queues}'")

    async def histories() -> AsyncIterator[WorkflowHistory]:
        async for run in sessions:
            history = await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
            if history.run_id == run.run_id:
                yield history

    replayer = Replayer(workflows=[SessionWorkflow], plugins=plugins)
    async with replayer.workflow_replay_iterator(histories()) as replayed:
        failures = [
            f"{each.replay_failure}\n{_outline(each.history)}" async for each in replayed if each.replay_failure
        ]
    assert not failures, "these sessions were not deterministic:\n" + "\n".join(failures)


def _outline(history: WorkflowHistory) -> str:
    """The events of a run, one per line: they show what happened before a failure."""
    return "\n".join(
        f"{each.event_id} {EventType.Name(each.event_type)} {_update_id(each)}".rstrip() for each in history.events
    )


def _update_id(event: HistoryEvent) -> str:
    match event.event_type:
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED:
            return event.workflow_execution_update_admitted_event_attributes.request.meta.update_id
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
            return event.workflow_execution_update_accepted_event_attributes.protocol_instance_id
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
            return event.workflow_execution_update_completed_event_attributes.meta.update_id
        case _:
            return ""


def reply_text(turn: Turn) -> str:
    """The text of the agent in a turn."""
    assert turn.assistant_message is not None, f"the turn {turn.id} is {turn.status}: {turn.error}"
    return turn.assistant_message.text


def types_of(turn: Turn) -> list[str]:
    """The types of the events of a turn."""
    return [event.type for event in turn.events]


async def rejection_of(command: Awaitable[object]) -> Rejection:
    """The error of a rejected command. Fails when the command is accepted."""
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await command
    cause = caught.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.non_retryable
    details: Sequence[Any] = cause.details
    rejection = Rejection.model_validate(details[0])
    assert cause.type == rejection.code
    return rejection
