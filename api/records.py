"""The routes of what a session leaves: its transcript, and its branches side by side."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from api import examples
from api.answers import READ_ERRORS, described, json_answer
from api.problems import documented
from api.representations import Comparison
from api.services import In, OwnSession
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
