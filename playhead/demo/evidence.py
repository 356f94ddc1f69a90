"""Reads the witnesses of the demo: Temporal's history by the SDK, the store by SQL, the ledger over HTTP."""

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
    HistoryAccount,
    LedgerRow,
    Spent,
    StepKey,
    StoreAccount,
    Totals,
    Words,
    spent_on,
)
from store.database.tables import steps, turns

if TYPE_CHECKING:
    import httpx2
    from temporalio.client import Client, WorkflowHandle

    from store.database.connection import Database
    from workflows.session.workflow import SessionWorkflow

REPLIES: Mapping[str, type[GenerateStepResult] | type[ExtractionResult]] = {
    "generate_step": GenerateStepResult,
    "extract_variables": ExtractionResult,
}
"""The activities that call a model, with what they bring back."""
PAGE = 200
"""Ledger rows asked for at once: the most the API gives."""

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
    said: Mapping[str, Words],
    *,
    session_id: str,
    client: "Client",
    handle: "WorkflowHandle[SessionWorkflow, object]",
    database: "Database",
    http: "httpx2.AsyncClient",
) -> Evidence:
    """Every account of one session, the only one of its organization. Everything has to be settled before."""
    return Evidence(
        said=said,
        history=await read_history(client, handle),
        store=await read_store(database, session_id),
        ledger=await read_ledger(http),
        totals=await read_totals(http),
    )


async def read_history(client: "Client", handle: "WorkflowHandle[SessionWorkflow, object]") -> HistoryAccount:
    """What Temporal itself kept: answered updates, inputs of settle_turns, results of model calls."""
    history = await handle.fetch_history()
    return await account_of(history.events, client.data_converter)


async def account_of(events: Iterable[HistoryEvent], converter: DataConverter) -> HistoryAccount:
    """What a history says, oldest event first."""
    reader = _HistoryReader(converter)
    for event in events:
        await reader.take(event)
    return HistoryAccount(
        opened=reader.turns(),
        settled=frozenset(reader.settled),
        steps=reader.steps,
        retried=reader.retried,
    )


class _HistoryReader:
    """Goes through a history once, oldest event first, and keeps what happened to turns."""

    def __init__(self, converter: DataConverter) -> None:
        self._converter = converter
        self._updates: dict[int, str] = {}
        self._calls: dict[int, tuple[StepKey, type[GenerateStepResult] | type[ExtractionResult]]] = {}
        self._unanswered: dict[int, str] = {}
        self.retried = 0
        self.opened: dict[str, None] = {}
        self.settled: set[str] = set()
        self.steps: dict[StepKey, Spent] = {}

    def turns(self) -> tuple[str, ...]:
        """Every turn that was opened; a message that was accepted and not answered goes by the name of its update."""
        return (*self.opened, *(f"the turn of update {update_id}" for update_id in self._unanswered.values()))

    async def take(self, event: HistoryEvent) -> None:
        """Take one event in."""
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
        """A message opened the turn it was answered with; the greeting is what `await_greeting` waited for."""
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
        if scheduled.activity_type.name in REPLIES:
            step = await self._read(scheduled.input, GenerateStepInput)
            self._calls[event.event_id] = (StepKey(step.turn_id, step.step), REPLIES[scheduled.activity_type.name])
        elif scheduled.activity_type.name == "settle_turns":
            settling = await self._read(scheduled.input, SettleTurnsInput)
            self.settled.update(turn.id for turn in settling.turns)

    async def _take_completed(self, event: HistoryEvent) -> None:
        completed = event.activity_task_completed_event_attributes
        if completed.scheduled_event_id in self._calls:
            key, form = self._calls[completed.scheduled_event_id]
            result = await self._read(completed.result, form)
            bought = result.reply if isinstance(result, GenerateStepResult) else result
            self.steps[key] = spent_on(bought.usage, bought.cost)

    async def _read(self, payloads: Payloads, form: type[Contract]) -> Contract:
        (value,) = await self._converter.decode(payloads.payloads, [form])
        return TypeAdapter(form).validate_python(value)


async def read_store(database: "Database", session_id: str) -> StoreAccount:
    """What the tables hold, without the store's own readers in between."""
    documents = select(turns.c.document).where(turns.c.session_id == session_id)
    bought = select(steps.c.turn_id, steps.c.step, steps.c.reply).where(steps.c.session_id == session_id)
    recorded = [
        Turn.model_validate_json(document)
        for document in await database.read(lambda connection: connection.scalars(documents).all())
    ]
    replies = [
        (StepKey(row.turn_id, row.step), ModelReply.model_validate_json(row.reply))
        for row in await database.read(lambda connection: connection.execute(bought).all())
    ]
    return StoreAccount(
        turns={turn.id: words_of(turn) for turn in recorded},
        steps={key: spent_on(reply.usage, reply.cost) for key, reply in replies},
    )


async def read_ledger(http: "httpx2.AsyncClient") -> tuple[LedgerRow, ...]:
    """Every row of the organization's ledger."""
    rows: list[LedgerRow] = []
    cursor: str | None = None
    while True:
        at = {"cursor": cursor} if cursor else {}
        response = await http.get("/v1/usage/ledger", params={"limit": PAGE, **at})
        page = _LedgerPage.model_validate_json(response.raise_for_status().content)
        rows.extend(LedgerRow(row.turn_id, spent_on(row.usage, row.cost)) for row in page.items)
        cursor = page.next_cursor
        if cursor is None:
            return tuple(rows)


async def read_totals(http: "httpx2.AsyncClient") -> Totals:
    """The organization's totals."""
    response = await http.get("/v1/usage")
    told = _OrganizationUsage.model_validate_json(response.raise_for_status().content)
    return Totals(turns=told.turns, spent=spent_on(told.usage, told.cost))


def words_of(turn: Turn) -> Words:
    """What was said in a turn."""
    return Words(
        person=turn.user_message.text if turn.user_message else None,
        agent=turn.assistant_message.text if turn.assistant_message else None,
    )
