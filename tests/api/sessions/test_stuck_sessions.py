"""Sessions that Temporal cannot go on with: commands say why, and what was recorded can be read."""

from uuid import uuid4

from temporalio.api.workflowservice.v1 import PauseWorkflowExecutionRequest, UnpauseWorkflowExecutionRequest

from playhead.services.worker import build_worker
from tests.api.conftest import quick_settings
from tests.api.sessions.broken_session import BrokenSession
from tests.support.api_agents import library
from tests.support.event_stream import watching
from tests.support.running_api import Caller, Json, RunningApi, done, problem, serving, texts
from tests.support.session_stack import SessionStack, session_worker
from tests.support.waiting import eventually


async def test_a_paused_session_takes_no_commands_and_can_be_read(running_api: RunningApi, caller: Caller) -> None:
    session_id = await settled(caller)
    live = await caller.session(session_id)
    execution = {"namespace": running_api.client.namespace, "workflow_id": f"session-{session_id}"}
    pause = PauseWorkflowExecutionRequest(**execution, reason="being looked at")
    await running_api.client.workflow_service.pause_workflow_execution(pause)
    for refused in await refusals(caller, session_id):
        assert (refused["reason"], refused["failure"]) == ("workflow_paused", "being looked at")
        assert f"temporal workflow unpause --workflow-id session-{session_id}" in refused["detail"]
    await is_readable(caller, session_id, live)
    resume = UnpauseWorkflowExecutionRequest(**execution, reason="a test")
    await running_api.client.workflow_service.unpause_workflow_execution(resume)
    said = done(await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "Hello?", "message_id": "m-1"}), 200)
    assert [text for text, _ in texts(said)].count("Hello?") == 1


async def test_a_session_whose_workflow_fails_takes_no_commands_and_can_be_read(running_api: RunningApi) -> None:
    settings = quick_settings(running_api.settings.database_url, f"stuck-{uuid4().hex[:8]}")
    stack = SessionStack.on(running_api.client, running_api.database, settings.task_queue)
    async with serving(settings, running_api.client, running_api.database) as api, api.caller() as caller:
        async with build_worker(settings, running_api.client, running_api.database):
            session_id = await settled(caller)
            live = await caller.session(session_id)
        async with session_worker(stack, [], workflow=BrokenSession):
            for refused in await refusals(caller, session_id):
                assert (refused["reason"], refused["failure"]) == ("workflow_task_failed", "this build is broken")
                assert f"session-{session_id}" in refused["detail"]
            await is_readable(caller, session_id, live)
        async with build_worker(settings, running_api.client, running_api.database):

            async def goes_on() -> Json | None:
                """The session, once Temporal has tried again, which may take ten seconds."""
                path = f"/v1/sessions/{session_id}/messages"
                answer = await caller.post(path, {"text": "Hello?", "message_id": "m-1"})
                return None if answer.status_code == 503 else done(answer, 200)

            said = await eventually(goes_on, within=60)
            assert said is not None
            assert [text for text, _ in texts(said)].count("Hello?") == 1


async def settled(caller: Caller) -> str:
    """A session with one answer, recorded as it is."""
    await caller.push(library())
    session_id = str((await caller.open("library"))["id"])
    session = await caller.say(session_id, "When do you open?")

    async def is_recorded() -> bool:
        (item,) = await caller.items("/v1/sessions")
        return bool(item["revision"] == session["revision"])

    await eventually(is_recorded)
    return session_id


async def refusals(caller: Caller, session_id: str) -> list[Json]:
    """The problems that a message and a rewind meet."""
    message = await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "Hello?", "message_id": "m-1"})
    rewind = await caller.post(f"/v1/sessions/{session_id}/rewind", {"turn_id": None})
    refused = [problem(each, 503, "session_stuck") for each in (message, rewind)]
    assert refused[0]["message_id"] == "m-1"
    return refused


async def is_readable(caller: Caller, session_id: str, live: Json) -> None:
    """The session and its stream show what was recorded."""
    shown = await caller.session(session_id)
    assert (texts(shown), shown["status"], shown["is_completed"]) == (texts(live), live["status"], False)
    async with watching(caller, session_id) as stream:
        snapshot = await anext(stream)
    assert (snapshot.type, texts(snapshot.data)) == ("snapshot", texts(live))
