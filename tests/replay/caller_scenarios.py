"""Scenarios of recorded histories: simulated users."""

from contracts.sessions import Timing
from domain.sessions.caller_config import CallerLimits, SetSimulator, SimulatorConfig
from tests.support.provider import ErrorReply, Gate, ModelProvider, TextReply, ToolCallReply
from tests.support.session_stack import QUICK, SessionHandle, SessionStack
from tests.support.waiting import eventually
from workflows.session.workflow import SessionWorkflow


async def simulated_caller(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """An opening, a message that is too late because a person takes over, a hand-back by signal, and a hang-up."""
    caller, gate = provider.model("simulated-caller"), Gate()
    caller.script(
        *(TextReply("I want a book about fish."), TextReply("Nobody hears this.", gate=gate)),
        *(TextReply(f"Another question, number {number}.") for number in range(5)),
        ToolCallReply("hang_up", '{"reason": "done"}'),
    )
    config = SimulatorConfig(goal="Borrow a book.", opening="Good morning!", model=caller.string)
    session = await opened(stack, provider, config)
    await gate.reached()
    await session.say("Let me take over.")
    await session.handle.execute_update(SessionWorkflow.set_simulator, SetSimulator(enabled=False))
    await session.handle.signal(SessionWorkflow.switch_simulator, True)
    await session.handle.result()
    return session


async def lines_with_replies(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """A suite's session: the simulated user's messages are generated with replies; one fails and is repeated alone."""
    caller = provider.model("lines-with-replies")
    caller.script(
        TextReply("I want a book about fish."),
        TextReply("And one about birds."),
        ErrorReply(500),
        TextReply("That is all."),
    )
    caller.script(ToolCallReply("hang_up", '{"reason": "done"}'))
    config = SimulatorConfig(goal="Borrow a book.", model=caller.string)
    session = await opened(stack, provider, config, suite_id="suite_1")
    await session.handle.result()
    return session


async def caller_fails(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """A simulated user whose model fails, which ends the session."""
    caller = provider.model("caller-fails")
    caller.script(ErrorReply(400))
    session = await opened(stack, provider, SimulatorConfig(goal="Borrow a book.", model=caller.string))
    await session.handle.result()
    return session


async def unattended(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """A simulated user whose twelve turns are settled in eights and at the end, without watchers."""
    caller = provider.model("unattended")
    caller.script(*(TextReply(f"Question {number}") for number in range(12)))
    limits = CallerLimits(max_turns=12, max_stalled_turns=None)
    config = SimulatorConfig(goal="Borrow a book.", model=caller.string, min_turns=12, limits=limits)
    patient = QUICK.model_copy(update={"settle_unattended_within": 3600.0})
    session = await opened(stack, provider, config, timing=patient)
    await session.handle.result()
    return session


async def opened(
    stack: SessionStack,
    provider: ModelProvider,
    config: SimulatorConfig,
    timing: Timing = QUICK,
    suite_id: str | None = None,
) -> SessionHandle:
    """A session that begins with a simulated user."""
    session = await stack.prepare(model=provider.model("answers-a-caller").string, timing=timing)
    session.start = session.start.model_copy(update={"simulator": config, "suite_id": suite_id})
    await session.begin()
    await eventually(session.status)
    return session
