"""Messages to a busy agent, and simultaneous commands."""

import asyncio
from collections.abc import Callable

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import UpdateWorkflowExecutionLifecycleStage as Stages
from temporalio.api.update.v1 import UpdateRef, WaitPolicy
from temporalio.api.workflowservice.v1 import PollWorkflowExecutionUpdateRequest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from contracts.sessions import SendMessageResult, message_update_id
from domain.sessions.commands import SendMessage
from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.session_stack import SessionHandle, SessionStack, reply_text, session_worker, types_of
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]


async def test_messages_that_wait_are_answered_in_the_order_they_came(stack: SessionStack, scripted: Scripted) -> None:
    gate = Gate()
    model = scripted(TextReply("One.", gate=gate), TextReply("Two."), TextReply("Three."), TextReply("Four."))
    session = await stack.open(model=model.string)
    turns = [await session.say(text, message_id=text, on_busy="enqueue", wait=False) for text in ("1", "2", "3", "4")]
    assert [turn.turn.index for turn in turns] == [1, 2, 3, 4]
    gate.open()
    answers = [await session.say(text, message_id=text) for text in ("1", "2", "3", "4")]
    assert [reply_text(answer.turn) for answer in answers] == ["One.", "Two.", "Three.", "Four."]
    assert [answer.turn.id for answer in answers] == [turn.turn.id for turn in turns]
    assert [asked.conversation[-1] for asked in model.journal] == [("user", text) for text in ("1", "2", "3", "4")]


async def test_a_queued_message_whose_place_a_rewind_removed_fails_as_superseded(
    stack: SessionStack, scripted: Scripted
) -> None:
    gate = Gate()
    model = scripted(TextReply("One.", gate=gate))
    session = await stack.open(model=model.string)
    first = await session.say("1", wait=False)
    waiting = asyncio.create_task(session.say("2", message_id="msg_2", on_busy="enqueue"))
    await eventually(lambda: _revision_is(session, 4))
    await session.rewind(first.turn.id, before=True)
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await waiting
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "superseded"
    greeting = (await session.timeline()).turns[0]
    assert types_of(greeting)[-1:] == ["command_refused"]
    assert greeting.events[-1].payload["message_id"] == "msg_2"
    gate.open()
    await session.until_settled()
    assert len(model.journal) == 1, "the message that lost its place was not answered"


async def test_a_message_queued_when_the_session_ends_fails_as_session_ended(
    stack: SessionStack, scripted: Scripted
) -> None:
    gate = Gate()
    session = await stack.open(model=scripted(TextReply("One.", gate=gate)).string)
    await session.say("1", wait=False)
    waiting = asyncio.create_task(session.say("2", on_busy="enqueue"))
    await eventually(lambda: _revision_is(session, 4))
    await session.end()
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await waiting
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "session_ended"
    gate.open()
    await session.handle.result()


async def test_one_of_two_messages_in_one_workflow_task_is_answered_and_the_other_refused(
    stack_without_worker: SessionStack, scripted: Scripted
) -> None:
    model = scripted()
    async with session_worker(stack_without_worker):
        session = await stack_without_worker.open(model=model.string)
        await session.until_settled()
    outcomes = [await _admitted(session, SendMessage(text="Hello", message_id=each)) for each in ("a", "b")]
    async with session_worker(stack_without_worker):
        found = await asyncio.gather(*outcomes, return_exceptions=True)
    [answered] = [each for each in found if isinstance(each, SendMessageResult)]
    [refused] = [each for each in found if isinstance(each, WorkflowUpdateFailedError)]
    assert reply_text(answered.turn) == "You said: Hello"
    assert isinstance(refused.cause, ApplicationError)
    assert refused.cause.type == "turn_in_progress"
    assert len(model.journal) == 1
    assert (await session.event_counts())["WORKFLOW_EXECUTION_UPDATE_ACCEPTED"] == 2, "the greeting and one message"


async def test_two_messages_that_expect_the_same_revision_in_one_workflow_task_do_not_both_win(
    stack_without_worker: SessionStack, scripted: Scripted
) -> None:
    model = scripted()
    async with session_worker(stack_without_worker):
        session = await stack_without_worker.open(model=model.string)
        await session.until_settled()
    commands = [
        SendMessage(text="Hello", message_id=each, expected_revision=2, on_busy="enqueue") for each in ("a", "b")
    ]
    outcomes = [await _admitted(session, command) for command in commands]
    async with session_worker(stack_without_worker):
        found = await asyncio.gather(*outcomes, return_exceptions=True)
    [refused] = [each for each in found if isinstance(each, WorkflowUpdateFailedError)]
    assert isinstance(refused.cause, ApplicationError)
    assert refused.cause.type == "revision_conflict"
    assert len(model.journal) == 1


async def test_messages_that_come_before_the_first_workflow_task_are_answered_after_the_greeting(
    stack_without_worker: SessionStack, scripted: Scripted
) -> None:
    session = await stack_without_worker.prepare(model=scripted().string)
    await session.begin()
    outcomes = [
        await _admitted(session, SendMessage(text=each, message_id=each, on_busy="enqueue")) for each in ("a", "b")
    ]
    async with session_worker(stack_without_worker):
        await asyncio.gather(*outcomes)
        texts = await session.texts()
    assert texts[0] == (None, "Good morning, this is the town library.")
    assert sorted(texts[1:], key=str) == [("a", "You said: a"), ("b", "You said: b")]
    accepted = [
        event.workflow_execution_update_accepted_event_attributes.accepted_request_sequencing_event_id
        for event in await session.events()
        if event.HasField("workflow_execution_update_accepted_event_attributes")
    ]
    assert len(accepted) == 2
    assert len(set(accepted)) == 1, "both came in one workflow task, or this test shows nothing"


async def _revision_is(session: SessionHandle, revision: int) -> bool:
    return (await session.status()).revision == revision


async def _admitted(session: SessionHandle, command: SendMessage) -> asyncio.Task[SendMessageResult]:
    """Send a message while no worker runs, and return when the server holds it for the next workflow task."""
    sending = asyncio.create_task(
        session.say(
            command.text,
            message_id=command.message_id,
            expected_revision=command.expected_revision,
            on_busy=command.on_busy,
        )
    )
    client = session.stack.client
    held = PollWorkflowExecutionUpdateRequest(
        namespace=client.namespace,
        update_ref=UpdateRef(
            workflow_execution=WorkflowExecution(workflow_id=session.workflow_id),
            update_id=message_update_id(command),
        ),
        wait_policy=WaitPolicy(lifecycle_stage=Stages.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ADMITTED),
    )

    async def is_held() -> bool:
        try:
            await client.workflow_service.poll_workflow_execution_update(held)
        except RPCError:
            return False
        return True

    await eventually(is_held)
    return sending
