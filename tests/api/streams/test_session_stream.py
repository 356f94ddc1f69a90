"""Session streams: a snapshot, then every event once, even after a reconnect."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from contracts.sessions import session_workflow_id
from playhead.services.api_server import SHUTDOWN_SECONDS
from tests.api.conftest import quick_settings
from tests.support.api_agents import library
from tests.support.event_stream import Event, Stream, streamed_text, types_of, watching
from tests.support.provider import ErrorReply, Gate, InterruptedReply, ScriptedModel, TextReply, ToolCallReply
from tests.support.running_api import Caller, RunningApi, problem, serving
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

ORDERING = {"desk": {"prompt": "Order.", "greeting": "Hello.", "tools": ["order"]}}
ORDER = {
    "kind": "http",
    "description": "Order a book.",
    "method": "POST",
    "url": "http://127.0.0.1:9/",
    "approval": {"reason": "It costs money."},
}
"""A tool whose calls wait for a person."""
REPLY = "We open at nine, and we close at six in the evening."


async def opened(caller: Caller, model: ScriptedModel) -> str:
    """A session that has greeted and is recorded."""
    await caller.push(library(model.string))
    session_id = str((await caller.open("library"))["id"])
    await caller.recorded(session_id, turns=1)
    return session_id


async def test_the_first_event_is_the_session_as_it_is(caller: Caller, scripted: Scripted) -> None:
    session_id = await opened(caller, scripted())
    async with watching(caller, session_id) as stream:
        snapshot = await anext(stream)
    assert (snapshot.type, snapshot.id) == ("snapshot", 3)
    session = await caller.session(session_id)
    assert {**snapshot.data, "as_of": ""} == {**session, "as_of": ""}


async def test_a_reply_is_streamed_while_it_is_generated(caller: Caller, scripted: Scripted) -> None:
    session_id = await opened(caller, scripted(TextReply(REPLY, gate=(gate := Gate()))))
    async with watching(caller, session_id) as stream:
        await stream.until("snapshot")
        accepted = (await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "When?"}, wait=False)).json()
        started, first = await stream.until("reply_delta")
        assert (started.type, started.id) == ("turn_started", 4)
        assert started.data["turn_id"] == accepted["turn_id"]
        assert started.data["user_message"]["text"] == "When?"
        assert (first.data, first.id) == ({"turn_id": accepted["turn_id"], "text": REPLY[: len(REPLY) // 2]}, None)
        gate.open()
        *words, closed = await stream.until("turn_completed")
    assert streamed_text([first, *words]) == REPLY
    assert closed.data["turn"] == (await caller.session(session_id))["turns"][-1]
    assert closed.id == 5


async def test_the_deltas_of_a_turn_are_its_text_over_several_steps(caller: Caller, scripted: Scripted) -> None:
    model = scripted(ToolCallReply("farewell", text="One moment."), TextReply(" Goodbye then. "))
    session_id = await opened(caller, model)
    async with watching(caller, session_id) as stream:
        await stream.until("snapshot")
        await caller.say(session_id, "Bye")
        events = await stream.rest()
    assert streamed_text(events) == "One moment.\n\nGoodbye then."
    assert [kind for kind in types_of(events) if not kind.startswith("reply_")] == [
        "turn_started",
        "tool_call_started",
        "node_transition",
        "tool_call_result",
        "session_end",
        "turn_completed",
        "session_completed",
    ]
    assert "reply_reset" not in types_of(events)


async def test_variables_extracted_after_a_goodbye_are_sent_before_the_end(caller: Caller, scripted: Scripted) -> None:
    recorded = ToolCallReply("record_variables", '{"content": true}')
    model = scripted(ToolCallReply("farewell"), TextReply("Goodbye then."), recorded)
    nodes = library()["nodes"]
    goodbye = {**nodes["goodbye"], "extract": [{"name": "content", "type": "boolean"}]}
    await caller.push(library(model.string, nodes={**nodes, "goodbye": goodbye}))
    session_id = (await caller.open("library"))["id"]
    await caller.recorded(session_id, turns=1)
    async with watching(caller, session_id) as stream:
        await stream.until("snapshot")
        answered = (await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "That is all."})).json()
        assert answered["is_completed"]
        events = await stream.rest()
    durable = [kind for kind in types_of(events) if not kind.startswith("reply_")]
    assert durable[-4:] == ["session_end", "turn_completed", "variables_extracted", "session_completed"]
    assert (await caller.session(session_id))["gathered_context"] == {"content": True}


async def test_a_tool_call_is_sent_before_its_result(caller: Caller, scripted: Scripted) -> None:
    model = scripted(ToolCallReply("order", text="One moment."), TextReply("It was not ordered."))
    await caller.push(library(model.string, nodes=ORDERING, tools={"order": ORDER}))
    session_id = (await caller.open("library"))["id"]
    await caller.recorded(session_id, turns=1)
    async with watching(caller, session_id) as stream:
        await stream.until("snapshot")
        await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "A book"}, wait=False)
        *_, started = await stream.until("tool_call_started")
        assert started.data["name"] == "order"
        [approval] = (await caller.session(session_id))["approvals"]
        await caller.post(f"/v1/sessions/{session_id}/approvals/{approval['call_id']}/deny", {"reason": "No."})
        events = await stream.until("turn_completed")
    [result] = [event for event in events if event.type == "tool_call_result"]
    assert result.data["error"] == "denied"
    assert "tool_call_started" not in types_of(events), "it was sent once"


async def test_a_command_rejected_during_a_tool_call_removes_no_event_from_the_log(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    model = scripted(ToolCallReply("order", text="One moment."), TextReply("It was not ordered."))
    await caller.push(library(model.string, nodes=ORDERING, tools={"order": ORDER}))
    session_id = (await caller.open("library"))["id"]
    await caller.recorded(session_id, turns=1)
    async with watching(caller, session_id) as stream:
        await stream.until("snapshot")
        await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "A book"}, wait=False)
        events = await stream.until("tool_call_started")
        handle = running_api.client.get_workflow_handle(session_workflow_id(session_id))
        await handle.signal("rewind_to", "turn_of_nobody")
        [approval] = (await caller.session(session_id))["approvals"]
        await caller.post(f"/v1/sessions/{session_id}/approvals/{approval['call_id']}/deny", {"reason": "No."})
        events += await stream.until("turn_completed")
    turn = (await caller.session(session_id))["turns"][-1]
    recorded = [event["type"] for event in turn["events"]]
    assert "command_refused" in recorded
    assert sorted(event.type for event in events if event.id and event.type in recorded) == sorted(recorded)


async def test_a_retried_model_call_resets_the_streamed_text(caller: Caller, scripted: Scripted) -> None:
    broken = InterruptedReply("Nobody will ever know.", gate=(gate := Gate()))
    session_id = await opened(caller, scripted(broken, TextReply("At nine.")))
    async with watching(caller, session_id) as stream:
        await stream.until("snapshot")
        await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "When?"}, wait=False)
        first = await stream.until("reply_delta")
        gate.open()
        events = await stream.until("turn_completed")
    assert streamed_text(first) == "Nobody will"
    assert "reply_reset" in types_of(events)
    assert streamed_text([*first, *events]) == "At nine."


async def test_a_late_watcher_receives_the_reply_from_its_beginning(caller: Caller, scripted: Scripted) -> None:
    session_id = await opened(caller, scripted(TextReply(REPLY, gate=(gate := Gate()))))
    await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "When?"}, wait=False)
    await gate.reached()
    async with watching(caller, session_id) as first, watching(caller, session_id) as second:
        for stream in (first, second):
            snapshot, delta = await stream.until("reply_delta")
            assert snapshot.data["status"] == "pending_assistant_turn"
            assert snapshot.data["turns"][-1]["user_message"]["text"] == "When?"
            assert REPLY.startswith(delta.data["text"])
        gate.open()
        await first.until("turn_completed")


async def test_a_failed_turn_is_sent_with_its_error(caller: Caller, scripted: Scripted) -> None:
    session_id = await opened(caller, scripted(ErrorReply(400)))
    async with watching(caller, session_id) as stream:
        await stream.until("snapshot")
        await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "When?"})
        *_, failed = await stream.until("turn_failed")
    assert failed.data["turn"]["error"]


async def test_a_rewind_is_sent(caller: Caller, scripted: Scripted) -> None:
    session_id = await opened(caller, scripted())
    async with watching(caller, session_id) as stream:
        [snapshot] = await stream.until("snapshot")
        await caller.rewind(session_id, snapshot.data["turns"][0]["id"])
        [rewound] = await stream.until("rewound")
    assert rewound.data["cursor_turn_id"] == snapshot.data["turns"][0]["id"]


async def test_a_stream_resumed_after_any_event_has_the_rest_of_the_log(caller: Caller, scripted: Scripted) -> None:
    model = scripted(
        TextReply("One."),
        ErrorReply(400),
        TextReply("Two."),
        ToolCallReply("farewell", text="So."),
        TextReply("Goodbye."),
    )
    session_id = await opened(caller, model)
    for text in ("a", "b", "c", "bye"):
        await caller.post(f"/v1/sessions/{session_id}/messages", {"text": text})
    log = await whole_log(caller, session_id)
    assert [event.id for event in log] == list(range(1, len(log) + 1))
    assert log[-1].type == "session_completed"
    for cut in range(len(log)):
        async with watching(caller, session_id, after=cut) as stream:
            assert [event for event in await stream.rest() if event.id] == log[cut:]
    whole = await caller.http.get(f"/v1/sessions/{session_id}/events", headers={"Last-Event-ID": str(len(log))})
    assert whole.status_code == 204


async def test_a_live_session_can_be_followed_over_connections_that_break_after_every_event(
    caller: Caller, scripted: Scripted
) -> None:
    session_id = await opened(caller, scripted(*[TextReply(f"Answer {number}.") for number in range(5)]))
    seen: list[Event] = []
    position = 0
    for number in range(5):
        await caller.say(session_id, f"Question {number}")
    await caller.end(session_id)
    while not seen or seen[-1].type != "session_completed":
        async with watching(caller, session_id, after=position) as stream:
            event = await next_logged(stream)
        seen.append(event)
        position = event.id or 0
    assert seen == await whole_log(caller, session_id)


async def test_a_closed_session_shows_a_snapshot_and_ends(caller: Caller, scripted: Scripted) -> None:
    session_id = await opened(caller, scripted())
    await caller.end(session_id)
    length = len(await whole_log(caller, session_id))
    async with watching(caller, session_id) as stream:
        [snapshot] = await stream.rest()
    assert (snapshot.type, snapshot.id) == ("snapshot", length)
    assert snapshot.data["is_completed"]


async def test_an_idle_stream_sends_comments(running_api: RunningApi, caller: Caller, scripted: Scripted) -> None:
    session_id = await opened(caller, scripted())
    frequent_comments = quick_settings(
        running_api.database.address, running_api.settings.task_queue, sse_keepalive_seconds=0.05
    )
    async with (
        serving(frequent_comments, running_api.client, running_api.database, running_api.hub) as other,
        other.caller(caller.organization) as watcher,
        watching(watcher, session_id) as stream,
    ):
        await stream.until("snapshot")
        following = asyncio.create_task(stream.rest())
        await eventually(lambda: has_comments(stream))
        await caller.end(session_id)
        await following
    assert set(stream.comments) == {"still here"}


async def test_a_session_that_an_operator_terminates_ends_its_streams(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    session_id = await opened(caller, scripted())
    frequent_checks = quick_settings(
        running_api.database.address, running_api.settings.task_queue, sse_keepalive_seconds=0.05
    )
    async with (
        serving(frequent_checks, running_api.client, running_api.database, running_api.hub) as other,
        other.caller(caller.organization) as watcher,
        watching(watcher, session_id) as stream,
    ):
        await stream.until("snapshot")
        await running_api.client.get_workflow_handle(session_workflow_id(session_id)).terminate("by an operator")
        assert await stream.rest() == []
    assert (await caller.session(session_id))["completion_reason"] == "workflow_terminated"


async def test_a_server_that_stops_ends_its_streams(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    session_id = await opened(caller, scripted())
    async with AsyncExitStack() as stack:
        async with serving(running_api.settings, running_api.client, running_api.database) as other:
            watcher = await stack.enter_async_context(other.caller(caller.organization))
            stream = await stack.enter_async_context(watching(watcher, session_id))
            await stream.until("snapshot")
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < SHUTDOWN_SECONDS
        assert await stream.rest() == []


async def test_another_organization_finds_no_session_to_watch(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    session_id = await opened(caller, scripted())
    async with running_api.caller() as stranger:
        problem(await stranger.get(f"/v1/sessions/{session_id}/events"), 404, "not_found")


async def test_an_id_that_is_no_number_is_refused(caller: Caller, scripted: Scripted) -> None:
    session_id = await opened(caller, scripted())
    answer = await caller.http.get(f"/v1/sessions/{session_id}/events", headers={"Last-Event-ID": "evt_7"})
    refused = problem(answer, 400, "invalid_request")
    assert refused["errors"][0]["place"] == "header.last-event-id"


async def test_an_id_beyond_the_log_gets_a_snapshot(caller: Caller, scripted: Scripted) -> None:
    session_id = await opened(caller, scripted())
    async with watching(caller, session_id, after=999) as stream:
        assert (await anext(stream)).type == "snapshot"


async def whole_log(caller: Caller, session_id: str) -> list[Event]:
    """Every event of a session that is over."""
    async with watching(caller, session_id, after=0) as stream:
        return [event for event in await stream.rest() if event.id]


async def next_logged(stream: Stream) -> Event:
    """The next event that is in the log."""
    async for event in stream:
        if event.id:
            return event
    raise AssertionError("the stream ended")


async def has_comments(stream: Stream) -> bool:
    """True if the stream has received a comment."""
    return bool(stream.comments)
