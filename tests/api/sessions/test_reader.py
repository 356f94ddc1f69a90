"""Reading a session: live, from the store when its workflow does not answer, and in pages."""

from collections.abc import Callable
from datetime import datetime

import pytest
from temporalio.api.workflowservice.v1 import PauseWorkflowExecutionRequest, UnpauseWorkflowExecutionRequest
from temporalio.client import Client

from api.temporal.session_client import SessionClient
from domain.sessions.views import TimelineView
from playhead.temporal.client import PlayheadPlugin
from tests.api.conftest import quick_settings
from tests.support.api_agents import library
from tests.support.closed_sessions import forgotten
from tests.support.event_stream import watching
from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.running_api import Caller, Json, RunningApi, done, problem, serving, texts
from tests.support.waiting import eventually

TIMELY = ("as_of", "temporal", "updated_at")


def comparable(session: Json) -> Json:
    """A session without what depends on when and where it was read."""
    return {name: value for name, value in session.items() if name not in TIMELY}


@pytest.fixture
async def unreachable() -> Client:
    """A client that reaches no server."""
    return await Client.connect("127.0.0.1:1", lazy=True, plugins=[PlayheadPlugin()])


async def recorded(caller: Caller, session_id: str) -> Json:
    """The session, once the store has recorded its current revision."""

    async def settled() -> Json | None:
        (item,) = [each for each in await caller.items("/v1/sessions") if each["id"] == session_id] or [{}]
        session = await caller.session(session_id)
        return session if item.get("revision") == session["revision"] else None

    session = await eventually(settled)
    assert session is not None
    return session


async def test_a_session_reads_the_same_from_the_workflow_and_from_the_store(
    running_api: RunningApi, caller: Caller
) -> None:
    await caller.push(library())
    session_id = (await caller.open("library", annotations={"a": [1, None]}))["id"]
    first = await caller.say(session_id, "One")
    await caller.say(session_id, "Two")
    await caller.rewind(session_id, first["turns"][1]["id"])
    await caller.say(session_id, "Three")
    live = await recorded(caller, session_id)
    await caller.end(session_id)
    ended = await recorded(caller, session_id)

    async def closed() -> bool:
        described = await running_api.client.get_workflow_handle(f"session-{session_id}").describe()
        return described.close_time is not None

    await eventually(closed)
    stored = await caller.session(session_id)
    assert comparable(stored) == comparable(ended)
    assert [turn["id"] for turn in stored["turns"]] == [turn["id"] for turn in live["turns"]]
    assert stored["discarded_branches"] == live["discarded_branches"]
    assert await caller.items(f"/v1/sessions/{session_id}/branches") == stored["discarded_branches"]
    assert await caller.items(f"/v1/sessions/{session_id}/turns") == stored["turns"]
    assert stored["temporal"]["run_id"] == live["temporal"]["run_id"]


async def test_a_session_that_temporal_has_forgotten_reads_as_it_ended(running_api: RunningApi, caller: Caller) -> None:
    await caller.push(library())
    opened = await caller.open("library")
    session_id = opened["id"]
    await caller.say(session_id, "One")
    await caller.rewind(session_id, opened["turns"][0]["id"])
    await caller.say(session_id, "Two", message_id="m-2")
    await caller.end(session_id)
    ended = await recorded(caller, session_id)
    await forgotten(running_api.client, f"session-{session_id}")

    assert comparable(await caller.session(session_id)) == comparable(ended)
    assert (ended["disposition"], ended["tags"]) == ("user_hangup", ["user_hangup"])
    assert await caller.items(f"/v1/sessions/{session_id}/turns") == ended["turns"]
    assert await caller.items(f"/v1/sessions/{session_id}/branches") == ended["discarded_branches"]
    assert [item["id"] for item in await caller.items("/v1/sessions")] == [session_id]
    assert comparable(await caller.say(session_id, "Two", message_id="m-2")) == comparable(ended)
    assert comparable(await caller.end(session_id)) == comparable(ended)
    problem(await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "Three"}), 410, "session_ended")


async def test_a_session_is_shown_as_recorded_while_temporal_is_unreachable(
    running_api: RunningApi, caller: Caller, unreachable: Client
) -> None:
    """Temporal is out of reach for this API, so that it can only read the store."""
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    await caller.say(session_id, "Hello")
    live = await recorded(caller, session_id)
    before = datetime.fromisoformat(live["as_of"])
    async with (
        serving(
            quick_settings(running_api.settings.database_url, "nowhere"), unreachable, running_api.database
        ) as cut_off,
        cut_off.caller(caller.organization) as reader,
    ):
        stored = await reader.session(session_id)
        assert comparable(stored) == comparable(live)
        assert datetime.fromisoformat(stored["as_of"]) <= before
        assert await reader.items(f"/v1/sessions/{session_id}/turns", limit=1) == live["turns"][::-1]
        assert await reader.items(f"/v1/sessions/{session_id}/branches") == []


async def test_a_pending_turn_does_not_hide_the_recorded_turns(
    running_api: RunningApi, caller: Caller, unreachable: Client, scripted: Callable[..., ScriptedModel]
) -> None:
    """A worker that dies in the middle of a reply leaves a recorded session whose newest turn is not recorded."""
    gate = Gate()
    model = scripted(TextReply("One."), TextReply("Two.", gate=gate))
    await caller.push(library(model.string))
    slow = running_api.settings.model_copy(update={"settlement_delay_seconds": 3600.0})
    async with (
        serving(slow, running_api.client, running_api.database) as slowly,
        slowly.caller(caller.organization) as visitor,
    ):
        session_id = (await visitor.open("library"))["id"]
        said = await visitor.say(session_id, "One?")
        pending = done(await visitor.post(f"/v1/sessions/{session_id}/messages", {"text": "Two?"}, wait=False), 202)
        await gate.reached()
        async with watching(visitor, session_id):  # what is finished is recorded now, and at no time before
            await caller.recorded(session_id, turns=2)
    async with (
        serving(slow, unreachable, running_api.database) as cut_off,
        cut_off.caller(caller.organization) as reader,
    ):
        stored = await reader.session(session_id)
        assert stored["status"] == "pending_assistant_turn"
        assert stored["turns"] == said["turns"]
        assert pending["turn_id"] not in [turn["id"] for turn in stored["turns"]]
        assert await reader.items(f"/v1/sessions/{session_id}/turns") == said["turns"]
    gate.open()


async def test_a_session_whose_workflow_was_terminated_is_shown_as_completed(
    running_api: RunningApi, caller: Caller
) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    await recorded(caller, session_id)
    await running_api.client.get_workflow_handle(f"session-{session_id}").terminate()
    shown = await caller.session(session_id)
    assert (shown["status"], shown["completion_reason"]) == ("completed", "workflow_terminated")
    assert texts(shown) == [(None, "Good morning, this is the town library.")]


async def test_a_paused_session_is_shown_as_it_was_recorded(running_api: RunningApi, caller: Caller) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    await caller.say(session_id, "Hello")
    live = await recorded(caller, session_id)
    execution = {"namespace": running_api.client.namespace, "workflow_id": f"session-{session_id}"}
    pause = PauseWorkflowExecutionRequest(**execution, reason="a test")
    await running_api.client.workflow_service.pause_workflow_execution(pause, retry=True)
    shown = await caller.session(session_id)
    assert comparable(shown) == comparable(live)
    assert not shown["is_completed"]
    resume = UnpauseWorkflowExecutionRequest(**execution, reason="a test")
    await running_api.client.workflow_service.unpause_workflow_execution(resume, retry=True)
    assert (await caller.say(session_id, "Are you back?"))["turns"][-1]["status"] == "completed"


async def test_turns_are_paged_newest_page_first(caller: Caller) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    for text in ("One", "Two", "Three", "Four"):
        session = await caller.say(session_id, text)
    path = f"/v1/sessions/{session_id}/turns"
    page = done(await caller.get(path, limit=2), 200)
    assert [turn["user_message"]["text"] for turn in page["items"]] == ["Three", "Four"]
    await caller.rewind(session_id, session["turns"][0]["id"])
    await caller.say(session_id, "Elsewhere")
    older = done(await caller.get(path, limit=2, cursor=page["next_cursor"]), 200)
    assert [turn["user_message"]["text"] for turn in older["items"]] == ["One", "Two"]
    oldest = done(await caller.get(path, limit=2, cursor=older["next_cursor"]), 200)
    assert oldest["items"] == session["turns"][:1]
    assert oldest["next_cursor"] is None


async def test_branches_are_paged_newest_first(caller: Caller) -> None:
    await caller.push(library())
    opened = await caller.open("library")
    for text in ("One", "Two", "Three"):
        await caller.rewind(opened["id"], opened["turns"][0]["id"])
        session = await caller.say(opened["id"], text)
    branches = await caller.items(f"/v1/sessions/{opened['id']}/branches", limit=1)
    assert branches == session["discarded_branches"][::-1]


async def test_a_plain_message_needs_no_query_of_the_workflow(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    await caller.push(library())
    session_id = (await caller.open("library"))["id"]
    asked = []
    ask = SessionClient.timeline

    async def counted(self: SessionClient, asked_about: str) -> TimelineView:
        asked.append(asked_about)
        return await ask(self, asked_about)

    monkeypatch.setattr(SessionClient, "timeline", counted)
    answers = [await caller.say(session_id, text) for text in ("One", "Two", "Three")]
    assert asked == []
    read = await caller.session(session_id)
    assert asked == [session_id]
    assert comparable(read) == comparable(answers[-1])
