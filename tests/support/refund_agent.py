"""An agent whose tool needs approval, and the user who approves it."""

from pytest_httpserver import HTTPServer

from domain.agents.definition import AgentDefinition, parse_definition
from domain.sessions.commands import DecideApproval
from domain.sessions.timeline import WaitingApproval
from domain.sessions.views import SessionHead
from tests.support.session_stack import SessionHandle
from tests.support.waiting import eventually
from workflows.session.workflow import SessionWorkflow


def refunding(service: HTTPServer, *, timeout_seconds: int = 600) -> AgentDefinition:
    """An agent whose only tool refunds money and needs approval."""
    return parse_definition(
        {
            "name": "refunds",
            "start": "desk",
            "nodes": {"desk": {"prompt": "Help.", "greeting": "Hello.", "tools": ["refund"]}},
            "tools": {
                "refund": {
                    "kind": "http",
                    "description": "Gives money back.",
                    "parameters": {"type": "object", "properties": {"amount": {"type": "number"}}},
                    "url": service.url_for("/refunds"),
                    "approval": {"timeout_seconds": timeout_seconds, "reason": "A refund of {{amount}}."},
                }
            },
        }
    )


async def waiting_approval(session: SessionHandle) -> WaitingApproval:
    """The call that waits, once there is one."""
    return (await waiting_approvals(session, 1))[0]


async def waiting_approvals(session: SessionHandle, count: int) -> tuple[WaitingApproval, ...]:
    """The waiting calls, once there are at least `count`."""

    async def waiting() -> tuple[WaitingApproval, ...]:
        approvals = (await session.status()).approvals
        return approvals if len(approvals) >= count else ()

    return await eventually(waiting)


async def approve(session: SessionHandle, call_id: str) -> SessionHead:
    """Approve a call."""
    return await session.handle.execute_update(SessionWorkflow.approve, DecideApproval(call_id=call_id))


async def deny(session: SessionHandle, call_id: str, reason: str) -> SessionHead:
    """Deny a call."""
    return await session.handle.execute_update(SessionWorkflow.deny, DecideApproval(call_id=call_id, reason=reason))
