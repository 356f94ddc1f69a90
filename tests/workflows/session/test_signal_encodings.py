"""Signals in every encoding: applied if they can be decoded, otherwise rejected on the timeline; no log quotes them."""

import logging
from collections.abc import Callable
from uuid import uuid4

import pytest
from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest

from tests.support.marked_words import MARK
from tests.support.provider import ScriptedModel
from tests.support.session_stack import SessionHandle, SessionStack
from tests.support.signal_payloads import REFUSED, TEXT, UNDERSTOOD
from tests.support.waiting import eventually
from tests.workflows.session.test_signals import answers, refused

Scripted = Callable[..., ScriptedModel]


async def signal(session: SessionHandle, name: str, argument: Payload) -> None:
    client = session.stack.client
    await client.workflow_service.signal_workflow_execution(
        SignalWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=session.workflow_id),
            signal_name=name,
            input=Payloads(payloads=[argument]),
            request_id=uuid4().hex,
        ),
        retry=True,
    )


async def test_messages_in_other_encodings_are_answered(stack: SessionStack, scripted: Scripted) -> None:
    session = await stack.open(model=scripted().string)
    for count, argument in enumerate(UNDERSTOOD.values(), start=1):
        await signal(session, "user_message", argument)
        assert (await answers(session, count))[-1] == (TEXT, f"You said: {TEXT}")
    assert await refused(session) == []


@pytest.mark.parametrize("name", ["user_message", "rewind_to", "end_session", "switch_simulator"])
async def test_unreadable_signals_are_recorded_in_the_timeline_and_not_quoted_in_logs(
    stack: SessionStack, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    session = await stack.open()
    # An end needs no argument.
    sent = [each for kind, each in REFUSED.items() if (name, kind) != ("end_session", "nothing")]
    with caplog.at_level(logging.DEBUG):
        for argument in sent:
            await signal(session, name, argument)

        async def all_noted() -> bool:
            return len(await refused(session)) == len(sent)

        await eventually(all_noted)
    assert {event.payload["code"] for event in await refused(session)} == {"validation_error"}
    assert not any(MARK in str(event.payload) for event in await refused(session))
    assert MARK not in caplog.text
