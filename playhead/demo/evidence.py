"""Reads the records of the demo: Temporal's history with the SDK, the store with SQL, the ledger over HTTP."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import select
from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter

from contracts.sessions import GenerateStepInput, GenerateStepResult, SendMessageResult, SettleTurnsInput
from domain.durable import FrozenModel
from domain.sessions.views import SessionHead
from domain.turns.engine import ExtractionResult, ModelReply
from domain.turns.turn import Turn
from domain.usage import Cost, Usage
from playhead.demo.audit import (
    Evidence,
    HistoryRecord,
    LedgerRow,
    Spending,
    StepKey,
    StoreRecord,
    Totals,
    TurnTexts,
    spending_of,
)
from store.database.tables import steps, turns

if TYPE_CHECKING:
    import httpx2
    from temporalio.client import Client, WorkflowHandle

    from store.database.connection import Database
    from workflows.session.workflow import SessionWorkflow

MODEL_ACTIVITIES: Mapping[str, type[GenerateStepResult] | type[ExtractionResult]] = {
    "generate_step": GenerateStepResult,
    "extract_variables": ExtractionResult,
}
"""The activities that call a model, and the types of their results."""
PAGE_ROWS = 200
"""Ledger rows per request: the API's maximum."""

Contract = TypeVar("Contract")


class _LedgerRow(FrozenModel):
    turn_id: str
    usage: Usage
    cost: Cost


class _LedgerPage(FrozenModel):
    items: tuple[_LedgerRow, ...]
    next_cursor: str | None


class _OrganizationUsage(FrozenModel):
    turns: int
    usage: Usage
    cost: Cost


async def gather(
    answered: Mapping[str, TurnTexts],
    *,
    session_id: str,
    client: "Client",
    handle: "WorkflowHandle[SessionWorkflow, object]",
    database: "Database",
    http: "httpx2.AsyncClient",
) -> Evidence:
    """Read all records of a session, which must be settled and the only one of its organization."""
    return Evidence(
        answered=answered,
        history=await read_history(client, handle),
        store=await read_store(database, session_id),
        ledger=await read_ledger(http),
        totals=await read_totals(http),
    )


async def read_history(client: "Client", handle: "WorkflowHandle[SessionWorkflow, object]") -> HistoryRecord:
    """Read Temporal's history: answered updates, settled records, results of model calls."""
    history = await handle.fetch_history()
    return await read_events(history.events, client.data_converter)


async def read_events(events: Iterable[HistoryEvent], converter: DataConverter) -> HistoryRecord:
    """The record in the events of a history, oldest first."""
    reader = _HistoryReader(converter)
    for event in events:
        await reader.take(event)
    return HistoryRecord(
        opened=reader.turns(),
        settled=frozenset(reader.settled),
        steps=reader.steps,
        retried=reader.retried,
    )


class _HistoryReader:
    """Reads a history once, oldest event first, and collects turns and steps."""

    def __init__(self, converter: DataConverter) -> None:
        self._converter = converter
        self._updates: dict[int, str] = {}
        self._calls: dict[int, tuple[StepKey, type[GenerateStepResult] | type[ExtractionResult]]] = {}
        self._unanswered: dict[int, str] = {}
        self.retried = 0
        self.opened: dict[str, None] = {}
        self.settled: set[str] = set()
        self.steps: dict[StepKey, Spending] = {}

    def turns(self) -> tuple[str, ...]:
        """Every opened turn. An accepted message without an answer is listed by its update."""
        return (*self.opened, *(f"the turn of update {update_id}" for update_id in self._unanswered.values()))

    async def take(self, event: HistoryEvent) -> None:
        """Read one event."""
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
                accepted = event.workflow_execution_update_accepted_event_attributes
                self._updates[event.event_id] = accepted.accepted_request.input.name
                if accepted.accepted_request.input.name == "send_message":
                    self._unanswered[event.event_id] = accepted.accepted_request.meta.update_id
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
                await self._take_update(event)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                await self._take_scheduled(event)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
                started = event.activity_task_started_event_attributes
                self.retried += started.scheduled_event_id in self._calls and started.attempt > 1
            case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                await self._take_completed(event)

    async def _take_update(self, event: HistoryEvent) -> None:
        """Collect the turn that answered a message, or the greeting that `await_greeting` waited for."""
        completed = event.workflow_execution_update_completed_event_attributes
        name = self._updates.get(completed.accepted_event_id)
        self._unanswered.pop(completed.accepted_event_id, None)
        if not completed.outcome.HasField("success"):
            return
        if name == "send_message":
            result = await self._read(completed.outcome.success, SendMessageResult)
            self.opened[result.turn.id] = None
        elif name == "await_greeting":
            head = await self._read(completed.outcome.success, SessionHead)
            if head.head_turn_id:
                self.opened[head.head_turn_id] = None

    async def _take_scheduled(self, event: HistoryEvent) -> None:
        scheduled = event.activity_task_scheduled_event_attributes
        if scheduled.activity_type.name in MODEL_ACTIVITIES:
            step = await self._read(scheduled.input, GenerateStepInput)
            self._calls[event.event_id] = (
                StepKey(step.turn_id, step.step),
                MODEL_ACTIVITIES[scheduled.activity_type.name],
            )
            self._take_record(step.record)
        elif scheduled.activity_type.name == "settle_turns":
            self._take_record(await self._read(scheduled.input, SettleTurnsInput))

    def _take_record(self, record: SettleTurnsInput | None) -> None:
        """Collect the turns that an activity records: settle_turns always, a model call where it has a record."""
        if record is not None:
            self.settled.update(turn.id for turn in record.turns)

    async def _take_completed(self, event: HistoryEvent) -> None:
        completed = event.activity_task_completed_event_attributes
        if completed.scheduled_event_id in self._calls:
            key, form = self._calls[completed.scheduled_event_id]
            result = await self._read(completed.result, form)
            reply = result.reply if isinstance(result, GenerateStepResult) else result
            self.steps[key] = spending_of(reply.usage, reply.cost)

    async def _read(self, payloads: Payloads, form: type[Contract]) -> Contract:
        (value,) = await self._converter.decode(payloads.payloads, [form])
        return TypeAdapter(form).validate_python(value)


async def read_store(database: "Database", session_id: str) -> StoreRecord:
    """Read the tables, without the store's own classes in between."""
    documents = select(turns.c.document).where(turns.c.session_id == session_id)
    saved = select(steps.c.turn_id, steps.c.step, steps.c.reply).where(steps.c.session_id == session_id)
    recorded = [
        Turn.model_validate_json(document)
        for document in await database.read(lambda connection: connection.scalars(documents).all())
    ]
    replies = [
        (StepKey(row.turn_id, row.step), ModelReply.model_validate_json(row.reply))
        for row in await database.read(lambda connection: connection.execute(saved).all())
    ]
    return StoreRecord(
        turns={turn.id: texts_of(turn) for turn in recorded},
        steps={key: spending_of(reply.usage, reply.cost) for key, reply in replies},
    )


async def read_ledger(http: "httpx2.AsyncClient") -> tuple[LedgerRow, ...]:
    """Read the organization's ledger."""
    rows: list[LedgerRow] = []
    cursor: str | None = None
    while True:
        at = {"cursor": cursor} if cursor else {}
        response = await http.get("/v1/usage/ledger", params={"limit": PAGE_ROWS, **at})
        page = _LedgerPage.model_validate_json(response.raise_for_status().content)
        rows.extend(LedgerRow(row.turn_id, spending_of(row.usage, row.cost)) for row in page.items)
        cursor = page.next_cursor
        if cursor is None:
            return tuple(rows)


async def read_totals(http: "httpx2.AsyncClient") -> Totals:
    """Read the organization's totals."""
    response = await http.get("/v1/usage")
    totals = _OrganizationUsage.model_validate_json(response.raise_for_status().content)
    return Totals(turns=totals.turns, spent=spending_of(totals.usage, totals.cost))


def texts_of(turn: Turn) -> TurnTexts:
    """The messages of a turn."""
    return TurnTexts(
        person=turn.user_message.text if turn.user_message else None,
        agent=turn.assistant_message.text if turn.assistant_message else None,
    )
