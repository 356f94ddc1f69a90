"""The route of simulated callers: switch one on in a session, off, or hand the conversation back to it."""

from fastapi import APIRouter
from starlette.responses import Response

from api import examples
from api.answers import COMMAND_ERRORS, described
from api.bodies import SimulatorSwitch
from api.representations import Session
from api.services import In, OwnSession, accepting_commands

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])


@router.put(
    "/{session_id}/simulator",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=described(
        *COMMAND_ERRORS, "quota_exceeded", "revision_conflict", "session_ended", example=examples.SESSION
    ),
)
async def set_simulator(session: OwnSession, body: SimulatorSwitch, within: In) -> Response:
    """Have a simulated caller talk to the agent, or stop it.

    A person who says something takes over from it; switch it on again to hand the conversation back. A new `config`
    begins a new caller. It ends the session when it hangs up or reaches one of its limits.
    """
    if body.enabled:
        await within.budgets.require(session.organization_id)
    return within.answers.session(session, await within.moves.set_simulator(session, body.command()))
