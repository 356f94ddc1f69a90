"""Worker upgrades: sessions move to the new build at their next continue-as-new, without waiting.

Suites and webhook deliveries are in `tests/operators/test_versions.py`.
"""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.deployment.v1 import WorkerDeploymentVersion as Version
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentVersionRequest,
    SetWorkerDeploymentCurrentVersionRequest,
    UpdateWorkflowExecutionOptionsRequest,
)
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError
from temporalio.worker import Worker

from playhead.config.settings import Settings
from playhead.services.worker import build_worker
from store.database.connection import Database
from tests.support.activities import CREDENTIALS
from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.session_stack import SessionHandle, SessionStack, reply_text
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]


class Deployment:
    """The builds of one worker deployment, on a task queue of its own."""

    def __init__(self, stack: SessionStack) -> None:
        self.stack = stack
        self.name = stack.task_queue

    def worker(self, build_id: str) -> Worker:
        """A worker of a build, as `playhead worker` builds it."""
        settings = Settings(
            database_url=self.stack.database.address,
            task_queue=self.stack.task_queue,
            deployment_name=self.name,
            build_id=build_id,
            shutdown_grace_seconds=0.1,
            credentials=CREDENTIALS,
            egress_allowlist=("127.0.0.1", "localhost"),
        )
        return build_worker(settings, self.stack.client, self.stack.database)

    async def make_current(self, build_id: str) -> None:
        """Start new sessions on a build, once the server knows it."""
        client = self.stack.client
        version = Version(deployment_name=self.name, build_id=build_id)

        async def is_known() -> bool:
            try:
                await client.workflow_service.describe_worker_deployment_version(
                    DescribeWorkerDeploymentVersionRequest(namespace=client.namespace, deployment_version=version)
                )
            except RPCError:
                return False
            return True

        await eventually(is_known)
        await client.workflow_service.set_worker_deployment_current_version(
            SetWorkerDeploymentCurrentVersionRequest(
                namespace=client.namespace, deployment_name=self.name, build_id=build_id
            ),
            retry=True,
        )


@pytest_asyncio.fixture
async def deployment(client: Client, database: Database) -> Deployment:
    return Deployment(SessionStack.on(client, database, f"sessions-{uuid4().hex[:8]}"))


async def build_of(handle: WorkflowHandle[Any, Any]) -> str:
    """The build that the newest run of a workflow is on."""
    described = await handle.describe()
    return described.raw_description.workflow_execution_info.versioning_info.deployment_version.build_id


async def moved(session: SessionHandle, run_id: str) -> None:
    """Wait until a session has left a run. The server announces the new build with its next workflow task."""

    async def has_moved() -> bool:
        await session.handle.signal("rewind_to", "turn_of_nobody")
        return (await session.status()).run_id != run_id

    await eventually(has_moved)


async def test_a_session_moves_to_the_current_build_once_its_turn_is_answered(
    deployment: Deployment, scripted: Scripted
) -> None:
    gate = Gate()
    model = scripted(TextReply("First."), TextReply("Second.", gate=gate))
    async with deployment.worker("new"):
        async with deployment.worker("old"):
            await deployment.make_current("old")
            session = await deployment.stack.open(model=model.string)
            await session.say("One")
            await session.until_settled()
            saying = asyncio.create_task(session.say("Two"))
            await gate.reached()
            begun = await session.status()
            await deployment.make_current("new")
            gate.open()
            second = await saying
            assert reply_text(second.turn) == "Second."
            assert second.head.run_id == begun.run_id, "what was begun is brought to its end by the old build"
            await moved(session, begun.run_id)
        third = await session.say("Three")
        assert await build_of(session.handle) == "new"
        assert [text for text, _ in await session.texts()] == [None, "One", "Two", "Three"]
        assert third.head.revision == 8
    assert len(model.journal) == 3


async def test_a_session_that_an_operator_pins_to_a_build_stays_there(
    deployment: Deployment, scripted: Scripted
) -> None:
    async with deployment.worker("new"), deployment.worker("old"):
        await deployment.make_current("old")
        session = await deployment.stack.open(model=scripted().string)
        await session.until_settled()
        client = deployment.stack.client
        pinned = VersioningOverride.PinnedOverride(
            behavior=VersioningOverride.PINNED_OVERRIDE_BEHAVIOR_PINNED,
            version=Version(deployment_name=deployment.name, build_id="old"),
        )
        await client.workflow_service.update_workflow_execution_options(
            UpdateWorkflowExecutionOptionsRequest(
                namespace=client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=session.workflow_id),
                workflow_execution_options=WorkflowExecutionOptions(
                    versioning_override=VersioningOverride(pinned=pinned)
                ),
                update_mask=FieldMask(paths=["versioning_override"]),
            ),
            retry=True,
        )
        await deployment.make_current("new")
        for number in range(5):
            await session.say(f"Message {number}")
        await session.until_settled()
        runs = [run.run_id async for run in client.list_workflows(f"WorkflowId = '{session.workflow_id}'")]
        assert await build_of(session.handle) == "old"
        assert len(runs) == 1, "it does not try again and again to move"
