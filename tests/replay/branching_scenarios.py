"""Scenarios of recorded histories: rewinds, edits, regenerations, interruptions and cancellations."""

from contracts.sessions import message_update_id
from domain.sessions.commands import CancelTurn, EditMessage, Regenerate, RestoreBranch
from domain.turns.extraction import RECORD_TOOL
from tests.support.agents import ASKING, PARTING, limited
from tests.support.provider import ErrorReply, Gate, ModelProvider, TextReply, ToolCallReply
from tests.support.session_stack import SessionHandle, SessionStack
from tests.support.waiting import eventually
from workflows.session.workflow import SessionWorkflow


async def branching(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """A turn edited, regenerated after a failure, the greeting regenerated, and a branch restored."""
    model = provider.model("branching")
    model.script(TextReply("Two."), TextReply("Three."), ErrorReply(400), TextReply("Four."))
    session = await stack.open(model=model.string)
    first = await session.say("2")
    await edited(session, first.turn.id, "3")
    failed = await session.say("4")
    await regenerated(session, failed.turn.id)
    await regenerated(session, (await session.timeline()).turns[0].id)
    branch = (await session.timeline()).discarded_branches[-1]
    await session.handle.execute_update(SessionWorkflow.restore, RestoreBranch(branch_id=branch.id))
    await session.say("5")
    await session.until_settled()
    return session


async def stopping(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """Replies cancelled, interrupted by update and by signal, rolled back, and replaced by an edit while pending."""
    gates = [Gate() for _ in range(5)]
    model = provider.model("stopping")
    model.script(*(TextReply(f"Story {number} begins here.", gate=gate) for number, gate in enumerate(gates)))
    session = await stack.open(model=model.string)
    await session.say("Tell me", wait=False)
    await gates[0].reached()
    await session.handle.execute_update(SessionWorkflow.cancel, CancelTurn())
    await session.say("Another", wait=False)
    await gates[1].reached()
    await session.say("And another", on_busy="interrupt", wait=False)
    await gates[2].reached()
    await session.handle.signal("user_message", {"text": "No, this", "on_busy": "rollback"})
    await gates[3].reached()
    await session.handle.signal("user_message", {"text": "Or this", "on_busy": "interrupt"})
    await gates[4].reached()
    pending = (await session.timeline()).turns[-1]
    await edited(session, pending.id, "At last")
    await session.until_settled()
    return session


async def parting(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """A goodbye at an end node with variables, which are extracted after it; the end is reported last."""
    model = provider.model("parting")
    model.script(ToolCallReply("farewell"), TextReply("Goodbye."), ToolCallReply(RECORD_TOOL, '{"content": true}'))
    session = await stack.open(PARTING, model=model.string)
    await session.say("That is all")
    await session.handle.result()
    return session


async def last_look(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """A session that is ended by request at a node with variables, which are extracted then."""
    model = provider.model("last-look")
    model.script(TextReply("Which title?"), ToolCallReply(RECORD_TOOL, '{"title": "Emma", "copies": 2}'))
    session = await stack.open(ASKING, model=model.string)
    await session.say("Emma, two of it")
    await session.end()
    await session.handle.result()
    return session


async def deadline(stack: SessionStack, provider: ModelProvider) -> SessionHandle:
    """A session whose time is up while a reply is pending."""
    gate = Gate()
    model = provider.model("deadline")
    model.script(TextReply("Too late.", gate=gate))
    session = await stack.open(limited(deadline_seconds=5), model=model.string)
    await session.say("Hello", wait=False)
    await eventually(lambda: _is_over(session))
    gate.open()
    await session.handle.result()
    return session


async def edited(session: SessionHandle, turn_id: str, text: str) -> None:
    """Edit the message of a turn, and wait for the answer."""
    command = EditMessage(turn_id=turn_id, text=text, message_id=f"edit-{turn_id}")
    await session.handle.execute_update(SessionWorkflow.edit, command, id=message_update_id(command))


async def regenerated(session: SessionHandle, turn_id: str) -> None:
    """Regenerate the reply of a turn."""
    command = Regenerate(turn_id=turn_id, message_id=f"again-{turn_id}")
    await session.handle.execute_update(SessionWorkflow.regenerate, command, id=message_update_id(command))


async def _is_over(session: SessionHandle) -> bool:
    return (await session.status()).is_completed
