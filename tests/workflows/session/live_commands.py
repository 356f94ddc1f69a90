"""The commands of a live session that the stage does not know."""

from contracts.sessions import SendMessageResult, message_update_id
from domain.sessions.commands import CancelTurn, EditMessage, Regenerate, RestoreBranch
from domain.sessions.views import SessionHead
from tests.support.stage import Session
from workflows.session.workflow import SessionWorkflow


async def edit(session: Session, command: EditMessage) -> SendMessageResult:
    """Say something else in a turn."""
    return await session.handle.execute_update(SessionWorkflow.edit, command, id=message_update_id(command))


async def regenerate(session: Session, command: Regenerate) -> SendMessageResult:
    """Have a turn answered again."""
    return await session.handle.execute_update(SessionWorkflow.regenerate, command, id=message_update_id(command))


async def cancel(session: Session, command: CancelTurn) -> SessionHead:
    """Stop the pending reply."""
    return await session.handle.execute_update(SessionWorkflow.cancel, command)


async def restore(session: Session, command: RestoreBranch) -> SessionHead:
    """Go back to a branch that was given up."""
    return await session.handle.execute_update(SessionWorkflow.restore, command)
