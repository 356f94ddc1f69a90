"""Model failures: retryable and permanent errors, and the state after a failed turn."""

from collections.abc import Callable

import pytest

from tests.support.agents import GREETING
from tests.support.provider import (
    ErrorReply,
    InterruptedReply,
    MalformedReply,
    NoReply,
    Reply,
    ScriptedModel,
    TextReply,
    ToolCallReply,
)
from tests.support.session_stack import QUICK, SessionStack, reply_text, types_of

Scripted = Callable[..., ScriptedModel]

MAX_FAILURES = 5
"""Failures of the provider after which a step fails for good (activities/charge_once.py)."""


@pytest.mark.parametrize(
    "fault",
    [
        ErrorReply(429),
        ErrorReply(500),
        ErrorReply(503),
        InterruptedReply(),
        InterruptedReply(cleanly=True),
        MalformedReply(),
    ],
    ids=str,
)
async def test_a_transient_fault_is_retried_and_the_reply_billed_once(
    stack: SessionStack, scripted: Scripted, fault: Reply
) -> None:
    model = scripted(fault, TextReply("Here I am."))
    session = await stack.open(model=model.string)
    result = await session.say("Hello?")
    assert reply_text(result.turn) == "Here I am."
    assert len(model.journal) == 2, "one request for each attempt: the provider's SDK must not retry by itself"
    assert model.journal[0].body["messages"] == model.journal[1].body["messages"]
    _, entry = await session.billed(2)
    assert entry.usage.requests == 1
    assert entry.usage.total_tokens == 18


@pytest.mark.parametrize(
    ("said", "expected"), [("Good \ud83d", "Good \ufffd"), ("Good \ud83d\ude00", "Good \U0001f600")]
)
async def test_surrogates_in_a_reply_do_not_stop_a_session(
    stack: SessionStack, scripted: Scripted, said: str, expected: str
) -> None:
    model = scripted(TextReply(said))
    session = await stack.open(model=model.string)
    assert await session.reply("Hello?") == expected
    assert len(model.journal) == 1
    await session.billed(2)


async def test_a_provider_is_not_called_again_before_its_retry_after(stack: SessionStack, scripted: Scripted) -> None:
    model = scripted(ErrorReply(429, retry_after=1), TextReply("Here I am."))
    session = await stack.open(model=model.string)
    assert await session.reply("Hello?") == "Here I am."
    first, second = model.journal
    assert second.at - first.at >= 1.0


async def test_a_model_that_never_answers_is_called_again_after_the_timeout(
    stack: SessionStack, scripted: Scripted
) -> None:
    model = scripted(NoReply(), TextReply("Here I am."))
    session = await stack.open(model=model.string, timing=QUICK.model_copy(update={"model_timeout": 0.5}))
    assert await session.reply("Hello?") == "Here I am."
    assert len(model.journal) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_a_request_that_the_provider_will_never_accept_fails_at_once(
    stack: SessionStack, scripted: Scripted, status: int
) -> None:
    model = scripted(ErrorReply(status))
    session = await stack.open(model=model.string)
    result = await session.say("Hello?")
    assert (result.turn.status, result.head.status) == ("failed", "error")
    assert types_of(result.turn) == ["execution_error"]
    assert str(status) in (result.turn.error or "")
    assert len(model.journal) == 1


async def test_a_model_that_does_not_exist_fails_the_turn_at_once(stack: SessionStack) -> None:
    session = await stack.open(model="nobody:nothing")
    result = await session.say("Hello?")
    assert result.turn.status == "failed"
    assert "nobody" in (result.turn.error or "")


async def test_a_provider_that_fails_too_often_fails_the_turn_and_the_next_turn_omits_it(
    stack: SessionStack, scripted: Scripted
) -> None:
    model = scripted(TextReply("At nine."), *[ErrorReply(500)] * MAX_FAILURES, TextReply("At six."))
    session = await stack.open(model=model.string)
    await session.say("When do you open?")
    failed = await session.say("Lost words.")
    assert (failed.turn.status, failed.head.status) == ("failed", "error")
    assert types_of(failed.turn) == ["execution_error"]
    assert len(model.journal) == 1 + MAX_FAILURES

    answered = await session.say("When do you close?", expected_revision=failed.head.revision)
    assert reply_text(answered.turn) == "At six."
    assert answered.head.status == "idle"
    assert model.journal[-1].conversation[1:] == [
        ("assistant", GREETING),
        ("user", "When do you open?"),
        ("assistant", "At nine."),
        ("user", "When do you close?"),
    ]
    entries = await session.billed(4)
    assert [entry.usage.requests for entry in entries] == [0, 1, 0, 1]


async def test_failures_of_one_step_do_not_count_against_the_next(stack: SessionStack, scripted: Scripted) -> None:
    almost = [ErrorReply(500)] * (MAX_FAILURES - 1)
    model = scripted(*almost, ToolCallReply("to_loans"), *almost, TextReply("Which title?"))
    session = await stack.open(model=model.string)
    assert await session.reply("I want a book.") == "I look it up.\n\nWhich title?"
    assert len(model.journal) == 2 * MAX_FAILURES
