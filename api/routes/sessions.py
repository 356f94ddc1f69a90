"""The routes of sessions: open one, talk to it, rewind it, end it, and read what became of it."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Request
from pydantic import AwareDatetime
from starlette.responses import Response, StreamingResponse

from api.http.problems import error_docs
from api.http.responses import (
    COMMAND_ERRORS,
    READ_ERRORS,
    cursor_errors_as_problems,
    json_response,
    rendered_page,
    response_docs,
)
from api.http.sse import EVENT_STREAM, accepts_event_stream, start_stream
from api.routes.dependencies import (
    Cursor,
    Limit,
    Organization,
    OwnSession,
    ServicesDep,
    accepting_commands,
    note_subject,
)
from api.schemas import examples
from api.schemas.requests import (
    DecisionBody,
    EndBody,
    IdempotencyKey,
    NewMessage,
    NewSession,
    RewindBody,
    SimulatorSwitch,
)
from api.schemas.responses import Accepted, Branch, PageOf, Session, SessionSummary, Turn
from api.sessions.transcripts import MEDIA_TYPES
from domain.sessions.transcript import TranscriptFormat
from domain.turns.turn import SessionStatus

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

_WRITTEN: Final[dict[str, Any]] = {
    media_type: {"schema": {"type": "object" if form == "json" else "string"}, "example": examples.TRANSCRIPTS[form]}
    for form, media_type in MEDIA_TYPES.items()
}

Accept = Annotated[str | None, Header(max_length=1000, description="`text/event-stream` for a stream of the reply.")]
LastEventId = Annotated[
    str | None, Header(max_length=100, description="The id of the last event that the client has; none: a snapshot.")
]
WATCHED = (
    "A snapshot and the events after it, or the events after `Last-Event-ID`. Each has its form in docs/events.md."
)
Wait = Annotated[bool, Query(description="False: answer 202 as soon as it is accepted.")]


@router.post(
    "",
    status_code=201,
    response_model=Session,
    dependencies=[accepting_commands],
    responses=response_docs(
        *COMMAND_ERRORS,
        "quota_exceeded",
        status=201,
        says="The session, greeted. A greeting that failed at the model leaves it in status `error`.",
        example={**examples.SESSION, "turns": [examples.GREETING], "status": "idle", "revision": 2},
        also={202: {"model": Session, "description": "With wait=false: the session, not greeted yet."}},
    ),
)
async def open_session(
    request: Request, body: NewSession, organization: Organization, services: ServicesDep, wait: Wait = True
) -> Response:
    """Open a session with an agent, and answer when the agent has greeted."""
    open_or_begin = services.session_creator.open if wait else services.session_creator.begin
    session, snapshot = await open_or_begin(organization, body)
    note_subject(request, "session", session.id)
    return services.session_renderer.session(session, snapshot, status=201 if wait else 202)


@router.get(
    "",
    response_model=PageOf[SessionSummary],
    responses=response_docs("invalid_request", *READ_ERRORS, example=examples.page_of(examples.SESSION_SUMMARY)),
)
async def list_sessions(
    *,
    organization: Organization,
    services: ServicesDep,
    status: SessionStatus | None = None,
    agent: Annotated[str | None, Query(max_length=200, description="An agent's id or name.")] = None,
    suite: Annotated[str | None, Query(max_length=200, description="A suite's id.")] = None,
    created_after: AwareDatetime | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Sessions of the organization, newest first, as they were last recorded (up to two seconds ago)."""
    with cursor_errors_as_problems():
        page = await services.sessions.list(
            organization,
            status=status,
            agent=agent,
            suite=suite,
            created_after=created_after,
            limit=limit,
            cursor=cursor,
        )
    return rendered_page(map(services.session_renderer.recorded_summary, page.items), page.next_cursor)


@router.get(
    "/{session_id}",
    response_model=Session,
    responses=response_docs("not_found", *READ_ERRORS, example=examples.SESSION),
)
async def get_session(session: OwnSession, services: ServicesDep) -> Response:
    """The session with its visible turns: live, or as last recorded when it is closed or no worker answers."""
    return services.session_renderer.session(session, await services.session_reader.now(session))


@router.get(
    "/{session_id}/turns",
    response_model=PageOf[Turn],
    responses=response_docs(
        "invalid_request", "not_found", *READ_ERRORS, example=examples.page_of(examples.GREETING, examples.TURN)
    ),
)
async def list_turns(session: OwnSession, services: ServicesDep, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """The visible branch, newest page first: each page is oldest first, and `next_cursor` leads further back."""
    page = await services.session_reader.turns(session, limit, cursor)
    return rendered_page(page.items, page.next_cursor)


@router.get(
    "/{session_id}/branches",
    response_model=PageOf[Branch],
    responses=response_docs("invalid_request", "not_found", *READ_ERRORS, example=examples.page_of(examples.BRANCH)),
)
async def list_branches(
    session: OwnSession, services: ServicesDep, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """The branches that rewinds gave up, the newest first. Nothing that was said or spent on them is lost."""
    page = await services.session_reader.branches(session, limit, cursor)
    return rendered_page(page.items, page.next_cursor)


@router.post(
    "/{session_id}/messages",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=response_docs(
        *COMMAND_ERRORS,
        "quota_exceeded",
        "revision_conflict",
        "turn_in_progress",
        "idempotency_mismatch",
        "superseded",
        "session_ended",
        "queue_full",
        "model_failed",
        example=examples.SESSION,
        says="The session after the reply",
        also={202: {"model": Accepted, "description": "With wait=false: the message was accepted."}},
    ),
)
async def send_message(
    *,
    session: OwnSession,
    body: NewMessage,
    services: ServicesDep,
    wait: Wait = True,
    idempotency_key: IdempotencyKey = None,
    accept: Accept = None,
) -> Response:
    """Say something, and answer when the agent has replied. With `Accept: text/event-stream`, the reply is heard as it
    is spoken: the events of the turn, up to its end.

    The same `message_id` (or `Idempotency-Key`) with the same text joins the first call and gives its answer, however
    often it is sent: after a timeout or a broken connection, send the message again.
    """
    command = body.command(idempotency_key, wait=wait)
    if wait and accepts_event_stream(accept):
        return services.stream_of(await start_stream(services.message_streams.encoded(session, command)))
    if not wait:
        return json_response(await services.messages.accept(session, command), status=202)
    return services.session_renderer.session(session, await services.messages.answer(session, command))


@router.get(
    "/{session_id}/events",
    response_class=StreamingResponse,
    responses=response_docs(
        "invalid_request", "not_found", *READ_ERRORS, example=examples.EVENTS, says=WATCHED, media_type=EVENT_STREAM
    ),
)
async def watch_session(session: OwnSession, services: ServicesDep, last_event_id: LastEventId = None) -> Response:
    """The session as it is, and then everything that happens in it, until it is over.

    After a lost connection, `Last-Event-ID` goes on where the client was: every event comes once, in order.
    """
    return services.stream_of(await start_stream(services.session_streams.events(session, last_event_id)))


@router.post(
    "/{session_id}/rewind",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=response_docs(*COMMAND_ERRORS, "revision_conflict", "session_ended", example=examples.SESSION),
)
async def rewind(session: OwnSession, body: RewindBody, services: ServicesDep) -> Response:
    """Point the cursor at a turn, or before it: the session is then seen up to there, and the next message goes on
    from there. What comes after is kept as a discarded branch once that message is sent; nothing is unspent."""
    return services.session_renderer.session(session, await services.commands.rewind(session, body.command()))


@router.post(
    "/{session_id}/approvals/{call_id}/{decision}",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=response_docs(
        *COMMAND_ERRORS, "revision_conflict", "approval_not_pending", "session_ended", example=examples.SESSION
    ),
)
async def decide(
    session: OwnSession,
    call_id: str,
    decision: Literal["approve", "deny"],
    services: ServicesDep,
    body: DecisionBody | None = None,
) -> Response:
    """Let a tool call of `approvals` be made, or not. Without an answer until `expires_at` it is not made."""
    command = (body or DecisionBody()).command(call_id)
    return services.session_renderer.session(session, await services.commands.decide(session, command, decision))


@router.post(
    "/{session_id}/end",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=response_docs(*COMMAND_ERRORS, "revision_conflict", example=examples.SESSION),
)
async def end(session: OwnSession, services: ServicesDep, body: EndBody | None = None) -> Response:
    """End the session. Ending an ended session changes nothing."""
    command = (body or EndBody()).command()
    return services.session_renderer.session(session, await services.commands.end(session, command))


@router.get(
    "/{session_id}/transcript",
    response_class=Response,
    responses={
        200: {"description": "The transcript, in the form that was asked for", "content": _WRITTEN},
        **error_docs("not_found", *READ_ERRORS),
    },
)
async def get_transcript(
    session: OwnSession,
    services: ServicesDep,
    form: Annotated[TranscriptFormat, Query(alias="format", description="How it is written.")] = "text",
) -> Response:
    """The visible branch as people read it, all of it: who said what, which tools were called, what went wrong."""
    return await services.transcripts.answer(session, form)


@router.delete(
    "/{session_id}",
    status_code=204,
    response_class=Response,
    dependencies=[accepting_commands],
    responses=error_docs("not_found", "wait_timeout", *READ_ERRORS),
)
async def erase_session(session_id: str, organization: Organization, services: ServicesDep) -> Response:
    """Erase a session everywhere: its workflow is stopped and deleted from Temporal, and what was said and recorded is
    deleted from the store. What it cost is billed first, and stays in the ledger. Erasing it again changes nothing."""
    await services.erasure.erase(organization, session_id)
    return Response(status_code=204)


@router.put(
    "/{session_id}/simulator",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=response_docs(
        *COMMAND_ERRORS, "quota_exceeded", "revision_conflict", "session_ended", example=examples.SESSION
    ),
)
async def set_simulator(session: OwnSession, body: SimulatorSwitch, services: ServicesDep) -> Response:
    """Have a simulated caller talk to the agent, or stop it.

    A person who says something takes over from it; switch it on again to hand the conversation back. A new `config`
    begins a new caller. It ends the session when it hangs up or reaches one of its limits.
    """
    if body.enabled:
        await services.spending_limits.require(session.organization_id)
    return services.session_renderer.session(session, await services.commands.set_simulator(session, body.command()))
