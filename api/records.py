"""The routes of what a session leaves: its transcript, its branches side by side, and how nothing is left of it."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from api import examples
from api.answers import READ_ERRORS, described, json_answer
from api.problems import documented
from api.representations import Comparison
from api.services import In, Organization, OwnSession, accepting_commands
from api.transcripts import MEDIA_TYPES
from domain.transcript import Form

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

BranchName = Annotated[str, Query(max_length=200, description="A branch's id, or `active` for the visible one.")]
_WRITTEN: Final[dict[str, Any]] = {
    media_type: {"schema": {"type": "object" if form == "json" else "string"}, "example": examples.TRANSCRIPTS[form]}
    for form, media_type in MEDIA_TYPES.items()
}


@router.get(
    "/{session_id}/transcript",
    response_class=Response,
    responses={
        200: {"description": "The transcript, in the form that was asked for", "content": _WRITTEN},
        **documented("not_found", *READ_ERRORS),
    },
)
async def get_transcript(
    session: OwnSession,
    within: In,
    form: Annotated[Form, Query(alias="format", description="How it is written.")] = "text",
) -> Response:
    """The visible branch as people read it, all of it: who said what, which tools were called, what went wrong."""
    return await within.transcripts.answer(session, form)


@router.get(
    "/{session_id}/branches/compare",
    response_model=Comparison,
    responses=described("not_found", *READ_ERRORS, example=examples.COMPARISON),
)
async def compare_branches(session: OwnSession, within: In, a: BranchName, b: BranchName = "active") -> Response:
    """Two branches side by side: how many turns they share, the last of these, and the turns that each has after it."""
    return json_answer(await within.comparing.compare(session, a, b))


@router.delete(
    "/{session_id}",
    status_code=204,
    response_class=Response,
    dependencies=[accepting_commands],
    responses=documented("not_found", "wait_timeout", *READ_ERRORS),
)
async def erase_session(session_id: str, organization: Organization, within: In) -> Response:
    """Erase a session everywhere: its workflow is stopped and deleted from Temporal, and what was said and recorded is
    deleted from the store. What it cost is billed first, and stays in the ledger. Erasing it again changes nothing."""
    await within.erasing.erase(organization, session_id)
    return Response(status_code=204)
