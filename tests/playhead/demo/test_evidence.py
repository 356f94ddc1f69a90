"""Reading of Temporal's history by the demo: turns from updates, steps and settlements from activities."""

from collections.abc import Iterable
from datetime import UTC, datetime

from temporalio.api.common.v1 import ActivityType, Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import (
    ActivityTaskCompletedEventAttributes,
    ActivityTaskScheduledEventAttributes,
    ActivityTaskStartedEventAttributes,
    HistoryEvent,
    WorkflowExecutionUpdateAcceptedEventAttributes,
    WorkflowExecutionUpdateCompletedEventAttributes,
)
from temporalio.api.update.v1 import Input, Meta, Outcome, Request
from temporalio.contrib.pydantic import pydantic_data_converter

from contracts.sessions import AgentRef, GenerateStepInput, GenerateStepResult, SendMessageResult, SettleTurnsInput
from domain.durable import FrozenModel
from domain.sessions.views import SessionHead
from domain.turns.engine import ExtractionResult, ModelReply
from domain.turns.turn import Turn
from domain.usage import Cost, ModelUsage, Usage
from playhead.demo.audit import StepKey
from playhead.demo.evidence import read_events

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
AGENT = AgentRef(id="agt_1", version=1)
GREETING = Turn(id="turn_greeting", parent_id=None, index=0, status="completed", created_at=NOON)
ANSWERED = Turn(id="turn_answered", parent_id=GREETING.id, index=1, status="completed", created_at=NOON)
HEAD = SessionHead(
    run_id="run",
    version=1,
    revision=2,
    status="idle",
    cursor_turn_id=None,
    head_turn_id=GREETING.id,
    current_node_id="greet",
    gathered_context={},
    is_completed=False,
    completion_reason=None,
    usage=Usage(),
    cost=Cost(),
    turns_before=0,
    created_at=NOON,
    updated_at=NOON,
)


def _payloads(value: FrozenModel) -> Payloads:
    return Payloads(payloads=pydantic_data_converter.payload_converter.to_payloads([value]))


def _accepted(event_id: int, name: str, update_id: str) -> HistoryEvent:
    request = Request(meta=Meta(update_id=update_id), input=Input(name=name))
    return HistoryEvent(
        event_id=event_id,
        event_type=EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
        workflow_execution_update_accepted_event_attributes=WorkflowExecutionUpdateAcceptedEventAttributes(
            accepted_request=request
        ),
    )


def _answered(accepted_event_id: int, result: FrozenModel) -> HistoryEvent:
    return HistoryEvent(
        event_type=EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED,
        workflow_execution_update_completed_event_attributes=WorkflowExecutionUpdateCompletedEventAttributes(
            accepted_event_id=accepted_event_id, outcome=Outcome(success=_payloads(result))
        ),
    )


def _scheduled(event_id: int, activity: str, given: FrozenModel) -> HistoryEvent:
    return HistoryEvent(
        event_id=event_id,
        event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
        activity_task_scheduled_event_attributes=ActivityTaskScheduledEventAttributes(
            activity_type=ActivityType(name=activity), input=_payloads(given)
        ),
    )


def _started(scheduled_event_id: int, attempt: int) -> HistoryEvent:
    return HistoryEvent(
        event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED,
        activity_task_started_event_attributes=ActivityTaskStartedEventAttributes(
            scheduled_event_id=scheduled_event_id, attempt=attempt
        ),
    )


def _completed(scheduled_event_id: int, result: FrozenModel) -> HistoryEvent:
    return HistoryEvent(
        event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
        activity_task_completed_event_attributes=ActivityTaskCompletedEventAttributes(
            scheduled_event_id=scheduled_event_id, result=_payloads(result)
        ),
    )


def _step(step: int, record: SettleTurnsInput | None = None) -> GenerateStepInput:
    return GenerateStepInput(
        session_id="ses_1",
        organization_id="demo",
        turn_id=ANSWERED.id,
        step=step,
        after="",
        agent=AGENT,
        model="demo",
        node_id="greet",
        record=record,
    )


def _a_conversation() -> Iterable[HistoryEvent]:
    """A greeting, a message that was answered at the second attempt, and one that was accepted and never answered.

    Between the reply and the end of its turn, variables are extracted.
    """
    used = Usage(llm={"demo:scripted": ModelUsage(prompt_tokens=5, total_tokens=5, requests=1)})
    answer = SendMessageResult(turn=ANSWERED, head=HEAD, previous_version=1)
    settled = SettleTurnsInput(session_id="ses_1", organization_id="demo", agent=AGENT, head=HEAD, turns=(GREETING,))
    settled_in_step = settled.model_copy(update={"turns": (ANSWERED,)})
    return (
        _accepted(1, "await_greeting", "greeting"),
        _answered(1, HEAD),
        _accepted(2, "send_message", "msg_1"),
        _scheduled(3, "generate_step", _step(0)),
        _started(3, 2),
        _completed(3, GenerateStepResult(reply=ModelReply(text="Hello.", usage=used))),
        _scheduled(8, "extract_variables", _step(1)),
        _started(8, 1),
        _completed(8, ExtractionResult(values={"party_size": 4}, usage=used)),
        _answered(2, answer),
        _scheduled(4, "settle_turns", settled),
        _started(4, 3),
        _accepted(5, "send_message", "msg_2"),
        _scheduled(6, "generate_step", _step(2, settled_in_step)),
        _started(6, 1),
        _accepted(7, "rewind", "rewind"),
        _answered(7, HEAD),
    )


async def test_turns_are_read_from_updates_and_steps_from_activities() -> None:
    account = await read_events(_a_conversation(), pydantic_data_converter)
    assert account.opened == (GREETING.id, ANSWERED.id, "the turn of update msg_2")
    assert account.settled == {GREETING.id, ANSWERED.id}, "a record travels with the next model call, or by itself"
    paid = [StepKey(ANSWERED.id, 0), StepKey(ANSWERED.id, 1)]
    assert list(account.steps) == paid, "a call that did not complete is not paid for"
    assert [spent.usage.total_tokens for spent in account.steps.values()] == [5, 5]
    assert account.retried == 1, "only model calls count, not settling"
