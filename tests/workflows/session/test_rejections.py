"""Rejected commands: messages, numbers, and an unchanged history."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError, RPCStatusCode

from domain.sessions.command_handlers import MAX_QUEUED_MESSAGES, MAX_TEXT_CHARACTERS
from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.session_stack import SessionHandle, SessionStack, rejection_of

Scripted = Callable[..., ScriptedModel]


async def traces(session: SessionHandle) -> tuple[int, int]:
    """The state that a rejection must not change: the accepted updates in the history, and the version of the state."""
    accepted = (await session.event_counts())["WORKFLOW_EXECUTION_UPDATE_ACCEPTED"]
    return accepted, (await session.status()).version


Command = Callable[[SessionHandle], Awaitable[object]]
REFUSED: dict[str, tuple[str, Command]] = {
    "a message for a stale revision": ("revision_conflict", lambda session: session.say("Hello", expected_revision=1)),
    "an empty message": ("validation_error", lambda session: session.say(" \n")),
    "a message that is too long": ("too_large", lambda session: session.say("x" * (MAX_TEXT_CHARACTERS + 1))),
    "a rewind for a stale revision": ("revision_conflict", lambda session: session.rewind(None, expected_revision=1)),
    "a rewind to an unknown turn": ("turn_not_found", lambda session: session.rewind("turn_of_somebody_else")),
    "a rewind to before nothing": ("validation_error", lambda session: session.rewind(None, before=True)),
    "an end for a stale revision": ("revision_conflict", lambda session: session.end(expected_revision=1)),
}


@pytest.mark.parametrize(("code", "command"), REFUSED.values(), ids=REFUSED)
async def test_a_refused_command_leaves_no_trace(stack: SessionStack, code: str, command: Command) -> None:
    session = await stack.open()
    await session.until_settled()
    before = await traces(session)
    rejection = await rejection_of(command(session))
    assert rejection.code == code
    assert await traces(session) == before


async def test_a_stale_revision_is_refused_with_both_numbers(stack: SessionStack) -> None:
    session = await stack.open()
    rejection = await rejection_of(session.say("Hello", expected_revision=1))
    assert rejection.figures == {"expected_revision": 1, "actual_revision": 2}


async def test_a_second_message_is_refused_while_the_first_is_answered(stack: SessionStack, scripted: Scripted) -> None:
    gate = Gate()
    model = scripted(TextReply("At nine.", gate=gate))
    session = await stack.open(model=model.string)
    first = asyncio.create_task(session.say("When do you open?"))
    await gate.reached()
    before = await traces(session)
    rejection = await rejection_of(session.say("And close?"))
    assert await traces(session) == before
    gate.open()
    answered = (await first).turn
    assert (rejection.code, rejection.figures) == ("turn_in_progress", {"turn_id": answered.id})
    assert (await session.say("And close?")).turn.parent_id == answered.id


async def test_messages_beyond_the_queue_limit_are_refused(stack: SessionStack, scripted: Scripted) -> None:
    gate = Gate()
    session = await stack.open(model=scripted(TextReply("At nine.", gate=gate)).string)
    await session.say("When do you open?", wait=False)
    for number in range(MAX_QUEUED_MESSAGES):
        await session.say(f"Question {number}", on_busy="enqueue", wait=False)
    rejection = await rejection_of(session.say("One too many", on_busy="enqueue", wait=False))
    assert rejection.code == "queue_full"
    gate.open()


async def test_a_session_that_is_ending_takes_no_more_messages(stack: SessionStack, scripted: Scripted) -> None:
    gate = Gate()
    session = await stack.open(model=scripted(TextReply("At nine.", gate=gate)).string)
    await session.say("When do you open?", wait=False)
    await gate.reached()
    await session.end()
    before = await traces(session)
    assert (await rejection_of(session.say("Hello?"))).code == "session_ended"
    assert (await rejection_of(session.rewind(None))).code == "session_ended"
    assert await traces(session) == before
    gate.open()
    await session.handle.result()


async def test_a_session_that_has_ended_is_not_found_by_updates(stack: SessionStack) -> None:
    session = await stack.open()
    await session.end()
    await session.handle.result()
    with pytest.raises(RPCError) as caught:
        await session.say("Hello?")
    assert caught.value.status is RPCStatusCode.NOT_FOUND


async def test_ending_an_ending_session_again_changes_nothing(stack: SessionStack, scripted: Scripted) -> None:
    gate = Gate()
    session = await stack.open(model=scripted(TextReply("At nine.", gate=gate)).string)
    await session.say("When do you open?", wait=False)
    await gate.reached()
    once = await session.end("first")
    again = await session.end("second")
    assert again.version == once.version
    assert again.completion_reason == "first"
    gate.open()
    assert (await session.handle.result()).completion_reason == "first"


async def test_a_rejection_is_not_retried_by_temporal(stack: SessionStack) -> None:
    session = await stack.open()
    with pytest.raises(WorkflowUpdateFailedError):
        await session.say("")
    assert (await session.event_counts())["WORKFLOW_TASK_FAILED"] == 0


@pytest.mark.parametrize("written", [[], ["Hello"], [{"text": 5}], [{"text": "Hello"}, "and more"], [None]], ids=str)
async def test_an_update_that_is_not_a_command_is_refused_and_changes_nothing(
    stack: SessionStack, written: list[object]
) -> None:
    session = await stack.open()
    await session.until_settled()
    before = await traces(session)
    with pytest.raises(WorkflowUpdateFailedError):
        await session.handle.execute_update("send_message", args=written)
    assert await traces(session) == before
    assert (await session.event_counts())["WORKFLOW_TASK_FAILED"] == 0
    assert await session.reply("Are you still there?")
