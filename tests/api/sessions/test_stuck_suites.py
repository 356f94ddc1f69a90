"""Suites that Temporal cannot continue: commands say why, and what was recorded can be read.

Sessions are in `tests/operators/test_stuck_sessions.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from temporalio.api.workflowservice.v1 import PauseWorkflowExecutionRequest, UnpauseWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.worker import Worker

from api.temporal import time_limit
from playhead.services.worker import build_worker
from tests.api.conftest import quick_settings
from tests.api.sessions.broken_session import DEFECT, BrokenSession, BrokenSuite
from tests.support.activities import session_activities
from tests.support.api_agents import library
from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.running_api import Caller, Json, RunningApi, done, problem, serving

Scripted = Callable[..., ScriptedModel]

on_sqlite = pytest.mark.parametrize("running_api", ["sqlite"], indirect=True, scope="session")
"""The first test runs on both databases."""


@pytest.fixture(autouse=True)
def _early_obstacle_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command looks for an obstacle sooner than in production."""
    monkeypatch.setattr(time_limit, "LOOKS_FOR_OBSTACLES", (1.0, 2.0, 2.0, 2.0, 2.0))


async def test_a_paused_suite_takes_no_commands_and_can_be_read(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    gate = Gate()
    suite_id = await running_suite(caller, scripted(TextReply("At nine.", gate=gate)), gate)
    async with paused(running_api.client, f"suite-{suite_id}"):
        for refused in await refused_by_suite(caller, suite_id, ("pause", "cancel")):
            assert (refused["reason"], refused["failure"]) == ("workflow_paused", "being looked at")
            assert f"temporal workflow unpause --workflow-id suite-{suite_id}" in refused["detail"]
            assert "the suite's workflow" in refused["detail"]
        assert done(await caller.get(f"/v1/suites/{suite_id}"), 200)["status"] == "running"
    gate.open()
    assert done(await caller.post(f"/v1/suites/{suite_id}/cancel"), 200)["status"] == "cancelled"


@on_sqlite
async def test_a_suite_whose_workflow_fails_takes_no_commands_and_can_be_read(
    running_api: RunningApi, scripted: Scripted
) -> None:
    gate = Gate()
    settings = quick_settings(running_api.settings.database_url, f"stuck-{uuid4().hex[:8]}")
    async with serving(settings, running_api.client, running_api.database) as api, api.caller() as caller:
        async with build_worker(settings, running_api.client, running_api.database):
            suite_id = await running_suite(caller, scripted(TextReply("At nine.", gate=gate)), gate)
            gate.open()
        async with broken_worker(running_api, settings.task_queue):
            for refused in await refused_by_suite(caller, suite_id, ("pause", "resume", "cancel")):
                assert (refused["reason"], refused["failure"]) == ("workflow_task_failed", DEFECT)
                assert f"suite-{suite_id}" in refused["detail"]
            assert done(await caller.get(f"/v1/suites/{suite_id}"), 200)["status"] == "running"


async def running_suite(caller: Caller, model: ScriptedModel, gate: Gate) -> str:
    """A suite whose only conversation waits for the model."""
    await caller.push(library(model.string))
    scenario = {"id": "asks", "goal": "Ask about parking.", "caller_model": "demo", "checks": {"max_turns": 30}}
    body = {"name": "evenings", "agent": "library", "scenarios": [scenario]}
    suite_id = str(done(await caller.post("/v1/suites", body), 201)["id"])
    await gate.reached()
    return suite_id


async def refused_by_suite(caller: Caller, suite_id: str, commands: Iterable[str]) -> list[Json]:
    """The errors of commands that are sent to a suite at the same time."""
    answers = await asyncio.gather(*(caller.post(f"/v1/suites/{suite_id}/{command}") for command in commands))
    return [problem(each, 503, "session_stuck") for each in answers]


@asynccontextmanager
async def paused(client: Client, workflow_id: str) -> AsyncIterator[None]:
    """A workflow that an operator has paused while the block runs."""
    execution = {"namespace": client.namespace, "workflow_id": workflow_id}
    pause = PauseWorkflowExecutionRequest(**execution, reason="being looked at")
    await client.workflow_service.pause_workflow_execution(pause, retry=True)
    yield
    resume = UnpauseWorkflowExecutionRequest(**execution, reason="a test")
    await client.workflow_service.unpause_workflow_execution(resume, retry=True)


def broken_worker(running_api: RunningApi, task_queue: str) -> Worker:
    """A worker of a build with a defect, for workflows alone."""
    return Worker(
        running_api.client,
        task_queue=task_queue,
        workflows=[BrokenSession, BrokenSuite],
        activities=session_activities(running_api.database),
        no_remote_activities=True,
    )
