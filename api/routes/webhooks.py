"""What this API sends: the webhook of a session's end, described as its routes are."""

from typing import Annotated

from fastapi import APIRouter, Body, Header
from starlette.responses import Response

from api.schemas.examples import SESSION_COMPLETED
from domain.webhooks.session_report import SessionCompleted

router = APIRouter()

Report = Annotated[SessionCompleted, Body(examples=[SESSION_COMPLETED])]


@router.post(
    "session.completed",
    status_code=204,
    response_class=Response,
    responses={
        204: {"description": "Taken, as with any other 2xx. Everything else is retried for a day, but for a 410."},
        410: {"description": "No more of it, please: it is not tried again."},
    },
)
def session_completed(
    report: Report,
    webhook_id: Annotated[str, Header(description="The same at every attempt.")],
    webhook_timestamp: Annotated[int, Header(description="When this attempt was made: seconds since 1970.")],
    webhook_signature: Annotated[
        str,
        Header(
            description="`v1,` and the Base64 of HMAC-SHA256 over `id.timestamp.body`, as Standard Webhooks has it."
        ),
    ],
) -> None:
    """A session has ended, and everything that was spent in it is in the ledger."""
