"""Messages with streamed replies."""

import asyncio
from collections.abc import Callable

from tests.api.conftest import quick_settings
from tests.support.api_agents import library
from tests.support.event_stream import Event, Stream, saying, streamed_text, types_of
from tests.support.provider import ErrorReply, Gate, InterruptedReply, ScriptedModel, TextReply, ToolCallReply
from tests.support.running_api import Caller, RunningApi, problem, serving, texts
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

REPLY = "We open at nine, and we close at six in the evening."
STREAMED = {"Accept": "text/event-stream"}


async def opened(caller: Caller, model: ScriptedModel) -> str:
    """A session that has greeted."""
    await caller.push(library(model.string))
    return str((await caller.open("library"))["id"])


async def test_the_reply_is_streamed_while_it_is_generated(caller: Caller, scripted: Scripted) -> None:
    session_id = await opened(caller, scripted(TextReply(REPLY, gate=(gate := Gate()))))
    async with saying(caller, session_id, "When?", message_id="m-1") as stream:
        started, first = await stream.until("reply_delta")
        assert started.data["user_message"]["message_id"] == "m-1"
        assert first.data["text"] == REPLY[: len(REPLY) // 2]
        gate.open()
        *words, closed = await stream.rest()
    assert streamed_text([first, *words]) == REPLY
    assert closed.type == "turn_completed"
    assert closed.data["turn"] == (await caller.session(session_id))["turns"][-1]


async def test_only_the_turn_of_the_message_is_streamed(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    session_id = await opened(caller, scripted(TextReply("First.", gate=(gate := Gate())), TextReply("Second.")))
    sending = asyncio.create_task(caller.say(session_id, "One"))
    await gate.reached()
    streaming = asyncio.create_task(streamed(caller, session_id, "Two", on_busy="enqueue"))
    await eventually(lambda: is_watched(running_api, session_id))
    gate.open()
    events = await streaming
    await sending
    assert streamed_text(events) == "Second."
    assert types_of(events)[0] == "turn_started"
    assert events[0].data["user_message"]["text"] == "Two"
    assert types_of(events).count("turn_completed") == 1


async def test_tool_calls_and_transitions_are_streamed_once(caller: Caller, scripted: Scripted) -> None:
    session_id = await opened(caller, scripted(ToolCallReply("farewell", text="One moment."), TextReply("Goodbye.")))
    async with saying(caller, session_id, "Bye") as stream:
        events = await stream.rest()
    assert streamed_text(events) == "One moment.\n\nGoodbye."
    assert [kind for kind in types_of(events) if not kind.startswith("reply_")] == [
        "turn_started",
        "tool_call_started",
        "node_transition",
        "tool_call_result",
        "session_end",
        "turn_completed",
    ]


async def test_a_retried_call_resets_the_streamed_text(caller: Caller, scripted: Scripted) -> None:
    broken = InterruptedReply("Nobody will ever know.", gate=(gate := Gate()))
    session_id = await opened(caller, scripted(broken, TextReply("At nine.")))
    async with saying(caller, session_id, "When?") as stream:
        first = await stream.until("reply_delta")
        gate.open()
        events = await stream.rest()
    assert streamed_text(first) == "Nobody will"
    assert "reply_reset" in types_of(events)
    assert streamed_text([*first, *events]) == "At nine."


async def test_a_rejection_is_a_plain_problem(caller: Caller, scripted: Scripted) -> None:
    session_id = await opened(caller, scripted())
    path = f"/v1/sessions/{session_id}/messages"
    stale = await caller.http.post(path, json={"text": "Hello", "expected_revision": 99}, headers=STREAMED)
    assert problem(stale, 409, "revision_conflict")["expected_revision"] == 99
    await caller.end(session_id)
    problem(await caller.http.post(path, json={"text": "Hello"}, headers=STREAMED), 410, "session_ended")


async def test_a_turn_that_fails_ends_the_stream_with_it(caller: Caller, scripted: Scripted) -> None:
    session_id = await opened(caller, scripted(InterruptedReply("Nobody will", gate=(gate := Gate())), ErrorReply(400)))
    async with saying(caller, session_id, "When?") as stream:
        await stream.until("reply_delta")
        gate.open()
        *_, failed = await stream.rest()
    assert failed.type == "turn_failed"
    assert failed.data["turn"]["error"]


async def test_an_interrupted_reply_ends_its_stream_at_once_with_its_text_so_far(
    caller: Caller, scripted: Scripted
) -> None:
    model = scripted(TextReply(REPLY, gate=Gate()), TextReply("At nine."))
    session_id = await opened(caller, model)
    async with saying(caller, session_id, "When?") as stream:
        spoken = await stream.until("reply_delta")
        await caller.say(session_id, "Wait: when do you open?", on_busy="interrupt")
        spoken += await stream.rest()
    closed = spoken[-1]
    assert closed.type == "turn_interrupted"
    assert streamed_text(spoken) == closed.data["turn"]["assistant_message"]["text"] == REPLY[: len(REPLY) // 2].strip()
    assert model.journal[0].is_hung_up


async def test_a_turn_that_is_rolled_back_ends_its_stream(caller: Caller, scripted: Scripted) -> None:
    session_id = await opened(caller, scripted(TextReply(REPLY, gate=Gate()), TextReply("At nine.")))
    async with saying(caller, session_id, "When?") as stream:
        await stream.until("reply_delta")
        await caller.say(session_id, "I mean: when do you open?", on_busy="rollback")
        *_, closed = await stream.rest()
    assert closed.type == "turn_interrupted"


async def test_a_repeat_receives_the_first_reply(caller: Caller, scripted: Scripted) -> None:
    model = scripted(TextReply(REPLY))
    session_id = await opened(caller, model)
    async with saying(caller, session_id, "When?", message_id="m-1") as stream:
        first = await stream.rest()
    async with saying(caller, session_id, "When?", message_id="m-1") as stream:
        again = await stream.rest()
    assert streamed_text(again) == REPLY
    assert (again[0].type, again[-1].type) == ("turn_started", "turn_completed")
    assert again[-1].data["turn"] == first[-1].data["turn"]
    assert len(model.journal) == 1


async def test_a_client_that_goes_away_cancels_nothing(caller: Caller, scripted: Scripted) -> None:
    session_id = await opened(caller, scripted(TextReply(REPLY, gate=(gate := Gate()))))
    async with saying(caller, session_id, "When?") as stream:
        await stream.until("reply_delta")
    gate.open()

    async def answered() -> bool:
        return texts(await caller.session(session_id))[-1] == ("When?", REPLY)

    await eventually(answered)


async def test_a_stream_outlives_the_request_timeout(
    running_api: RunningApi, caller: Caller, scripted: Scripted
) -> None:
    session_id = await opened(caller, scripted(TextReply(REPLY, gate=(gate := Gate()))))
    short_timeout = quick_settings(
        running_api.database.address,
        running_api.settings.task_queue,
        request_timeout_seconds=3.0,
        sse_keepalive_seconds=3.5,
    )
    async with (
        serving(short_timeout, running_api.client, running_api.database, running_api.hub) as other,
        other.caller(caller.organization) as sender,
        saying(sender, session_id, "When?") as stream,
    ):
        first = await stream.until("reply_delta")
        following = asyncio.create_task(stream.rest())
        await eventually(lambda: has_comments(stream))  # the silence was longer than the wait
        gate.open()
        rest = await following
    assert [event.data["text"] for event in rest if event.type == "reply_delta"] == [REPLY[len(streamed_text(first)) :]]
    assert rest[-1].type == "turn_completed"


async def streamed(caller: Caller, session_id: str, text: str, **fields: object) -> list[Event]:
    """All events of a message's turn."""
    async with saying(caller, session_id, text, **fields) as stream:
        return await stream.rest()


async def is_watched(running_api: RunningApi, session_id: str) -> bool:
    """True if a session has watchers."""
    return running_api.hub.is_watched(session_id)


async def has_comments(stream: Stream) -> bool:
    """True if the stream has received a comment."""
    return bool(stream.comments)
