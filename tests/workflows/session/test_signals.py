"""Signals, as typed into the Temporal UI: applied, or rejected with a visible event."""

import asyncio
from collections.abc import Callable

import pytest

from domain.sessions.commands import SendMessage
from domain.turns.turn import TurnEvent
from tests.support.agents import GREETING
from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.session_stack import SessionHandle, SessionStack, session_worker
from tests.support.waiting import eventually
from workflows.session.workflow import SessionWorkflow

Scripted = Callable[..., ScriptedModel]


async def refused(session: SessionHandle) -> list[TurnEvent]:
    """The rejections on the visible timeline."""
    turns = (await session.timeline()).turns
    return [event for turn in turns for event in turn.events if event.type == "command_refused"]


async def answers(session: SessionHandle, count: int) -> list[tuple[str | None, str | None]]:
    """The texts after the greeting, once so many messages are answered."""

    async def answered() -> list[tuple[str | None, str | None]]:
        said = (await session.texts())[1:]
        return said if len(said) == count and all(reply for _, reply in said) else []

    return await eventually(answered)


async def test_a_signal_of_plain_text_is_answered(stack: SessionStack, scripted: Scripted) -> None:
    session = await stack.open(model=scripted(TextReply("At nine.")).string)
    await session.handle.signal("user_message", "When do you open?")
    assert await answers(session, 1) == [("When do you open?", "At nine.")]


async def test_a_signalled_message_waits_for_a_busy_agent(stack: SessionStack, scripted: Scripted) -> None:
    gate = Gate()
    session = await stack.open(
        model=scripted(TextReply("One.", gate=gate), TextReply("Two."), TextReply("Three.")).string
    )
    for text in ("1", "2", "3"):
        await session.handle.signal("user_message", text)
    await gate.reached()
    gate.open()
    assert await answers(session, 3) == [("1", "One."), ("2", "Two."), ("3", "Three.")]
    assert await refused(session) == []


async def test_a_signal_repeated_under_one_message_id_is_answered_once(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted()
    session = await stack.open(model=model.string)
    for _ in range(3):
        await session.handle.signal(SessionWorkflow.user_message, SendMessage(text="Hello", message_id="msg_1"))
    await answers(session, 1)
    await session.until_settled()
    assert len(model.journal) == 1


async def test_a_signal_that_comes_with_the_start_is_answered_after_the_greeting(
    stack: SessionStack, scripted: Scripted
) -> None:
    session = await stack.prepare(model=scripted(TextReply("At nine.")).string)
    await session.begin(signal="user_message", argument="When do you open?")
    assert await answers(session, 1) == [("When do you open?", "At nine.")]
    assert (await session.texts())[0] == (None, GREETING)


async def test_rewind_and_end_can_be_signalled(stack: SessionStack, scripted: Scripted) -> None:
    session = await stack.open(model=scripted(TextReply("At nine.")).string)
    greeting = (await session.timeline()).turns[0]
    await session.say("When do you open?")
    await session.handle.signal("rewind_to", greeting.id)
    assert await session.texts() == [(None, GREETING)]
    await session.handle.signal("end_session")
    closed = await session.handle.result()
    assert (closed.completion_reason, closed.revision) == ("user_hangup", 6)


@pytest.mark.parametrize(
    ("signal", "written", "code"),
    [
        ("user_message", "", "validation_error"),
        ("user_message", {"txet": "Hello"}, "validation_error"),
        ("user_message", 42, "validation_error"),
        ("user_message", None, "validation_error"),
        ("user_message", ["Hello"], "validation_error"),
        ("user_message", {"text": "Hello", "expected_revision": 1}, "revision_conflict"),
        ("rewind_to", {"foo": 1}, "validation_error"),
        ("rewind_to", "turn_of_somebody_else", "turn_not_found"),
        ("end_session", "now", "validation_error"),
        ("end_session", {"expected_revision": 1}, "revision_conflict"),
    ],
)
async def test_a_rejected_signal_is_written_to_the_timeline(
    stack: SessionStack, signal: str, written: object, code: str
) -> None:
    session = await stack.open()
    await session.handle.signal(signal, written)
    [event] = await eventually(lambda: refused(session))
    assert (event.payload["command"], event.payload["code"]) == (signal, code)
    assert event.payload["detail"]
    head = await session.status()
    assert (head.status, head.revision) == ("idle", 2), "what was refused changes nothing"


@pytest.mark.parametrize(
    ("signal", "arguments"),
    [("user_message", []), ("user_message", ["Hello", "there"]), ("rewind_to", []), ("end_session", ["now", "please"])],
)
async def test_a_signal_with_the_wrong_number_of_arguments_does_not_stop_the_session(
    stack: SessionStack, signal: str, arguments: list[object]
) -> None:
    session = await stack.open()
    await session.handle.signal(signal, args=arguments)
    [event] = await eventually(lambda: refused(session))
    assert event.payload["code"] == "validation_error"
    assert await session.reply("Are you still there?")
    assert (await session.event_counts())["WORKFLOW_TASK_FAILED"] == 0


async def test_a_signal_to_a_session_that_is_ending_is_refused_on_its_last_turn(
    stack: SessionStack, scripted: Scripted
) -> None:
    gate = Gate()
    session = await stack.open(model=scripted(TextReply("At nine.", gate=gate)).string)
    await session.say("When do you open?", wait=False)
    await gate.reached()
    await session.end()
    await session.handle.signal("user_message", "Wait!")
    [event] = await eventually(lambda: refused(session))
    assert event.payload["code"] == "session_ended"
    gate.open()
    await session.handle.result()


async def test_a_refused_signal_is_recorded_in_the_store(stack: SessionStack) -> None:
    session = await stack.open()
    await session.handle.signal("rewind_to", "turn_of_somebody_else")
    await eventually(lambda: refused(session))
    await session.until_settled()
    [stored] = await session.stored_turns()
    assert [event.type for event in stored.events] == ["node_transition", "command_refused"]


async def test_signals_and_updates_at_once_are_all_answered(
    stack_without_worker: SessionStack, scripted: Scripted
) -> None:
    session = await stack_without_worker.prepare(model=scripted().string)
    await session.begin()
    await session.handle.signal("user_message", "first")
    await session.handle.signal("user_message", "second")
    async with session_worker(stack_without_worker):
        said = asyncio.create_task(session.say("third", on_busy="enqueue"))
        await said
        assert [text for text, _ in (await session.texts())[1:]] == ["first", "second", "third"]
