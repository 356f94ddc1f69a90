"""The routes of sessions: open one, talk to it, rewind it, end it, and read what became of it."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Request
from pydantic import AwareDatetime
from starlette.responses import Response, StreamingResponse

from api.http.problems import documented
from api.http.responses import COMMAND_ERRORS, READ_ERRORS, cursor_from_outside, described, json_answer, rendered_page
from api.http.sse import EVENT_STREAM, begun, wants_events
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
from domain.sessions.transcript import Form
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
    responses=described(
        *COMMAND_ERRORS,
        "quota_exceeded",
        status=201,
        says="The session, greeted. A greeting that failed at the model leaves it in status `error`.",
        example={**examples.SESSION, "turns": [examples.GREETING], "status": "idle", "revision": 2},
        also={202: {"model": Session, "description": "With wait=false: the session, not greeted yet."}},
    ),
)
async def open_session(
    request: Request, body: NewSession, organization: Organization, within: ServicesDep, wait: Wait = True
) -> Response:
    """Open a session with an agent, and answer when the agent has greeted."""
    open_or_begin = within.opening.open if wait else within.opening.begin
    session, snapshot = await open_or_begin(organization, body)
    note_subject(request, "session", session.id)
    return within.answers.session(session, snapshot, status=201 if wait else 202)


@router.get(
    "",
    response_model=PageOf[SessionSummary],
    responses=described("invalid_request", *READ_ERRORS, example=examples.page_of(examples.SESSION_SUMMARY)),
)
async def list_sessions(
    *,
    organization: Organization,
    within: ServicesDep,
    status: SessionStatus | None = None,
    agent: Annotated[str | None, Query(max_length=200, description="An agent's id or name.")] = None,
    suite: Annotated[str | None, Query(max_length=200, description="A suite's id.")] = None,
    created_after: AwareDatetime | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Sessions of the organization, newest first, as they were last recorded (up to two seconds ago)."""
    with cursor_from_outside():
        page = await within.sessions.list(
            organization,
            status=status,
            agent=agent,
            suite=suite,
            created_after=created_after,
            limit=limit,
            cursor=cursor,
        )
    return rendered_page(map(within.answers.recorded_summary, page.items), page.next_cursor)


@router.get(
    "/{session_id}", response_model=Session, responses=described("not_found", *READ_ERRORS, example=examples.SESSION)
)
async def get_session(session: OwnSession, within: ServicesDep) -> Response:
    """The session with its visible turns: live, or as last recorded when it is closed or no worker answers."""
    return within.answers.session(session, await within.timelines.now(session))


@router.get(
    "/{session_id}/turns",
    response_model=PageOf[Turn],
    responses=described(
        "invalid_request", "not_found", *READ_ERRORS, example=examples.page_of(examples.GREETING, examples.TURN)
    ),
)
async def list_turns(session: OwnSession, within: ServicesDep, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """The visible branch, newest page first: each page is oldest first, and `next_cursor` leads further back."""
    page = await within.timelines.turns(session, limit, cursor)
    return rendered_page(page.items, page.next_cursor)


@router.get(
    "/{session_id}/branches",
    response_model=PageOf[Branch],
    responses=described("invalid_request", "not_found", *READ_ERRORS, example=examples.page_of(examples.BRANCH)),
)
async def list_branches(session: OwnSession, within: ServicesDep, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """The branches that rewinds gave up, the newest first. Nothing that was said or spent on them is lost."""
    page = await within.timelines.branches(session, limit, cursor)
    return rendered_page(page.items, page.next_cursor)


@router.post(
    "/{session_id}/messages",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=described(
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
    within: ServicesDep,
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
    if wait and wants_events(accept):
        return within.stream_of(await begun(within.message_streams.events(session, command)))
    if not wait:
        return json_answer(await within.messages.accept(session, command), status=202)
    return within.answers.session(session, await within.messages.answer(session, command))


@router.get(
    "/{session_id}/events",
    response_class=StreamingResponse,
    responses=described(
        "invalid_request", "not_found", *READ_ERRORS, example=examples.EVENTS, says=WATCHED, media_type=EVENT_STREAM
    ),
)
async def watch_session(session: OwnSession, within: ServicesDep, last_event_id: LastEventId = None) -> Response:
    """The session as it is, and then everything that happens in it, until it is over.

    After a lost connection, `Last-Event-ID` goes on where the client was: every event comes once, in order.
    """
    return within.stream_of(await begun(within.watching.events(session, last_event_id)))


@router.post(
    "/{session_id}/rewind",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=described(*COMMAND_ERRORS, "revision_conflict", "session_ended", example=examples.SESSION),
)
async def rewind(session: OwnSession, body: RewindBody, within: ServicesDep) -> Response:
    """Point the cursor at a turn, or before it: the session is then seen up to there, and the next message goes on
    from there. What comes after is kept as a discarded branch once that message is sent; nothing is unspent."""
    return within.answers.session(session, await within.moves.rewind(session, body.command()))


@router.post(
    "/{session_id}/approvals/{call_id}/{decision}",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=described(
        *COMMAND_ERRORS, "revision_conflict", "approval_not_pending", "session_ended", example=examples.SESSION
    ),
)
async def decide(
    session: OwnSession,
    call_id: str,
    decision: Literal["approve", "deny"],
    within: ServicesDep,
    body: DecisionBody | None = None,
) -> Response:
    """Let a tool call of `approvals` be made, or not. Without an answer until `expires_at` it is not made."""
    command = (body or DecisionBody()).command(call_id)
    return within.answers.session(session, await within.moves.decide(session, command, decision))


@router.post(
    "/{session_id}/end",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=described(*COMMAND_ERRORS, "revision_conflict", example=examples.SESSION),
)
async def end(session: OwnSession, within: ServicesDep, body: EndBody | None = None) -> Response:
    """End the session. Ending an ended session changes nothing."""
    command = (body or EndBody()).command()
    return within.answers.session(session, await within.moves.end(session, command))


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
    within: ServicesDep,
    form: Annotated[Form, Query(alias="format", description="How it is written.")] = "text",
) -> Response:
    """The visible branch as people read it, all of it: who said what, which tools were called, what went wrong."""
    return await within.transcripts.answer(session, form)


@router.delete(
    "/{session_id}",
    status_code=204,
    response_class=Response,
    dependencies=[accepting_commands],
    responses=documented("not_found", "wait_timeout", *READ_ERRORS),
)
async def erase_session(session_id: str, organization: Organization, within: ServicesDep) -> Response:
    """Erase a session everywhere: its workflow is stopped and deleted from Temporal, and what was said and recorded is
    deleted from the store. What it cost is billed first, and stays in the ledger. Erasing it again changes nothing."""
    await within.erasing.erase(organization, session_id)
    return Response(status_code=204)


@router.put(
    "/{session_id}/simulator",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=described(
        *COMMAND_ERRORS, "quota_exceeded", "revision_conflict", "session_ended", example=examples.SESSION
    ),
)
async def set_simulator(session: OwnSession, body: SimulatorSwitch, within: ServicesDep) -> Response:
    """Have a simulated caller talk to the agent, or stop it.

    A person who says something takes over from it; switch it on again to hand the conversation back. A new `config`
    begins a new caller. It ends the session when it hangs up or reaches one of its limits.
    """
    if body.enabled:
        await within.budgets.require(session.organization_id)
    return within.answers.session(session, await within.moves.set_simulator(session, body.command()))
