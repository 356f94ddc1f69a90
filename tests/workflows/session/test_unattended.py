"""Settlement while a simulated user talks and nobody watches: turns wait longer to be settled together."""

from collections.abc import Callable

from domain.sessions.caller_config import CallerLimits, SetSimulator, SimulatorConfig
from tests.support.agents import CLERK
from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.session_stack import QUICK, SessionHandle, SessionStack
from workflows.session.settlement import SETTLE_AT_ONCE
from workflows.session.workflow import SessionWorkflow

Scripted = Callable[..., ScriptedModel]

NEVER = QUICK.model_copy(update={"settle_unattended_within": 3600.0})
"""Unattended turns wait an hour for others, unless something else settles them."""
MESSAGES = 12
CONFIG = SimulatorConfig(
    goal="Borrow a book.", min_turns=MESSAGES, limits=CallerLimits(max_turns=MESSAGES, max_stalled_turns=None)
)


async def opened(stack: SessionStack, config: SimulatorConfig) -> SessionHandle:
    session = await stack.prepare(CLERK, model="demo")
    session.start = session.start.model_copy(update={"simulator": config, "timing": NEVER})
    await session.begin()
    return session


async def test_turns_are_settled_along_with_replies_and_at_the_end(stack: SessionStack, scripted: Scripted) -> None:
    caller = scripted(*(TextReply(f"Line {number}") for number in range(MESSAGES)))
    session = await opened(stack, CONFIG.model_copy(update={"model": caller.string}))
    await session.handle.result()
    settled = await session.settlements()
    travelled = [len(each.turns) for each in await session.travelled()]
    assert travelled == [1, SETTLE_AT_ONCE - 1], "the greeting, and as many as share one settlement"
    assert [len(each.turns) for each in settled] == [1 + MESSAGES - sum(travelled)], "the rest, and with it the end"
    assert len(await stack.ledger(session)) == 1 + 2 * MESSAGES, "the greeting, every message and every reply"


async def test_turns_are_settled_without_the_longer_wait_after_a_person_takes_over(
    stack: SessionStack, scripted: Scripted
) -> None:
    gate = Gate()
    caller = scripted(TextReply("Line 1"), TextReply("Line 2", gate=gate))
    session = await opened(stack, CONFIG.model_copy(update={"model": caller.string}))
    await gate.reached()
    assert await session.settlements() == [], "what is unsettled waits for the next reply"
    await session.handle.execute_update(SessionWorkflow.set_simulator, SetSimulator(enabled=False))
    await session.until_settled()
    first, *_ = await session.settlements()
    assert len(first.turns) == 1, "the first reply; the greeting was settled along with it"
    assert await session.reply("It is me now")
    await session.end()
    gate.open()
    await session.handle.result()


async def test_unattended_turns_without_their_own_delay_are_settled_like_others(
    stack: SessionStack, scripted: Scripted
) -> None:
    gate = Gate()
    caller = scripted(TextReply("Line 1", gate=gate))
    session = await stack.prepare(CLERK, model="demo")
    config = CONFIG.model_copy(update={"model": caller.string})
    timing = NEVER.model_copy(update={"settle_unattended_within": None, "settle_within": 3600.0})
    session.start = session.start.model_copy(update={"simulator": config, "timing": timing})
    await session.begin()
    await gate.reached()
    await session.billed(1)
    [greeting] = await session.settlements()
    assert len(greeting.turns) == 1, "after a quiet time a turn is settled at once"
    await session.end()
    gate.open()
    await session.handle.result()
