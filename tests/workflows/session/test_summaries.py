"""Summaries of long conversations: written in the background, used where turns are left out, each billed once."""

import asyncio
from collections.abc import Callable

from domain.agents.definition import AgentDefinition, Compaction
from store.billing.ledger import LedgerRow
from store.sessions.steps import StepStore
from tests.support.agents import CLERK
from tests.support.provider import ErrorReply, Gate, ProviderRequest, ScriptedModel, TextReply
from tests.support.session_stack import SessionHandle, SessionStack, reply_text
from tests.support.waiting import eventually

Scripted = Callable[..., ScriptedModel]

LIMIT = 1_000
WORDS = "word " * 60
HEADING = "Summary of its earlier part:"


def with_memory(writer: ScriptedModel) -> AgentDefinition:
    compaction = Compaction(model=writer.string, prompt="Never forget the number of a message.")
    return CLERK.model_copy(update={"max_context_tokens": LIMIT, "compaction": compaction})


def talker(scripted: Scripted) -> ScriptedModel:
    model = scripted()
    model.window = 100_000
    return model


def writer_of(scripted: Scripted) -> ScriptedModel:
    """A model that numbers the summaries it writes."""
    return scripted(*(TextReply(f"Summary number {number}.") for number in range(1, 20)))


def asked_for(writer: ScriptedModel, summary: str | None) -> str:
    """The text that one of its summaries was written from."""
    assert summary is not None
    return writer.journal[int(summary.split()[-1].rstrip(".")) - 1].messages[-1][1]


def users(asked: ProviderRequest) -> list[int]:
    """The numbers of the user's messages in a request."""
    return [int(text.split()[0]) for role, text in asked.conversation if role == "user" and text[0].isdigit()]


def summary_in(asked: ProviderRequest) -> str | None:
    """The summary that a request had."""
    _, found, text = asked.instructions.partition(HEADING)
    return text.strip() if found else None


async def say(session: SessionHandle, number: int) -> None:
    await session.say(f"{number} {WORDS}")


async def billed_summaries(session: SessionHandle) -> list[LedgerRow]:
    return [row for row in await session.stack.ledger(session) if row.purpose == "summary"]


async def talk_until_summarised(session: SessionHandle, writer: ScriptedModel, *, first: int = 1) -> int:
    """Talk until a summary is written and billed; returns the number of the newest message."""
    known = len(await billed_summaries(session))
    asked = len(writer.journal)
    number = first - 1
    while len(writer.journal) == asked:
        number += 1
        await say(session, number)

    async def is_billed() -> bool:
        return len(await billed_summaries(session)) > known

    await eventually(is_billed)
    return number


async def test_a_summary_takes_the_place_of_the_turns_that_are_left_out(
    stack: SessionStack, scripted: Scripted
) -> None:
    model, writer = talker(scripted), writer_of(scripted)
    session = await stack.open(with_memory(writer), model=model.string)
    newest = await talk_until_summarised(session, writer)
    assert all(summary_in(asked) is None for asked in model.journal)
    request = writer.journal[0]
    assert "Never forget the number of a message." in request.instructions
    assert "User: 1 word" in request.messages[-1][1]
    assert f"User: {newest} word" not in request.messages[-1][1], "the newest turns stay as they are"

    while summary_in(model.journal[-1]) is None:
        newest += 1
        await say(session, newest)
    asked = model.journal[-1]
    given = asked_for(writer, summary_in(asked))
    covered = max(number for number in range(1, newest + 1) if f"User: {number} word" in given)
    assert users(asked) == list(range(covered + 1, newest + 1)), "what is not in the summary is sent whole"
    assert asked.tokens <= LIMIT * 1.05

    await talk_until_summarised(session, writer, first=newest + 1)
    assert writer.journal[1].messages[-1][1].startswith("Summary so far:\nSummary number 1.\n")
    await session.end()
    await session.handle.result()
    rows = await billed_summaries(session)
    assert [row.usage.requests for row in rows] == [1] * len(writer.journal), "each is billed once"
    head = (await session.timeline()).head
    assert head.usage.requests == len(model.journal) + len(writer.journal)


async def test_a_branch_never_gets_the_summary_of_another(stack: SessionStack, scripted: Scripted) -> None:
    model, writer = talker(scripted), writer_of(scripted)
    session = await stack.open(with_memory(writer), model=model.string)
    newest = await talk_until_summarised(session, writer)
    while summary_in(model.journal[-1]) is None:
        newest += 1
        await say(session, newest)
    turns = (await session.timeline()).turns
    await session.rewind(turns[1].id)
    await session.say(f"50 {WORDS}")
    assert summary_in(model.journal[-1]) is None, "the summary goes beyond the turn at which the branches part"
    assert users(model.journal[-1]) == [1, 50]
    newest = 50
    while summary_in(model.journal[-1]) is None:
        newest += 1
        await say(session, newest)
    given = asked_for(writer, summary_in(model.journal[-1]))
    assert "User: 50 word" in given
    assert "User: 2 word" not in given
    assert "Summary so far" not in given


async def test_a_rewind_within_the_branch_keeps_its_summary(stack: SessionStack, scripted: Scripted) -> None:
    model, writer = talker(scripted), writer_of(scripted)
    session = await stack.open(with_memory(writer), model=model.string)
    newest = await talk_until_summarised(session, writer)
    while summary_in(model.journal[-1]) is None:
        newest += 1
        await say(session, newest)
    with_it = model.journal[-1]
    turns = (await session.timeline()).turns
    await say(session, newest + 1)
    await session.rewind(turns[-1].id)
    await session.say("70 words, shortly.")
    assert summary_in(model.journal[-1]) == summary_in(with_it)
    assert model.journal[-1].body["messages"][: len(with_it.body["messages"])] == with_it.body["messages"]


async def test_no_reply_waits_for_a_summary(stack: SessionStack, scripted: Scripted) -> None:
    gate = Gate()
    model, writer = talker(scripted), scripted(TextReply("Late, and of use.", gate=gate))
    session = await stack.open(with_memory(writer), model=model.string)
    number = 0
    while not model.journal or len(users(model.journal[-1])) == number:
        number += 1
        await say(session, number)
    assert summary_in(model.journal[-1]) is None, "the conversation was cut without it"
    gate.open()

    async def is_billed() -> bool:
        return len(await billed_summaries(session)) == 1

    await eventually(is_billed)
    await say(session, number + 1)
    assert summary_in(model.journal[-1]) == "Late, and of use.", "what was lost for a while is back"


async def test_a_summary_that_fails_is_written_later(stack: SessionStack, scripted: Scripted) -> None:
    model, writer = talker(scripted), scripted(ErrorReply(400))
    session = await stack.open(with_memory(writer), model=model.string)
    number = 0
    while not writer.journal:
        number += 1
        await say(session, number)
    writer.script(TextReply("At the second try."))
    while len(writer.journal) < 2:
        number += 1
        await say(session, number)

    async def is_billed() -> bool:
        return len(await billed_summaries(session)) == 1

    await eventually(is_billed)


async def test_a_session_that_ends_cancels_its_summary_and_bills_it(stack: SessionStack, scripted: Scripted) -> None:
    gate = Gate()
    model, writer = talker(scripted), scripted(TextReply("Never used.", gate=gate))
    session = await stack.open(with_memory(writer), model=model.string)
    number = 0
    while not writer.journal:
        number += 1
        await say(session, number)
    await gate.reached()
    await session.end()
    async with asyncio.timeout(30):
        await session.handle.result()
    (row,) = await billed_summaries(session)
    assert row.usage.total_tokens > 0
    digest = row.turn_id.removeprefix("summary_")
    assert await StepStore(stack.database).summaries(session.id, [digest]) == {}, "a summary that was stopped is none"
    assert reply_text((await session.timeline()).turns[-1])
