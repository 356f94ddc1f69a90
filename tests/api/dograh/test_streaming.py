"""Text chats as streams: the words while they are generated, and at the end the answer of the plain route."""

from collections.abc import Callable
from typing import Any

from tests.api.dograh.dental import GREETING, SPEECH, TO_VISIT, dental_export
from tests.api.dograh.panel import Panel, chats_of, imported
from tests.support.event_stream import Event, Stream
from tests.support.provider import ErrorReply, Gate, InterruptedReply, ScriptedModel, TextReply, ToolCallReply
from tests.support.running_api import Caller, done
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

ANSWER = "We open at nine, and we close at six in the evening."


def words(events: list[Event]) -> str:
    """The reply as a client shows it."""
    text = ""
    for event in events:
        if event.type == "reply_delta":
            text += event.data["text"]
        elif event.type == "reply_reset":
            text = event.data["text"]
    return text


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events if not event.type.startswith("reply_")]


async def streamed(caller: Caller, path: str, **body: Any) -> list[Event]:
    async with caller.http.stream("POST", path, json=body) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        return await Stream(response.aiter_lines()).rest()


async def test_a_chat_opened_as_a_stream_ends_with_the_plain_response(caller: Caller, scripted: Scripted) -> None:
    workflow_id = await imported(caller, scripted().string)
    events = await streamed(caller, f"{chats_of(workflow_id)}/stream", name="Trial", initial_context={"a": 1})
    assert words(events) == GREETING
    assert types(events) == ["turn_started", "event", "session"]
    session = events[-1].data
    assert session["name"] == "Trial"
    panel = Panel(caller, workflow_id, session)
    assert (session["revision"], session["initial_context"], panel.data["status"]) == (2, {"a": 1}, "idle")
    assert await panel.reload() == session
    assert events[0].data["turn_id"] == panel.turns[0]["id"]


async def test_a_greeting_of_the_model_is_streamed(caller: Caller, scripted: Scripted) -> None:
    model = scripted(TextReply(ANSWER, gate=(gate := Gate())))
    agent = done(await caller.post("/v1/agents", dental_export(), format="dograh", name="dental"), 201)
    agent["definition"]["nodes"]["reception"]["greeting"] = None
    workflow_id = int((await caller.push({**agent["definition"], "model": model.string}))["workflow_id"])
    async with caller.http.stream("POST", f"{chats_of(workflow_id)}/stream", json={}) as response:
        stream = Stream(response.aiter_lines())
        first = await stream.until("reply_delta")
        gate.open()
        events = [*first, *await stream.rest()]
    assert words(events) == ANSWER
    assert events[-1].type == "session"


async def test_a_reply_is_streamed_with_its_events_in_the_format_of_dograh(caller: Caller, scripted: Scripted) -> None:
    model = scripted(ToolCallReply(TO_VISIT), TextReply("Which day?"))
    panel = await Panel.open(caller, await imported(caller, model.string))
    events = await streamed(caller, f"{panel.path}/messages/stream", text="A visit.", expected_revision=2)
    assert words(events) == f"{SPEECH}\n\nWhich day?"
    assert types(events) == ["turn_started", "event", "event", "event", "session"]
    shown = [event.data for event in events if event.type == "event"]
    session = await panel.reload()
    assert shown == panel.turns[-1]["events"]
    assert events[-1].data == session


async def test_a_retried_call_replaces_the_text_so_far(caller: Caller, scripted: Scripted) -> None:
    model = scripted(InterruptedReply("Nobody will ever know.", gate=(gate := Gate())), TextReply(ANSWER))
    panel = await Panel.open(caller, await imported(caller, model.string))
    async with caller.http.stream("POST", f"{panel.path}/messages/stream", json={"text": "When?"}) as response:
        stream = Stream(response.aiter_lines())
        first = await stream.until("reply_delta")
        gate.open()
        events = [*first, *await stream.rest()]
    assert "reply_reset" in [event.type for event in events]
    assert words(events) == ANSWER


async def test_a_turn_that_fails_ends_the_stream_with_the_plain_detail(caller: Caller, scripted: Scripted) -> None:
    model = scripted(ToolCallReply(TO_VISIT), ErrorReply(401, message="No such key."))
    panel = await Panel.open(caller, await imported(caller, model.string))
    events = await streamed(caller, f"{panel.path}/messages/stream", text="A visit.")
    assert (events[-1].type, events[-1].data["status_code"]) == ("error", 500)
    assert events[-1].data["detail"].startswith("Failed to execute text chat assistant turn: ")
    assert (await panel.reload())["session_data"]["status"] == "error"


async def test_an_error_before_the_stream_is_an_ordinary_response(caller: Caller, scripted: Scripted) -> None:
    panel = await Panel.open(caller, await imported(caller, scripted().string))
    stale = await panel.post("messages/stream", text="Hello", expected_revision=1)
    assert done(stale, 409)["detail"]["actual_revision"] == 2
    done(await panel.post("messages/stream", text=""), 422)
    await panel.end()
    assert done(await panel.post("messages/stream", text="Hello"), 400) == {"detail": "Text chat session has ended"}
    done(await caller.post(f"{chats_of(0)}/stream", {}), 404)


async def test_a_client_that_leaves_stops_nothing(caller: Caller, scripted: Scripted) -> None:
    model = scripted(TextReply(ANSWER, gate=(gate := Gate())))
    panel = await Panel.open(caller, await imported(caller, model.string))
    async with caller.http.stream("POST", f"{panel.path}/messages/stream", json={"text": "When?"}) as response:
        await Stream(response.aiter_lines()).until("reply_delta")
    gate.open()

    async def answered() -> bool:
        return bool((await panel.reload()) and panel.said[-1] == ("When?", ANSWER))

    await eventually(answered)


async def test_a_reference_to_a_recording_is_never_streamed_nor_said(caller: Caller, scripted: Scripted) -> None:
    model = scripted(TextReply("Listen.\nRECORDING_ID: tour [ The whole house. ]\nThat was it."))
    agent = done(await caller.post("/v1/agents", dental_export(), format="dograh", name="dental"), 201)
    agent["definition"]["nodes"]["reception"]["prompt"] = "Help. RECORDING_ID: tour [ The whole house. ]"
    workflow_id = int((await caller.push({**agent["definition"], "model": model.string}))["workflow_id"])
    panel = await Panel.open(caller, workflow_id)
    events = await streamed(caller, f"{panel.path}/messages/stream", text="A tour, please.")
    assert words(events) == "Listen.\nThat was it."
    assert not any("RECORD" in event.data["text"] for event in events if event.type.startswith("reply_"))
    assert await panel.reload()
    assert panel.said[-1] == ("A tour, please.", "Listen.\nThat was it.")
    session = await caller.session(await panel.session_id())
    (recording,) = [each for each in session["turns"][-1]["events"] if each["type"] == "recording_referenced"]
    assert recording["payload"] == {"recording_id": "tour", "source": "reply", "transcript": "The whole house."}
