"""Simulated users' messages in suites, generated in the activity of the reply: paid for once, and billed separately."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

from domain.sessions.caller_config import CallerLimits, SetSimulator, SimulatorConfig
from domain.sessions.views import SessionHead
from domain.usage import TokenPrice
from tests.support.activities import session_activities
from tests.support.agents import CLERK, GREETING
from tests.support.provider import ErrorReply, Gate, ScriptedModel, TextReply, ToolCallReply
from tests.support.session_stack import QUICK, SessionHandle, SessionStack, session_worker
from tests.workflows.session.killable_worker import KillPoint, killable_worker
from workflows.session.workflow import SessionWorkflow

Scripted = Callable[..., ScriptedModel]

CONFIG = SimulatorConfig(goal="Borrow a book.")
HANG_UP = ToolCallReply("hang_up", '{"reason": "done"}')
SOON_MISSED = QUICK.model_copy(update={"heartbeat": 5.0})


async def opened(
    stack: SessionStack,
    caller: ScriptedModel,
    agent: ScriptedModel,
    *,
    suite_id: str | None = "suite_1",
    **config: object,
) -> SessionHandle:
    session = await stack.prepare(CLERK, model=agent.string)
    simulator = CONFIG.model_copy(update={"model": caller.string, **config})
    session.start = session.start.model_copy(
        update={"simulator": simulator, "timing": SOON_MISSED, "suite_id": suite_id}
    )
    await session.begin()
    return session


async def ended(session: SessionHandle) -> SessionHead:
    await session.handle.result()
    return await session.status()


async def separate_calls(session: SessionHandle) -> tuple[int, int]:
    """The number of activities for replies, and of those for messages of the simulated user alone."""
    return len(await session.scheduled("generate_step")), len(await session.scheduled("play_caller"))


async def purposes(stack: SessionStack, session: SessionHandle) -> list[str]:
    """The purposes of the ledger rows that have a model call."""
    return sorted(row.purpose for row in await stack.ledger(session) if row.usage.requests)


async def test_an_exchange_is_one_activity_and_two_paid_calls(stack: SessionStack, scripted: Scripted) -> None:
    caller = scripted(TextReply("Do you have Emma?"), TextReply("And Persuasion?"), TextReply("Thank you."), HANG_UP)
    agent = scripted(TextReply("We do."), TextReply("That too."), TextReply("Goodbye."))
    session = await opened(stack, caller, agent)
    head = await ended(session)
    assert head.completion_reason == "caller_hung_up"
    assert await separate_calls(session) == (3, 1), "only the first message answers no reply of a model"
    assert (len(caller.journal), len(agent.journal)) == (4, 3)
    assert await purposes(stack, session) == ["caller"] * 4 + ["turn"] * 3
    rows = await stack.ledger(session)
    assert sum((row.cost.total for row in rows), Decimal(0)) == head.cost.total
    assert sum(row.usage.requests for row in rows) == head.usage.requests == 7


async def test_the_next_simulated_message_does_not_lengthen_the_turn(stack: SessionStack, scripted: Scripted) -> None:
    gate = Gate()
    caller = scripted(TextReply("Do you have Emma?"), TextReply("And Persuasion?", gate=gate), HANG_UP)
    session = await opened(stack, caller, scripted(TextReply("We do."), TextReply("That too.")))
    await gate.reached()
    await asyncio.sleep(1.0)  # the time of the simulated user's model
    gate.open()
    await ended(session)
    _, first, second = (await session.timeline()).turns
    assert first.assistant_message is not None
    both = (second.created_at - first.created_at).total_seconds()
    assert first.usage.duration_seconds <= both - 0.99, "the time of the simulated message is not the agent's"
    assert second.created_at - first.assistant_message.created_at >= timedelta(seconds=1.0)
    messages = [row for row in await stack.ledger(session) if row.purpose == "caller"]
    assert max(row.usage.duration_seconds for row in messages) >= 1.0


async def test_an_unneeded_simulated_message_is_billed_and_dropped(stack: SessionStack, scripted: Scripted) -> None:
    gate = Gate()
    caller = scripted(TextReply("Do you have Emma?"), TextReply("Never said.", gate=gate))
    session = await opened(stack, caller, scripted(TextReply("We do."), TextReply("Of course.")))
    await gate.reached()
    await session.handle.execute_update(SessionWorkflow.set_simulator, SetSimulator(enabled=False))
    gate.open()
    await session.until_settled()
    assert await session.reply("It is me now.") == "Of course."
    await session.end()
    await session.handle.result()
    assert [text for text, _ in await session.texts()] == [None, "Do you have Emma?", "It is me now."]
    assert await purposes(stack, session) == ["caller", "caller", "turn", "turn"]


async def test_a_session_that_ends_during_a_simulated_message_keeps_the_reply_and_bills_both(
    stack: SessionStack, scripted: Scripted
) -> None:
    caller = scripted(TextReply("Do you have Emma?"), TextReply("Never said.", gate=(gate := Gate())))
    session = await opened(stack, caller, scripted(TextReply("We do.")))
    await gate.reached()
    await session.end()
    gate.open()
    await session.handle.result()
    assert (await session.texts())[1:] == [("Do you have Emma?", "We do.")]
    [_, turn] = (await session.timeline()).turns
    assert turn.status == "completed", "the reply was there before"
    assert await purposes(stack, session) == ["caller", "caller", "turn"]


async def test_a_failed_simulated_message_is_requested_again_without_the_reply(
    stack: SessionStack, scripted: Scripted
) -> None:
    caller = scripted(TextReply("Do you have Emma?"), ErrorReply(500), TextReply("And Persuasion?"), HANG_UP)
    agent = scripted(TextReply("We do."), TextReply("That too."))
    session = await opened(stack, caller, agent)
    assert (await ended(session)).completion_reason == "caller_hung_up"
    assert await separate_calls(session) == (2, 2)
    assert len(agent.journal) == 2, "a reply is not paid for again because of a simulated message"
    assert [text for text, _ in await session.texts()] == [None, "Do you have Emma?", "And Persuasion?"]


async def test_no_simulated_message_is_generated_beyond_a_limit(
    stack_without_worker: SessionStack, scripted: Scripted
) -> None:
    caller = scripted(TextReply("Do you have Emma?"))
    agent = scripted(TextReply("We do."))
    price = TokenPrice(input=Decimal(1_000_000), output=Decimal(1_000_000))
    priced = session_activities(stack_without_worker.database, prices={f"openai:{agent.name}": price})
    async with session_worker(stack_without_worker, priced):
        limits = CallerLimits(max_cost_usd=Decimal(1))
        session = await opened(stack_without_worker, caller, agent, limits=limits)
        assert (await ended(session)).completion_reason == "caller_max_cost"
    assert len(caller.journal) == 1


async def test_outside_of_suites_every_simulated_message_has_its_own_activity(
    stack: SessionStack, scripted: Scripted
) -> None:
    """A person may take over between a reply and the simulated user's next message."""
    gate = Gate()
    caller = scripted(TextReply("Do you have Emma?"), TextReply("Never said.", gate=gate))
    session = await opened(stack, caller, scripted(TextReply("We do."), TextReply("Of course.")), suite_id=None)
    await gate.reached()
    assert await session.reply("It is me now.") == "Of course."
    assert await separate_calls(session) == (2, 2)
    await session.end()
    await session.handle.result()


async def test_the_last_reply_is_generated_without_a_simulated_message(stack: SessionStack, scripted: Scripted) -> None:
    caller = scripted(TextReply("One."), TextReply("Two."))
    session = await opened(stack, caller, scripted(TextReply("1"), TextReply("2")), limits=CallerLimits(max_turns=2))
    assert (await ended(session)).completion_reason == "caller_max_turns"
    assert len(caller.journal) == 2


async def test_neither_reply_nor_simulated_message_is_paid_for_again_when_the_worker_dies(
    stack_without_worker: SessionStack, scripted: Scripted
) -> None:
    stack = stack_without_worker
    caller = scripted(TextReply("Do you have Emma?"), TextReply("And Persuasion?"), HANG_UP)
    agent = scripted(TextReply("We do."), TextReply("That too."))
    session = await opened(stack, caller, agent)
    async with killable_worker(
        stack.client, stack.task_queue, stack.database, kill_at=KillPoint("after", "generate_step")
    ) as process:
        await process.killed()
    async with session_worker(stack):
        assert (await ended(session)).completion_reason == "caller_hung_up"
        assert await session.texts() == [
            (None, GREETING),
            ("Do you have Emma?", "We do."),
            ("And Persuasion?", "That too."),
        ]
        assert (len(caller.journal), len(agent.journal)) == (3, 2)
        assert await purposes(stack, session) == ["caller"] * 3 + ["turn"] * 2
