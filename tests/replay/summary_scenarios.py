"""Scenarios of recorded histories: summaries of long conversations."""

from domain.agents.definition import Compaction
from tests.support.agents import CLERK
from tests.support.provider import ErrorReply, Gate, ModelProvider, TextReply
from tests.support.session_stack import SessionHandle, SessionStack


async def summaries(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """A summary that fails, one that is used, over several runs, and one that the end of the session cancels."""
    model, writer, gate = provider.model("long-talk"), provider.model("summaries"), Gate()
    model.window = 100_000
    writer.script(ErrorReply(400), TextReply("A first part."))
    compaction = Compaction(model=writer.string)
    agent = CLERK.model_copy(update={"max_context_tokens": 1_000, "compaction": compaction})
    session = await stack.open(agent, model=model.string)
    number = 0
    while "A first part." not in model.journal[-1].instructions if model.journal else True:
        number += 1
        await session.say(f"{number} " + "word " * 60)
    written = len(writer.journal)
    writer.script(*[TextReply("Too late.", gate=gate)] * 9)
    while len(writer.journal) == written:
        number += 1
        await session.say(f"{number} " + "word " * 60)
    await gate.reached()
    await session.end()
    await session.handle.result()
    return session
