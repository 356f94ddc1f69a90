"""Webhooks, as the OpenAPI document describes them: the end of a session."""

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
        204: {"description": "Accepted, like any other 2xx. Other responses, except 410, are retried for a day."},
        410: {"description": "Rejected for good: not retried."},
    },
)
def session_completed(
    report: Report,
    webhook_id: Annotated[str, Header(description="Id of the webhook; the same at each attempt.")],
    webhook_timestamp: Annotated[int, Header(description="Time of this attempt in seconds since 1970.")],
    webhook_signature: Annotated[
        str,
        Header(description="`v1,` and the Base64 of HMAC-SHA256 over `id.timestamp.body`, as in Standard Webhooks."),
    ],
) -> None:
    """Sent when a session has ended and all of its usage is in the ledger."""
