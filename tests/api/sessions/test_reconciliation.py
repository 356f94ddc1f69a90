"""Reconciled sessions and suites over HTTP: lists, filters, single objects, streams and progress agree."""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, update
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client

from activities.reconciler import ReconcilerOptions
from contracts.reconciliation import ReconciliationResult
from contracts.sessions import session_workflow_id
from contracts.suites import suite_workflow_id
from playhead.services.reconciliation import build_reconciler
from playhead.temporal.large_payloads import with_large_payloads
from store.database.tables import runs, suites
from store.reconciliation import ReconciliationStore
from tests.support.api_agents import library
from tests.support.closed_sessions import closed, forgotten
from tests.support.event_stream import watching
from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.running_api import Caller, Json, RunningApi, done, problem
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]
NOW = ReconcilerOptions(grace=timedelta(0), is_bounded=False)
MAX_ON_RECORD = 100_000


async def reconcile(running_api: RunningApi) -> None:
    client = with_large_payloads(running_api.client, running_api.database)
    reconciler = build_reconciler(client, running_api.database, running_api.settings.task_queue, running_api.hub)
    await reconciler.reconcile(ReconciliationResult(), None, NOW)


async def repairs(running_api: RunningApi, subject_id: str) -> list[tuple[str, str]]:
    """Every finding on record of a session or suite, with its treatment. A result lists only a hundred in all."""
    on_record = await ReconciliationStore(running_api.database).newest(MAX_ON_RECORD)
    assert len(on_record) < MAX_ON_RECORD
    return [(each.found, each.done) for _, each in on_record if each.id == subject_id]


async def opened(running_api: RunningApi, caller: Caller) -> str:
    """A session with one answered message, recorded."""
    await caller.push(library())
    session_id = str((await caller.open("library"))["id"])
    await caller.say(session_id, "When do you open?")
    await caller.recorded(session_id, turns=2)
    return session_id


async def of_status(caller: Caller, status: str) -> set[str]:
    return {session["id"] for session in await caller.items("/v1/sessions", status=status)}


async def test_lists_single_sessions_and_streams_agree_on_a_session_that_temporal_lost(
    running_api: RunningApi, caller: Caller
) -> None:
    session_id = await opened(running_api, caller)
    kept = await opened(running_api, caller)
    async with watching(caller, session_id) as stream:
        await stream.until("snapshot")
        await running_api.client.get_workflow_handle(session_workflow_id(session_id)).terminate()
        await forgotten(running_api.client, session_workflow_id(session_id))
        assert session_id in await of_status(caller, "idle")
        await reconcile(running_api)
        [*_, last] = await stream.rest()
    assert (last.type, last.data["reason"]) == ("session_completed", "workflow_not_found")
    session = await caller.session(session_id)
    assert (session["status"], session["completion_reason"]) == ("completed", "workflow_not_found")
    assert (await of_status(caller, "completed"), await of_status(caller, "idle")) == ({session_id}, {kept})
    async with watching(caller, session_id) as again:
        assert [event.type for event in await again.rest()] == ["snapshot"]
    problem(await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "Hello?"}), 410, "session_ended")


async def test_a_turn_that_was_being_answered_ends_with_its_session(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    gate = Gate()
    model = scripted(TextReply("At nine.", gate=gate))
    await caller.push(library(model.string))
    session_id = str((await caller.open("library"))["id"])
    await caller.recorded(session_id, turns=1)
    async with watching(caller, session_id) as stream:
        await stream.until("snapshot")
        sent = done(await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "When?"}, wait=False), 202)
        await gate.reached()
        await running_api.client.get_workflow_handle(session_workflow_id(session_id)).terminate()
        await closed(running_api.client, session_workflow_id(session_id))
        await reconcile(running_api)
        events = await stream.rest()
    gate.open()
    assert [event.type for event in events if event.id][-2:] == ["turn_failed", "session_completed"]
    session = await caller.session(session_id)
    assert [turn["status"] for turn in session["turns"]] == ["completed", "failed"]
    assert session["turns"][-1]["id"] == sent["turn_id"]
    assert session["completion_reason"] == "workflow_terminated"
    assert len(await caller.recorded(session_id, turns=2)) == 2


async def test_a_session_that_is_reset_after_it_was_closed_is_open_again_everywhere(
    running_api: RunningApi, caller: Caller
) -> None:
    session_id = await opened(running_api, caller)
    await running_api.client.get_workflow_handle(session_workflow_id(session_id)).terminate()
    await closed(running_api.client, session_workflow_id(session_id))
    await reconcile(running_api)
    assert session_id in await of_status(caller, "completed")
    await reset_to_last_task(running_api.client, session_workflow_id(session_id))
    await caller.say(session_id, "Still there?")
    await caller.recorded(session_id, turns=3)

    async def is_open() -> bool:
        return session_id in await of_status(caller, "idle")

    await eventually(is_open)
    async with watching(caller, session_id) as stream:
        await stream.until("snapshot")
        await caller.say(session_id, "And now?")
        await stream.until("turn_completed")
    async with watching(caller, session_id, after=0) as from_the_beginning:
        await from_the_beginning.until("session_completed")
        await from_the_beginning.until("session_reset")


async def reset_to_last_task(client: Client, workflow_id: str) -> None:
    """Undo a terminate, as `temporal workflow reset -t LastWorkflowTask` does."""
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    done_tasks = [
        event.event_id for event in history.events if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    ]
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            reason="test",
            workflow_task_finish_event_id=done_tasks[-1],
            request_id=workflow_id,
        ),
        retry=True,
    )


async def test_a_suite_whose_workflow_was_terminated_has_an_outcome(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    gate = Gate()
    model = scripted(TextReply("At nine.", gate=gate))
    await caller.push(library(model.string))
    scenario = {
        "id": "asks",
        "goal": "Ask whether there is parking.",
        "caller_model": "demo",
        "judge_model": "demo",
        "checks": {"max_turns": 30},
        "success": ["It says whether there is parking."],
    }
    body = {"name": "evenings", "agent": "library", "scenarios": [scenario]}
    suite_id = str(done(await caller.post("/v1/suites", body), 201)["id"])
    await gate.reached()
    await running_api.client.get_workflow_handle(suite_workflow_id(suite_id)).terminate()
    await closed(running_api.client, suite_workflow_id(suite_id))
    await reconcile(running_api)
    assert await repairs(running_api, suite_id) == [("workflow_terminated", "closed")]
    suite = done(await caller.get(f"/v1/suites/{suite_id}"), 200)
    assert (suite["status"], suite["outcome"]) == ("cancelled", "inconclusive")
    assert (suite["progress"]["running"], suite["progress"]["inconclusive"]) == (0, 1)
    report: Json = done(await caller.get(f"/v1/suites/{suite_id}/report"), 200)
    assert "workflow_terminated" in report["runs"][0]["error"]
    await reconcile(running_api)
    assert len(await repairs(running_api, suite_id)) == 1
    gate.open()


async def test_verdicts_that_the_store_lost_of_a_suite_are_recorded_again(
    running_api: RunningApi, caller: Caller
) -> None:
    await caller.push(library())
    scenario = {
        "id": "asks",
        "goal": "Ask whether there is parking.",
        "caller_model": "demo",
        "judge_model": "demo",
        "checks": {"max_turns": 30},
        "repeats": 2,
    }
    body = {"name": "evenings", "agent": "library", "scenarios": [scenario]}
    suite_id = str(done(await caller.post("/v1/suites", body), 201)["id"])

    async def is_over() -> bool:
        return bool(done(await caller.get(f"/v1/suites/{suite_id}"), 200)["outcome"])

    await eventually(is_over, within=60)
    await closed(running_api.client, suite_workflow_id(suite_id))
    before = done(await caller.get(f"/v1/suites/{suite_id}"), 200)

    def lose(connection: Connection) -> None:
        connection.execute(delete(runs).where(runs.c.suite_id == suite_id))
        of_suite = update(suites).where(suites.c.id == suite_id)
        started = before["created_at"]
        connection.execute(of_suite.values(status="running", outcome=None, updated_at=datetime.fromisoformat(started)))

    await running_api.database.write(lose)
    await reconcile(running_api)
    assert await repairs(running_api, suite_id) == [("workflow_completed", "settled")]
    assert done(await caller.get(f"/v1/suites/{suite_id}"), 200) == before


async def test_nothing_is_closed_when_temporal_knows_no_session_of_the_store(
    running_api: RunningApi, caller: Caller
) -> None:
    session_id = await opened(running_api, caller)
    elsewhere = build_reconciler(running_api.client, running_api.database, "another-queue")
    await running_api.client.get_workflow_handle(session_workflow_id(session_id)).terminate()
    await forgotten(running_api.client, session_workflow_id(session_id))
    result = await elsewhere.reconcile(ReconciliationResult(), None, NOW)
    assert result.rejection is not None
    assert "--accept-new-temporal" in result.rejection
    assert session_id in await of_status(caller, "idle")
    young = ReconcilerOptions(grace=timedelta(hours=1), accepts_new_temporal=True)
    await elsewhere.reconcile(ReconciliationResult(), None, young)
    assert session_id in await of_status(caller, "idle")
    accepting = ReconcilerOptions(grace=timedelta(0), accepts_new_temporal=True)
    await elsewhere.reconcile(ReconciliationResult(), None, accepting)
    assert session_id in await of_status(caller, "completed")
