"""Commands of a live session that `SessionHandle` does not have."""

from contracts.sessions import SendMessageResult, message_update_id
from domain.sessions.commands import CancelTurn, EditMessage, Regenerate, RestoreBranch
from domain.sessions.views import SessionHead
from tests.support.session_stack import SessionHandle
from workflows.session.workflow import SessionWorkflow


async def edit(session: SessionHandle, command: EditMessage) -> SendMessageResult:
    """Edit the message of a turn."""
    return await session.handle.execute_update(SessionWorkflow.edit, command, id=message_update_id(command))


async def regenerate(session: SessionHandle, command: Regenerate) -> SendMessageResult:
    """Regenerate the reply of a turn."""
    return await session.handle.execute_update(SessionWorkflow.regenerate, command, id=message_update_id(command))


async def cancel(session: SessionHandle, command: CancelTurn) -> SessionHead:
    """Stop the pending reply."""
    return await session.handle.execute_update(SessionWorkflow.cancel, command)


async def restore(session: SessionHandle, command: RestoreBranch) -> SessionHead:
    """Restore a discarded branch."""
    return await session.handle.execute_update(SessionWorkflow.restore, command)
