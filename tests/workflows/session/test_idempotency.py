"""Repeated messages are answered once, whenever the repeat arrives."""

import asyncio
from collections.abc import Callable

from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.session_stack import SessionStack, rejection_of, reply_text

Scripted = Callable[..., ScriptedModel]


async def test_a_repeated_message_joins_the_one_that_is_being_answered(stack: SessionStack, scripted: Scripted) -> None:
    gate = Gate()
    model = scripted(TextReply("At nine.", gate=gate))
    session = await stack.open(model=model.string)
    first = asyncio.create_task(session.say("When do you open?", message_id="msg_1"))
    await gate.reached()
    second = asyncio.create_task(session.say("When do you open?", message_id="msg_1"))
    accepted = await session.say("When do you open?", message_id="msg_1", wait=False)
    assert accepted.turn.status == "pending"
    gate.open()
    assert (await first).turn == (await second).turn
    assert accepted.turn.id == (await first).turn.id
    assert len(model.journal) == 1
    assert (await session.status()).revision == 4


async def test_a_message_repeated_after_its_reply_gets_the_first_answer(
    stack: SessionStack, scripted: Scripted
) -> None:
    model = scripted(TextReply("At nine."))
    session = await stack.open(model=model.string)
    first = await session.say("When do you open?", message_id="msg_1")
    await session.say("Thank you.", message_id="msg_2")
    again = await session.say("When do you open?", message_id="msg_1")
    not_waiting = await session.say("When do you open?", message_id="msg_1", wait=False)
    assert again.turn == not_waiting.turn == first.turn
    assert len(model.journal) == 2
    assert (await session.status()).revision == 6


async def test_a_repeat_is_recognised_before_its_revision_is_checked(stack: SessionStack) -> None:
    session = await stack.open()
    first = await session.say("Hello", message_id="msg_1", expected_revision=2)
    again = await session.say("Hello", message_id="msg_1", expected_revision=2, wait=False)
    assert again.turn == first.turn


async def test_a_message_id_with_another_text_is_refused(stack: SessionStack, scripted: Scripted) -> None:
    gate = Gate()
    session = await stack.open(model=scripted(TextReply("At nine.", gate=gate)).string)
    first = await session.say("When do you open?", message_id="msg_1", wait=False)
    while_pending = await rejection_of(session.say("When do you close?", message_id="msg_1"))
    gate.open()
    assert reply_text((await session.say("When do you open?", message_id="msg_1")).turn) == "At nine."
    after_the_reply = await rejection_of(session.say("When do you close?", message_id="msg_1"))
    assert while_pending.code == after_the_reply.code == "idempotency_mismatch"
    assert after_the_reply.figures == {"turn_id": first.turn.id}


async def test_a_message_repeated_after_a_rewind_past_it_is_not_answered_again(
    stack: SessionStack, scripted: Scripted
) -> None:
    model = scripted(TextReply("At nine."))
    session = await stack.open(model=model.string)
    first = await session.say("When do you open?", message_id="msg_1")
    await session.rewind(first.turn.id, before=True)
    again = await session.say("When do you open?", message_id="msg_1", wait=False)
    assert again.turn == first.turn
    assert len(await session.texts()) == 1
    assert len(model.journal) == 1
