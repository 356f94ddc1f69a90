"""A snapshot agrees with its event id: the events after it lead to the session's state, and none repeats the snapshot.

In these sessions nothing is recorded by itself for a minute after the greeting, so that the log lags behind whatever
happens.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import pytest
import pytest_asyncio
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest

from activities.llm import reply_publisher
from activities.settlement import Recorder
from api.streams import joining
from api.temporal.session_client import SessionClient
from contracts.sessions import SettleTurnsInput, SettleTurnsResult, session_workflow_id
from domain.sessions.views import TimelineView
from tests.support.api_agents import library
from tests.support.event_stream import Event, saying, streamed_text, types_of, watching
from tests.support.provider import ErrorReply, Gate, ScriptedModel, TextReply, ToolCallReply
from tests.support.running_api import Caller, Json, RunningApi, done, serving
from tests.support.waiting import eventually

pytestmark = pytest.mark.parametrize("running_api", ["sqlite"], indirect=True, scope="session")

Scripted = Callable[..., ScriptedModel]
LAG_SECONDS: Final = 60.0
CLOSINGS: Final = ("turn_completed", "turn_failed", "turn_interrupted")
TURN_EVENTS: Final = ("tool_call_started", "tool_call_result", "node_transition", "session_end", "execution_error")


@pytest_asyncio.fixture
async def lagging(running_api: RunningApi, caller: Caller) -> AsyncIterator[Caller]:
    """A caller whose new sessions record what happens a minute later, unless somebody watches."""
    settings = running_api.settings.model_copy(update={"settlement_delay_seconds": LAG_SECONDS})
    async with (
        serving(settings, running_api.client, running_api.database, running_api.hub) as api,
        api.caller(caller.organization) as new_caller,
    ):
        yield new_caller


class Client:
    """A client that follows a session by its stream alone. It fails if an event repeats what the client has already."""

    def __init__(self, snapshot: Event) -> None:
        shown = snapshot.data
        branches = (turn for branch in shown["discarded_branches"] for turn in branch["turns"])
        self.turns: dict[str, Json] = {turn["id"]: turn for turn in (*branches, *shown["turns"])}
        self.leaf = shown["turns"][-1]["id"] if shown["turns"] else None
        self.cursor: str | None = shown["cursor_turn_id"]
        self.is_rewound = shown["status"] == "rewound"
        self.is_completed: bool = shown["is_completed"]
        self.revision: int = shown["revision"]
        self.position = snapshot.id or 0
        self.words: dict[str, str] = {}

    def take(self, event: Event) -> None:
        """Apply an event."""
        data, turn = event.data, self.turns.get(event.data.get("turn_id", ""))
        if event.id is not None:
            assert event.id == self.position + 1, f"{event.type} is event {event.id} after {self.position}"
            self.position = event.id
        revision = data.get("revision")
        if event.type == "turn_started":
            assert turn is None, "the start of a known turn was sent again"
            self.turns[data["turn_id"]] = {**data, "id": data["turn_id"], "status": "pending", "events": []}
            self.leaf, self.cursor, self.is_rewound = data["turn_id"], None, False
        elif event.type in CLOSINGS:
            assert turn is None or turn["status"] == "pending", "the end of a completed turn was sent again"
            self.turns[data["turn_id"]] = data["turn"]
        elif event.type in ("reply_delta", "reply_reset"):
            assert turn is not None
            assert turn["status"] == "pending"
            before = self.words.get(data["turn_id"], "") if event.type == "reply_delta" else ""
            self.words[data["turn_id"]] = before + data["text"]
        elif event.type in TURN_EVENTS and turn is not None:
            known = [(each["type"], each["created_at"], each["payload"].get("call_id")) for each in turn["events"]]
            one = (event.type, data["created_at"], data.get("call_id"))
            assert one not in known, f"{event.type} was sent again"
            payload = {name: value for name, value in data.items() if name not in ("turn_id", "created_at", "revision")}
            event_of_turn = {"type": event.type, "created_at": data["created_at"], "payload": payload}
            self.turns[turn["id"]] = {**turn, "events": [*turn["events"], event_of_turn]}
        elif event.type == "rewound":
            self._is_new(revision)
            self.cursor, self.is_rewound = data["cursor_turn_id"], not data["cleared"]
        elif event.type == "branch_restored":
            self._is_new(revision)
            self.leaf, self.cursor, self.is_rewound = data["leaf_turn_id"], None, False
        elif event.type == "session_completed":
            assert not self.is_completed, "the end of the session was sent again"
            self.is_completed = True
        if revision is not None:
            self.revision = revision

    def _is_new(self, revision: int | None) -> None:
        assert revision is not None
        assert revision > self.revision, f"revision {revision} was sent after {self.revision}"

    @property
    def path(self) -> list[str]:
        """The ids of the visible turns, oldest first."""
        path: list[str] = []
        at = self.cursor if self.is_rewound else self.leaf
        while at is not None:
            path.insert(0, at)
            at = self.turns[at]["parent_id"]
        return path

    def agrees_with(self, session: Json) -> None:
        """Fail if the session differs from what the client has."""
        assert self.path == [turn["id"] for turn in session["turns"]]
        for turn in session["turns"]:
            kept = self.turns[turn["id"]]
            for name in ("status", "user_message", "assistant_message", "events", "parent_id"):
                assert kept[name] == turn[name], name
            if turn["id"] in self.words and turn["assistant_message"]:
                assert turn["assistant_message"]["text"].startswith(self.words[turn["id"]])
        assert (self.is_completed, self.revision) == (session["is_completed"], session["revision"])


async def followed(caller: Caller, session_id: str, *, then: Callable[[], Awaitable[Any]] | None = None) -> list[Event]:
    """The events of a stream that is opened now, up to the end of the session; `then` continues the session."""
    async with watching(caller, session_id) as stream:
        snapshot = await anext(stream)
        shown = Client(snapshot)
        if not shown.is_completed:
            await (then or (lambda: caller.say(session_id, "And then?")))()
            await caller.end(session_id)
        events = await stream.rest()
    for event in events:
        shown.take(event)
    shown.agrees_with(await caller.session(session_id))
    return [snapshot, *events]


async def opened(caller: Caller, agent: Json) -> str:
    """A session whose greeting is recorded and whose first answer is not."""
    await caller.push(agent)
    session_id = str((await caller.open(agent["name"]))["id"])
    await caller.recorded(session_id, turns=1)
    await caller.say(session_id, "One")
    return session_id


def path_of(session_id: str) -> str:
    return f"/v1/sessions/{session_id}"


async def last_turn(caller: Caller, session_id: str) -> str:
    return str((await caller.session(session_id))["turns"][-1]["id"])


async def rewound(caller: Caller, session_id: str) -> None:
    turns = (await caller.session(session_id))["turns"]
    await caller.rewind(session_id, turns[0]["id"])


async def edited(caller: Caller, session_id: str) -> None:
    turn_id = await last_turn(caller, session_id)
    done(await caller.post(f"{path_of(session_id)}/turns/{turn_id}/edit", {"text": "Another"}), 200)


async def regenerated(caller: Caller, session_id: str) -> None:
    turn_id = await last_turn(caller, session_id)
    done(await caller.post(f"{path_of(session_id)}/turns/{turn_id}/regenerate"), 200)


async def restored(caller: Caller, session_id: str) -> None:
    await edited(caller, session_id)
    [branch] = (await caller.session(session_id))["discarded_branches"]
    done(await caller.post(f"{path_of(session_id)}/branches/{branch['id']}/restore"), 200)


async def ended(caller: Caller, session_id: str) -> None:
    await caller.end(session_id)


async def said(caller: Caller, session_id: str) -> None:
    await caller.say(session_id, "Two")


@pytest.mark.parametrize("change", [said, rewound, edited, regenerated, restored, ended])
async def test_stream_opened_right_after_a_change_sends_nothing_twice(
    lagging: Caller, scripted: Scripted, change: Callable[[Caller, str], Awaitable[None]]
) -> None:
    session_id = await opened(lagging, library(scripted().string))
    await change(lagging, session_id)
    before = await lagging.session(session_id)
    snapshot, *events = await followed(lagging, session_id)
    assert {**snapshot.data, "as_of": ""} == {**before, "as_of": ""}
    assert before["is_completed"] or [kind for kind in types_of(events) if "reply" not in kind] == [
        "turn_started",
        "turn_completed",
        "session_end",
        "session_completed",
    ]


async def test_greeting_that_is_being_recorded_is_sent_once(
    lagging: Caller, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, settle, timeline = asyncio.Event(), Recorder.settle, SessionClient.timeline

    async def settled_once_asked(recorder: Recorder, input: SettleTurnsInput) -> SettleTurnsResult:
        await asked.wait()
        return await settle(recorder, input)

    async def noted(client: SessionClient, session_id: str) -> TimelineView:
        view = await timeline(client, session_id)
        asked.set()
        return view

    monkeypatch.setattr(Recorder, "settle", settled_once_asked)
    await lagging.push(library(scripted().string))
    session_id = (await lagging.open("library"))["id"]
    monkeypatch.setattr(SessionClient, "timeline", noted)
    snapshot, *events = await followed(lagging, session_id)
    assert snapshot.id == 3
    assert types_of(events).count("turn_started") == 1


@pytest.mark.parametrize("is_greeted", [False, True])
async def test_stream_that_stops_waiting_begins_with_the_recorded_turns(
    lagging: Caller, scripted: Scripted, monkeypatch: pytest.MonkeyPatch, *, is_greeted: bool
) -> None:
    """As on a machine that is too busy to record in time what the snapshot would show."""
    recording, settle = asyncio.Event(), Recorder.settle

    async def settled_later(recorder: Recorder, input: SettleTurnsInput) -> SettleTurnsResult:
        await recording.wait()
        return await settle(recorder, input)

    async def go_on() -> None:
        recording.set()
        await lagging.say(session_id, "And then?")

    monkeypatch.setattr(joining, "AGREEMENT_SECONDS", 0.2)
    await lagging.push(library(scripted().string))
    if not is_greeted:
        monkeypatch.setattr(Recorder, "settle", settled_later)
    session_id = (await lagging.open("library"))["id"]
    if is_greeted:
        await lagging.recorded(session_id, turns=1)
        monkeypatch.setattr(Recorder, "settle", settled_later)
        await lagging.say(session_id, "One")
    try:
        snapshot, *events = await followed(lagging, session_id, then=go_on)
    finally:
        recording.set()
    started_ids = [event.data["turn_id"] for event in events if event.type == "turn_started"]
    assert (len(snapshot.data["turns"]), len(started_ids)) == ((1, 2) if is_greeted else (0, 2))


async def test_fork_is_sent_once(lagging: Caller, scripted: Scripted) -> None:
    source = await opened(lagging, library(scripted().string))
    fork = done(await lagging.post(f"{path_of(source)}/fork"), 201)
    await lagging.say(fork["id"], "Two")
    await followed(lagging, fork["id"])


async def test_failed_and_interrupted_turns_are_sent_once(lagging: Caller, scripted: Scripted) -> None:
    gate = Gate()
    session_id = await opened(
        lagging, library(scripted(TextReply("A."), ErrorReply(400), TextReply("Long text", gate=gate)).string)
    )
    await lagging.post(f"{path_of(session_id)}/messages", {"text": "fails"})
    await lagging.post(f"{path_of(session_id)}/messages", {"text": "is stopped"}, wait=False)
    await gate.reached()
    done(await lagging.post(f"{path_of(session_id)}/cancel"), 200)
    gate.open()
    await followed(lagging, session_id)


async def test_pending_turn_is_in_the_snapshot_and_not_sent_again(lagging: Caller, scripted: Scripted) -> None:
    gate = Gate()
    session_id = await opened(
        lagging, library(scripted(TextReply("A."), TextReply("It is on its way.", gate=gate)).string)
    )
    await lagging.post(f"{path_of(session_id)}/messages", {"text": "Where?"}, wait=False)
    await gate.reached()

    async def answered() -> None:
        gate.open()
        await eventually(lambda: is_idle(lagging, session_id))

    snapshot, *events = await followed(lagging, session_id, then=answered)
    assert snapshot.data["turns"][-1]["status"] == "pending"
    assert "turn_started" not in types_of(events)


async def test_turn_that_waits_for_an_approval_is_sent_once(lagging: Caller, scripted: Scripted) -> None:
    agent = with_approval(
        scripted(TextReply("A."), ToolCallReply("order", text="One moment."), TextReply("Not ordered."))
    )
    session_id = await opened(lagging, agent)
    await lagging.post(f"{path_of(session_id)}/messages", {"text": "A book"}, wait=False)
    [approval] = await eventually(lambda: approvals(lagging, session_id))

    async def denied() -> None:
        path = f"{path_of(session_id)}/approvals/{approval['call_id']}/deny"
        done(await lagging.post(path, {"reason": "No."}), 200)
        await eventually(lambda: is_idle(lagging, session_id))

    snapshot, *events = await followed(lagging, session_id, then=denied)
    assert snapshot.data["approvals"][0]["call_id"] == approval["call_id"]
    assert "approval_requested" not in types_of(events)
    assert types_of(events).count("approval_decided") == 1


async def test_reset_is_sent_once(lagging: Caller, scripted: Scripted, running_api: RunningApi) -> None:
    session_id = await opened(lagging, library(scripted().string))
    await lagging.say(session_id, "Two")
    workflow_id = session_workflow_id(session_id)
    handle = running_api.client.get_workflow_handle(workflow_id)
    tasks = [
        event.event_id
        async for event in handle.fetch_history_events()
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    ]
    await running_api.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=running_api.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            reason="test",
            request_id=session_id,
            workflow_task_finish_event_id=tasks[-1],
        ),
        retry=True,
    )
    await eventually(lambda: is_idle(lagging, session_id))
    await followed(lagging, session_id)


async def is_idle(caller: Caller, session_id: str) -> bool:
    return bool((await caller.session(session_id))["status"] == "idle")


async def approvals(caller: Caller, session_id: str) -> list[Json]:
    return list((await caller.session(session_id))["approvals"])


def with_approval(model: ScriptedModel) -> Json:
    """An agent with a tool that a person must approve."""
    order = {
        "kind": "http",
        "description": "Order a book.",
        "method": "POST",
        "url": "http://127.0.0.1:9/",
        "approval": {"reason": "It costs money."},
    }
    nodes = {"desk": {"prompt": "Order.", "greeting": "Hello.", "tools": ["order"]}}
    return library(model.string, nodes=nodes, tools={"order": order})


async def test_first_text_after_an_unstreamed_turn_does_not_wait_for_the_record(
    lagging: Caller, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, recording = Gate(), asyncio.Event()
    settle = Recorder.settle

    async def settled_later(recorder: Recorder, input: SettleTurnsInput) -> SettleTurnsResult:
        await recording.wait()
        return await settle(recorder, input)

    session_id = await opened(
        lagging, library(scripted(TextReply("A."), TextReply("At nine o'clock.", gate=gate)).string)
    )
    monkeypatch.setattr(Recorder, "settle", settled_later)
    monkeypatch.setattr(reply_publisher, "MAX_ORDER_WAIT_SECONDS", 3_600)
    try:
        async with saying(lagging, session_id, "When?") as stream:
            async with asyncio.timeout(10):
                started, first = await anext(stream), await anext(stream)
            assert (started.type, started.data["user_message"]["text"]) == ("turn_started", "When?")
            assert (first.type, first.data["text"]) == ("reply_delta", "At nine")
            recording.set()
            gate.open()
            events = await stream.rest()
    finally:
        recording.set()
    assert types_of(events)[-1] == "turn_completed"
    assert "turn_started" not in types_of(events)
    assert streamed_text([first, *events]) == events[-1].data["turn"]["assistant_message"]["text"] == "At nine o'clock."
