"""The witnesses of a session: the provider's journal, Temporal's histories, the store and the ledger, compared.

The scripted model repeats what the user said, so every answer shows which question it belongs to.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

import httpx2
from sqlalchemy import Connection, select
from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus

from contracts.sessions import GenerateStepInput, GenerateStepResult, SendMessageResult, session_workflow_id
from domain.sessions.commands import SendMessage
from domain.sessions.views import SessionHead
from domain.turns.engine import ModelReply
from domain.turns.model_request import OPENING_CUE
from domain.turns.turn import Message, Turn, UserSaid
from domain.usage import Usage
from playhead.temporal.client import PlayheadPlugin
from playhead.temporal.large_payloads import LargePayloads
from store.database.connection import Database
from store.database.tables import ledger, sessions, steps, turns
from tests.support.provider import TextReply

Json = dict[str, Any]  # Any: what another program wrote
Decoded = TypeVar("Decoded")

TOKENS_OF_A_REPLY = TextReply.prompt_tokens + TextReply.completion_tokens


@dataclass(frozen=True)
class PaidCall:
    """A model call in Temporal's histories: its digest, the newest words of the user in it, and the reply.

    `is_answer` is false for a reply that only calls tools, and for one to their results.
    """

    digest: str
    said: str | None
    reply: str
    is_answer: bool


@dataclass(frozen=True)
class Answered:
    """A message that was sent by update, and the reply that the update returned."""

    text: str
    reply: str | None


@dataclass(frozen=True)
class Run:
    """One run of a session's workflow."""

    execution: WorkflowExecution
    paid_calls: tuple[PaidCall, ...]
    answered: tuple[Answered, ...]


@dataclass(frozen=True)
class Recorded:
    """What the store has of a session. `billed` are usage and cost of each of its ledger rows."""

    status: str | None
    head: SessionHead | None
    turns: Mapping[str, Turn]
    steps: Mapping[str, ModelReply]
    billed: tuple[tuple[Usage, Decimal], ...]


class Witnesses:
    """Reads what each part of a stack has recorded of a session, and lists where they differ."""

    def __init__(self, database: Database, client: Client, http: httpx2.AsyncClient) -> None:
        self._database = database
        self._client = client
        self._http = http

    async def differences(
        self, session_id: str, requests: int, *, all_in_temporal: bool = True, by_hand: Collection[str] = ()
    ) -> list[str]:
        """Where the witnesses disagree, a sentence each; empty when they agree.

        `requests` is their number in the provider's journal of the session. `all_in_temporal` is false after Temporal's
        own database was set back or runs were deleted: its histories then lack model calls. `by_hand` are replies that
        an operator wrote in place of the model.
        """
        shown = (await self._http.get(f"/v1/sessions/{session_id}")).raise_for_status().json()
        runs = [run async for run in self._runs(session_id)]
        recorded = await self._recorded(session_id, shown["model"])
        return [
            *_money(requests, recorded, shown, by_hand),
            *_turns(recorded, shown, by_hand),
            *_histories(runs, recorded, all_in_temporal=all_in_temporal, by_hand=by_hand),
            *_head(runs, recorded, shown),
        ]

    async def _recorded(self, session_id: str, model: str) -> Recorded:
        """The record, with the model calls of the agent and without those of a simulated user or a judge."""
        is_own = (steps.c.session_id == session_id) & (steps.c.model == model)

        def read(connection: Connection) -> Recorded:
            session = connection.execute(select(sessions).where(sessions.c.id == session_id)).one()
            kept = connection.execute(select(turns).where(turns.c.session_id == session_id)).all()
            saved = connection.execute(select(steps).where(is_own)).all()
            rows = connection.execute(select(ledger).where(ledger.c.session_id == session_id)).all()
            return Recorded(
                status=session.status,
                head=SessionHead.model_validate_json(session.head) if session.head else None,
                turns={row.id: Turn.model_validate_json(row.document) for row in kept},
                steps={row.digest: ModelReply.model_validate_json(row.reply) for row in saved},
                billed=tuple((Usage.model_validate(row.usage), Decimal(row.cost["total"])) for row in rows),
            )

        return await self._database.read(read)

    async def _runs(self, session_id: str) -> AsyncIterator[Run]:
        workflow_id = session_workflow_id(session_id)
        async for execution in self._client.list_workflows(f"WorkflowId = '{workflow_id}'"):
            handle = self._client.get_workflow_handle(workflow_id, run_id=execution.run_id)
            yield await self._run(execution, list((await handle.fetch_history()).events))

    async def _run(self, execution: WorkflowExecution, events: list[HistoryEvent]) -> Run:
        by_id = {event.event_id: event for event in events}
        paid_calls, answered = [], []
        for event in events:
            match event.event_type:
                case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                    done = event.activity_task_completed_event_attributes
                    scheduled = by_id[done.scheduled_event_id].activity_task_scheduled_event_attributes
                    if scheduled.activity_type.name == "generate_step":
                        asked = await self._decoded(scheduled.input, GenerateStepInput)
                        result = await self._decoded(done.result, GenerateStepResult)
                        is_answer = not (result.reply.tool_calls or asked.step)
                        words = _newest_words(asked.messages)
                        paid_calls.append(PaidCall(asked.digest, words, result.reply.text, is_answer))
                case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
                    completed = event.workflow_execution_update_completed_event_attributes
                    accepted = by_id[completed.accepted_event_id].workflow_execution_update_accepted_event_attributes
                    if accepted.accepted_request.input.name == "send_message" and completed.outcome.HasField("success"):
                        command = await self._decoded(accepted.accepted_request.input.args, SendMessage)
                        sent = await self._decoded(completed.outcome.success, SendMessageResult)
                        reply = sent.turn.assistant_message
                        answered.append(Answered(command.text, reply.text if reply else None))
        return Run(execution, tuple(paid_calls), tuple(answered))

    async def _decoded(self, payloads: Payloads, form: type[Decoded]) -> Decoded:
        [value] = await self._client.data_converter.decode(list(payloads.payloads), [form])
        assert isinstance(value, form)
        return value


@asynccontextmanager
async def witnesses_of(database_url: str, temporal_address: str, api: httpx2.Client) -> AsyncIterator[Witnesses]:
    """The witnesses of a running stack. Everything is opened anew: database files may have been replaced.

    `api` is a client of its API.
    """
    database = Database.open(database_url)
    try:
        client = await Client.connect(temporal_address, plugins=[PlayheadPlugin(), LargePayloads(database)])
        key = {name: value for name, value in api.headers.items() if name == "authorization"}
        async with httpx2.AsyncClient(base_url=api.base_url, headers=key, timeout=60, trust_env=False) as http:
            yield Witnesses(database, client, http)
    finally:
        await database.aclose()


def _money(requests: int, recorded: Recorded, shown: Json, by_hand: Collection[str]) -> Iterable[str]:
    """Journal, saved steps, ledger and the session's own sums."""
    name = shown["model"].partition(":")[2]
    calls = [used for usage, _ in recorded.billed for key, used in usage.llm.items() if key.endswith(f":{name}")]
    billed, tokens = sum(each.requests for each in calls), sum(each.total_tokens for each in calls)
    used = sum(each["requests"] for key, each in shown["usage"]["llm"].items() if key.endswith(f":{name}"))
    cost = sum((each for _, each in recorded.billed), Decimal(0))
    saved = sum(reply.text not in by_hand for reply in recorded.steps.values())
    if not requests == saved == billed == used:
        yield (
            f"{requests} requests in the journal, {saved} saved steps, {billed} requests billed, "
            f"{used} in the session's usage"
        )
    if tokens != requests * TOKENS_OF_A_REPLY:
        yield f"{tokens} tokens billed for {requests} requests"
    if cost != Decimal(shown["cost"]["total"]):
        yield f"{cost} in the ledger, {shown['cost']['total']} shown"
    if requests and not cost:
        yield "nothing was billed: the price is not known"


def _turns(recorded: Recorded, shown: Json, by_hand: Collection[str]) -> Iterable[str]:
    """Turns as they are shown and as they are stored; each answer belongs to its question."""
    branches = [turn for branch in shown["discarded_branches"] for turn in branch["turns"]]
    visible = {turn["id"]: turn for turn in (*shown["turns"], *branches)}
    if visible.keys() != recorded.turns.keys():
        yield f"turns shown: {sorted(visible)}; turns stored: {sorted(recorded.turns)}"
    for turn_id in visible.keys() & recorded.turns.keys():
        stored = recorded.turns[turn_id]
        mine = (_words(visible[turn_id]["user_message"]), _words(visible[turn_id]["assistant_message"]))
        its = (
            stored.user_message.text if stored.user_message else None,
            stored.assistant_message.text if stored.assistant_message else None,
        )
        if mine != its or visible[turn_id]["status"] != stored.status:
            yield f"the turn {turn_id} is shown as {mine} and stored as {its}"
        if stored.status == "completed" and its[1] != answer_to(its[0]) and its[1] not in by_hand:
            yield f"the answer {its[1]!r} was given to {its[0]!r}"


def _histories(
    runs: list[Run], recorded: Recorded, *, all_in_temporal: bool, by_hand: Collection[str]
) -> Iterable[str]:
    """Model calls and updates of all runs, against the saved steps."""
    paid_calls = {each.digest: each for run in runs for each in run.paid_calls}
    for each in paid_calls.values():
        saved = recorded.steps.get(each.digest)
        if saved is not None and saved.text != each.reply:
            yield f"the step {each.digest} is {saved.text!r} in the store and {each.reply!r} in Temporal"
        if each.is_answer and each.reply not in (answer_to(each.said), *by_hand):
            yield f"in Temporal, {each.reply!r} was given to {each.said!r}"
    if all_in_temporal and paid_calls.keys() != recorded.steps.keys():
        yield f"steps in Temporal: {sorted(paid_calls)}; steps saved: {sorted(recorded.steps)}"
    for answered in (answered for run in runs for answered in run.answered):
        if answered.reply not in (None, answer_to(answered.text), *by_hand):
            yield f"the update of {answered.text!r} returned {answered.reply!r}"


def _head(runs: list[Run], recorded: Recorded, shown: Json) -> Iterable[str]:
    """The newest run, the recorded head and the session as it is shown."""
    newest = max(runs, key=lambda run: run.execution.start_time, default=None)
    status = newest.execution.status if newest else "unknown to Temporal"
    if (status is WorkflowExecutionStatus.RUNNING) == shown["is_completed"]:
        yield f"the newest run is {status}, and the session is shown as {shown['status']}"
    if recorded.head is None:
        yield "no head was recorded"
        return
    if (recorded.head.revision, recorded.status) != (shown["revision"], shown["status"]):
        yield (
            f"recorded as {recorded.status} at revision {recorded.head.revision}, "
            f"shown as {shown['status']} at {shown['revision']}"
        )


def answer_to(said: str | None) -> str:
    """The only right answer to a text of the user; None stands for a greeting."""
    return f"You said: {OPENING_CUE if said is None else said}"


def _newest_words(messages: tuple[Message, ...]) -> str | None:
    said = [message.text for message in messages if isinstance(message, UserSaid)]
    return said[-1] if said else None


def _words(message: Json | None) -> str | None:
    return str(message["text"]) if message else None
