"""Conversations longer than a request to their model may be: the provider's journal shows what was sent."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from domain.agents.definition import AgentDefinition
from domain.sessions.commands import Rewind
from store.sessions.steps import SavedStep, StepStore
from tests.support.agents import CLERK
from tests.support.provider import ProviderRequest, ScriptedModel
from tests.support.session_stack import SessionHandle, SessionStack, reply_text, types_of
from workflows.session.workflow import SessionWorkflow

Scripted = Callable[..., ScriptedModel]

LIMIT = 1_000
WORDS = "word " * 60


def with_token_limit(limit: int = LIMIT) -> AgentDefinition:
    return CLERK.model_copy(update={"max_context_tokens": limit})


def users(asked: ProviderRequest) -> list[str]:
    """The numbers of the user's messages in a request."""
    return [text.split()[0] for role, text in asked.conversation if role == "user" and text[0].isdigit()]


async def talk(session: SessionHandle, first: int, last: int) -> None:
    for number in range(first, last + 1):
        await session.say(f"{number} {WORDS}")


async def newest_step(stack: SessionStack, session: SessionHandle) -> SavedStep:
    turns = (await session.timeline()).turns
    return (await StepStore(stack.database).of_turn(session.id, turns[-1].id))[-1]


async def test_a_long_conversation_is_cut_between_turns_several_at_a_time(
    stack: SessionStack, scripted: Scripted
) -> None:
    model = scripted()
    model.window = 100_000
    session = await stack.open(with_token_limit(), model=model.string)
    await talk(session, 1, 14)
    asked = [request for request in model.journal if users(request)]
    assert [users(request)[-1] for request in asked] == [str(number) for number in range(1, 15)]
    assert all(request.tokens <= LIMIT * 1.02 for request in asked), [request.tokens for request in asked]
    assert all(request.instructions == asked[0].instructions for request in asked), "the prompt is never cut"
    starts = [users(request)[0] for request in asked]
    moves = [after for before, after in pairwise(starts) if before != after]
    assert 2 <= len(moves) <= 7, f"the cut jumps, and stays where it is in between: {starts}"
    for before, after in pairwise(asked):
        if users(before)[0] == users(after)[0]:
            known = len(before.body["messages"])
            assert after.body["messages"][:known] == before.body["messages"], "what was sent stays the beginning"

    step = await newest_step(stack, session)
    assert step.sent is not None
    assert (step.sent.max_tokens, step.sent.counted_by) == (LIMIT, "provider")
    assert step.sent.turns == len(users(asked[-1])) - 1
    assert step.sent.left_out == 14 - len(users(asked[-1])), "the greeting came without a call of the model"
    assert step.sent.tokens is not None
    assert abs(step.sent.tokens - asked[-1].tokens) <= LIMIT // 20, "counted by what the provider reported"


async def test_a_rewound_conversation_goes_on_with_the_cut_of_its_turn(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted()
    model.window = 100_000
    session = await stack.open(with_token_limit(), model=model.string)
    await talk(session, 1, 8)
    before = {users(request)[-1]: request for request in model.journal if users(request)}
    turns = (await session.timeline()).turns
    target = next(turn for turn in turns if turn.user_message and turn.user_message.text.startswith("6 "))
    await session.handle.execute_update(SessionWorkflow.rewind, Rewind(turn_id=target.id))
    await session.say(f"60 {WORDS}")
    assert len(users(before["6"])) < 6, "the cut had moved by then"
    known = before["6"].body["messages"]
    assert model.journal[-1].body["messages"][: len(known)] == known
    assert users(model.journal[-1]) == [*users(before["6"]), "60"]


async def test_a_request_that_the_provider_finds_too_long_is_sent_again_without_older_turns(
    stack: SessionStack, scripted: Scripted
) -> None:
    model = scripted()
    model.window = 700
    session = await stack.open(with_token_limit(5_000), model=model.string)
    await talk(session, 1, 9)
    refused = [request for request in model.journal if request.tokens > model.window]
    answered = [request for request in model.journal if request.tokens <= model.window]
    assert refused, "the window of this model is unknown before it refuses"
    assert [users(request)[-1] for request in answered if users(request)] == [str(number) for number in range(1, 10)]
    assert len(await session.billed(10)) == 10, "what is refused is not billed"


async def test_a_message_that_never_fits_fails_its_turn_with_a_code(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted()
    model.window = 700
    session = await stack.open(model=model.string)
    await talk(session, 1, 2)
    failed = await session.say("9 " + "word " * 900)
    assert failed.turn.status == "failed"
    assert types_of(failed.turn) == ["execution_error"]
    assert failed.turn.error_code == "context_too_long"
    assert "too long for the context window" in (failed.turn.error or "")
    assert "700 tokens" in (failed.turn.error or ""), "the provider's own sentence stays"
    assert users(model.journal[-1]) == ["9"], "the last try was without any earlier turn"
    answered = await session.say("4 Now a short one.")
    assert reply_text(answered.turn) == "You said: 4 Now a short one."


@pytest.mark.parametrize("limit", [1_000, 2_000])
async def test_a_message_longer_than_the_limit_is_sent_whole(
    stack: SessionStack, scripted: Scripted, limit: int
) -> None:
    model = scripted()
    model.window = 100_000
    session = await stack.open(with_token_limit(limit), model=model.string)
    await talk(session, 1, 2)
    message = "3 " + "word " * 2_000
    await session.say(message)
    assert model.journal[-1].conversation == [("user", message.strip())]
