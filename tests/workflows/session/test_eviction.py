"""Sessions evicted from a worker's cache: nothing is left running there, and they go on when they are needed."""

import logging
from collections.abc import Callable

import pytest
from temporalio.worker import Worker

from tests.support.activities import session_activities
from tests.support.provider import ScriptedModel
from tests.support.session_stack import SessionStack, reply_text
from workflows.session.workflow import SessionWorkflow
from workflows.webhook_delivery import DeliverWebhookWorkflow

Scripted = Callable[..., ScriptedModel]


async def test_sessions_take_turns_in_the_memory_of_a_worker(
    stack_without_worker: SessionStack, scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    stack = stack_without_worker
    with caplog.at_level(logging.WARNING, "temporalio"):
        async with Worker(
            stack.client,
            task_queue=stack.task_queue,
            workflows=[SessionWorkflow, DeliverWebhookWorkflow],
            activities=session_activities(stack.database),
            max_cached_workflows=1,
            max_concurrent_workflow_task_polls=2,
        ):
            sessions = [await stack.open(model=scripted().string) for _ in range(2)]
            for number in range(3):
                for session in sessions:
                    assert reply_text((await session.say(f"Message {number}")).turn) == f"You said: Message {number}"
            for session in sessions:
                assert (await session.end()).completion_reason == "user_hangup"
                await session.handle.result()
    assert [record.getMessage() for record in caplog.records] == []
