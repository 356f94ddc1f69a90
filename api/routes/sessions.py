"""Routes of sessions: create, list and read them, send messages, rewind, end and erase."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Path, Query, Request
from pydantic import AfterValidator, AwareDatetime, BeforeValidator
from starlette.responses import Response, StreamingResponse

from api.http.problems import error_docs, invalid
from api.http.responses import (
    COMMAND_ERRORS,
    NOT_MODIFIED,
    READ_ERRORS,
    IfNoneMatch,
    json_response,
    page_within_bytes,
    rendered_page,
    response_docs,
    tag_of,
    unless_known,
)
from api.http.revocation import KEY_SCOPE
from api.http.sse import EVENT_STREAM, accepts_event_stream, start_stream
from api.routes.day_range import Zone, range_of_days
from api.routes.dependencies import (
    AgentName,
    AgentVersion,
    Cursor,
    Limit,
    Organization,
    OwnSession,
    ServicesDep,
    WatchedSession,
    accepting_commands,
    log_subject,
)
from api.schemas import examples
from api.schemas.requests import (
    ClientResultBody,
    CreationKey,
    DecisionBody,
    EndBody,
    IdempotencyKey,
    NewMessage,
    NewSession,
    RewindBody,
    SimulatorSwitch,
    storable_or_none,
    written_out,
)
from api.schemas.responses import Accepted, Branch, EventTicket, PageOf, Session, SessionSummary, TreeTurn, Turn
from api.schemas.steps import Step
from api.sessions.transcripts import MEDIA_TYPES
from domain.sessions.timeline import Purpose
from domain.sessions.transcript import TranscriptFormat
from domain.turns.turn import SessionStatus
from store.billing.billed_sessions import BilledFilter
from store.database.pagination import Page
from store.sessions.sessions import SessionOrder, StoredSession

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

_TRANSCRIPT_CONTENT: Final[dict[str, Any]] = {
    media_type: {"schema": {"type": "object" if form == "json" else "string"}, "example": examples.TRANSCRIPTS[form]}
    for form, media_type in MEDIA_TYPES.items()
}

Accept = Annotated[str | None, Header(max_length=1000, description="`text/event-stream` to stream the reply.")]
LastEventId = Annotated[
    str | None,
    Header(max_length=100, description="Id of the last event received; without it the stream starts with a snapshot."),
]
Ticket = Annotated[
    str | None, Query(max_length=300, description="A ticket in place of a key, for clients that send no headers.")
]
STREAM_DESCRIPTION = (
    "A snapshot and the events after it, or the events after `Last-Event-ID`. docs/events.md describes each event."
)
Wait = Annotated[bool, Query(description="False: respond with 202 as soon as the command is accepted.")]


@router.post(
    "",
    status_code=201,
    response_model=Session,
    dependencies=[accepting_commands],
    responses=response_docs(
        *COMMAND_ERRORS,
        "quota_exceeded",
        "idempotency_mismatch",
        "session_erased",
        status=201,
        description="The session with its greeting. Its status is `error` when the greeting failed at the model.",
        example={**examples.SESSION, "turns": [examples.GREETING], "status": "idle", "revision": 2},
        also={202: {"model": Session, "description": "With wait=false: the session before its greeting."}},
    ),
)
async def create_session(
    *,
    request: Request,
    body: NewSession,
    organization: Organization,
    services: ServicesDep,
    wait: Wait = True,
    idempotency_key: CreationKey = None,
) -> Response:
    """Create a session with an agent, and respond when the greeting is complete.

    A repeat with the same `Idempotency-Key` returns the session that the first call created, as it is now.
    """
    create = services.session_creator.create if wait else services.session_creator.create_without_greeting
    session, snapshot = await create(organization, body, idempotency_key)
    log_subject(request, "session", session.id)
    return services.session_renderer.session(session, snapshot, status=201 if wait else 202)


@router.get(
    "",
    response_model=PageOf[SessionSummary],
    responses=response_docs(
        "invalid_request", *READ_ERRORS, example=examples.page_of(examples.SESSION_SUMMARY), also=NOT_MODIFIED
    ),
)
async def list_sessions(
    *,
    organization: Organization,
    services: ServicesDep,
    status: SessionStatus | None = None,
    agent: AgentName = None,
    agent_version: AgentVersion = None,
    suite: Annotated[str | None, Query(max_length=200, description="A suite's id.")] = None,
    created_after: Annotated[AwareDatetime | None, BeforeValidator(written_out)] = None,
    forked_from: Annotated[str | None, Query(max_length=200, description="The session they were forked from.")] = None,
    billed_model: Annotated[
        str | None,
        Query(max_length=200, description="A model that the ledger charged them for."),
        AfterValidator(storable_or_none),
    ] = None,
    billed_purpose: Annotated[Purpose | None, Query(description="A purpose that the ledger charged them for.")] = None,
    billed_from: Annotated[date | None, Query(description="The first day on which the ledger charged them.")] = None,
    billed_to: Annotated[date | None, Query(description="The last such day; by default today.")] = None,
    zone: Zone,
    q: Annotated[
        str | None,
        Query(min_length=1, max_length=200, description="A part of the name, id, tags or initial context."),
        AfterValidator(storable_or_none),
    ] = None,
    order: Annotated[SessionOrder, Query(description="updated: the last changed first.")] = "newest",
    limit: Limit = 50,
    cursor: Cursor = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Sessions of the organization, newest first, as last recorded (up to two seconds ago).

    With `q` each page searches the next 2,000 sessions: it may hold few or none, although `next_cursor` leads to more.

    The `billed` filters select the sessions behind a row of `GET /v1/usage`: those with a ledger row that matches all
    of the filters, by default in the last 30 days. Days are those of the time zone.
    """
    billed = None
    if (billed_model, billed_purpose, billed_from, billed_to) != (None, None, None, None):
        start, end = range_of_days(
            billed_from, billed_to, datetime.now(UTC), zone, parameters=("billed_from", "billed_to")
        )
        billed = BilledFilter(start=start, end=end, model=billed_model, purpose=billed_purpose)

    async def listed(limit: int, cursor: str | None) -> Page[tuple[StoredSession, int]]:
        page = await services.sessions.list(
            organization,
            status=status,
            agent=agent,
            agent_version=agent_version,
            suite=suite,
            created_after=created_after,
            forked_from=forked_from,
            billed=billed,
            search=q,
            order=order,
            limit=limit,
            cursor=cursor,
        )
        positions = await services.sessions.positions(page.items)
        return Page(tuple((each, positions.get(each.id, -1) + 1) for each in page.items), page.next_cursor)

    response = await page_within_bytes(
        listed, limit, cursor, lambda found: services.session_renderer.recorded_summary(*found)
    )
    return unless_known(response, if_none_match, tag_of(bytes(response.body)))


@router.get(
    "/{session_id}",
    response_model=Session,
    responses=response_docs("not_found", *READ_ERRORS, example=examples.SESSION, also=NOT_MODIFIED),
)
async def get_session(session: OwnSession, services: ServicesDep, if_none_match: IfNoneMatch = None) -> Response:
    """The session with its visible turns: live, or as last recorded when it is closed or no worker answers."""
    snapshot = await services.session_reader.now(session)
    tag = tag_of(snapshot.head.model_dump_json().encode())
    return unless_known(services.session_renderer.session(session, snapshot), if_none_match, tag)


@router.get(
    "/{session_id}/turns",
    response_model=PageOf[Turn],
    responses=response_docs(
        "invalid_request", "not_found", *READ_ERRORS, example=examples.page_of(examples.GREETING, examples.TURN)
    ),
)
async def list_turns(
    session: OwnSession,
    services: ServicesDep,
    limit: Limit = 50,
    cursor: Cursor = None,
    around: Annotated[
        str | None,
        Query(max_length=200, description="A turn of any branch: the page around it on its branch, without a cursor."),
    ] = None,
) -> Response:
    """The visible branch, newest page first. Each page is oldest first, and `next_cursor` leads to older turns."""
    if around is None:
        page = await services.session_reader.turns(session, limit, cursor)
    elif cursor is None:
        page = await services.tree.around(session, around, limit)
    else:
        problem = "cannot be combined with a cursor"
        detail = "The query parameter around begins a list. Go on with the cursor alone."
        raise invalid("invalid_request", detail, [("query.around", problem)])
    return rendered_page(page.items, page.next_cursor)


@router.get(
    "/{session_id}/turns/{turn_id}/steps",
    response_model=PageOf[Step],
    responses=response_docs("invalid_request", "not_found", *READ_ERRORS, example=examples.page_of(examples.STEP)),
)
async def list_steps(
    session: OwnSession,
    turn_id: Annotated[str, Path(max_length=200, description="A turn of any branch.")],
    services: ServicesDep,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """The model calls of a turn, oldest first, each with the request that was sent: instructions, messages, offered
    tools and settings, without credentials. Calls that failed before a reply are not among them."""
    page = await services.turn_steps.page(session, turn_id, limit, cursor)
    return rendered_page(page.items, page.next_cursor)


@router.get(
    "/{session_id}/tree",
    response_model=PageOf[TreeTurn],
    responses=response_docs("invalid_request", "not_found", *READ_ERRORS, example=examples.page_of(examples.TREE_TURN)),
)
async def list_tree(
    session: OwnSession,
    services: ServicesDep,
    q: Annotated[
        str | None,
        Query(min_length=1, max_length=200, description="Words of a message, a reply, or a tool's input or result."),
        AfterValidator(storable_or_none),
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Every turn of every branch in the order in which they were opened, without their events.

    With `q` only turns with these words, and `text` is the text around them. A page may hold few or none, although
    `next_cursor` leads to more.
    """
    return json_response(await services.tree.turns(session, limit, cursor, q))


@router.get(
    "/{session_id}/branches",
    response_model=PageOf[Branch],
    responses=response_docs("invalid_request", "not_found", *READ_ERRORS, example=examples.page_of(examples.BRANCH)),
)
async def list_branches(
    session: OwnSession, services: ServicesDep, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """The branches that were discarded by rewinds, newest first, with their turns and costs."""
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
        description="The session after the reply",
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
    """Send a message, and respond when the agent has replied. With `Accept: text/event-stream`, stream the events of
    its turn.

    A repeat with the same `message_id` (or `Idempotency-Key`) and text joins the first call and returns its result:
    after a timeout or a lost connection, send the message again.
    """
    streams = wait and accepts_event_stream(accept)
    command = body.command(idempotency_key, wait=wait, hands_over=not streams)
    if streams:
        return services.event_stream(await start_stream(services.message_streams.encoded(session, command)))
    if not wait:
        return json_response(await services.messages.accept(session, command), status=202)
    return services.session_renderer.session(session, await services.messages.answer(session, command))


@router.get(
    "/{session_id}/events",
    response_class=StreamingResponse,
    responses=response_docs(
        "invalid_request",
        "not_found",
        *READ_ERRORS,
        example=examples.EVENTS,
        description=STREAM_DESCRIPTION,
        media_type=EVENT_STREAM,
        also={204: {"description": "The session has ended, and `Last-Event-ID` is its last event."}},
    ),
)
async def watch_session(
    session: WatchedSession,
    services: ServicesDep,
    last_event_id: LastEventId = None,
    ticket: Ticket = None,  # read by `WatchedSession`
) -> Response:
    """Stream a snapshot of the session, then its events until it ends.

    After a lost connection, `Last-Event-ID` resumes the stream: each event arrives once and in order. 204 says that
    the client has all events of a session that has ended: a browser's EventSource then stops.
    """
    if await services.session_streams.has_everything(session, last_event_id):
        return Response(status_code=204)
    return services.event_stream(await start_stream(services.session_streams.events(session, last_event_id)))


@router.post(
    "/{session_id}/rewind",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=response_docs(*COMMAND_ERRORS, "revision_conflict", "session_ended", example=examples.SESSION),
)
async def rewind(session: OwnSession, body: RewindBody, services: ServicesDep) -> Response:
    """Move the cursor to a turn, or before it: the visible branch ends there, and the next message continues from it.
    Later turns are kept as a discarded branch once that message is sent. A rewind does not refund usage."""
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
    """Approve or deny a tool call of `approvals`. Without a decision until `expires_at` it is not made."""
    command = (body or DecisionBody()).command(call_id)
    return services.session_renderer.session(session, await services.commands.decide(session, command, decision))


@router.post(
    "/{session_id}/client-calls/{call_id}/result",
    response_model=Session,
    dependencies=[accepting_commands],
    responses=response_docs(
        *COMMAND_ERRORS,
        "revision_conflict",
        "client_call_not_pending",
        "session_ended",
        example=examples.SESSION,
    ),
)
async def return_result(
    session: OwnSession,
    call_id: Annotated[str, Path(max_length=300, description="A call of `client_calls`.")],
    body: ClientResultBody,
    services: ServicesDep,
) -> Response:
    """Return the result of a client tool. The response comes at once; the turn goes on when all its calls have results.
    Without a result until `expires_at` the model receives an error. The same result again changes nothing."""
    snapshot = await services.commands.return_results(session, body.command(call_id))
    return services.session_renderer.session(session, snapshot)


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
        200: {"description": "The transcript in the requested format", "content": _TRANSCRIPT_CONTENT},
        **error_docs("not_found", *READ_ERRORS),
    },
)
async def get_transcript(
    session: OwnSession,
    services: ServicesDep,
    form: Annotated[TranscriptFormat, Query(alias="format", description="Format of the transcript.")] = "text",
) -> Response:
    """Transcript of the whole visible branch: messages, replies, tool calls and errors."""
    return await services.transcripts.response(session, form)


@router.delete(
    "/{session_id}",
    status_code=204,
    response_class=Response,
    dependencies=[accepting_commands],
    responses=error_docs("not_found", "wait_timeout", *READ_ERRORS),
)
async def erase_session(session_id: str, organization: Organization, services: ServicesDep) -> Response:
    """Erase a session everywhere: its workflow is terminated and deleted from Temporal, and its conversation and
    records from the store. Its usage is billed first and stays in the ledger. Erasing it again changes nothing."""
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
    """Have a simulated user talk to the agent, or stop it.

    A person who sends a message takes over from it; switch it on again to hand the conversation back. A new `config`
    starts a new simulated user. It ends the session when it hangs up or reaches one of its limits.
    """
    if body.enabled:
        await services.spending_limits.require(session.organization_id)
    return services.session_renderer.session(session, await services.commands.set_simulator(session, body.command()))


@router.post(
    "/{session_id}/events/ticket",
    status_code=201,
    response_model=EventTicket,
    responses=response_docs(
        "not_found",
        *READ_ERRORS,
        status=201,
        description="The ticket, valid for a minute",
        example=examples.EVENT_TICKET,
    ),
)
async def create_event_ticket(request: Request, session: OwnSession, services: ServicesDep) -> Response:
    """Create a ticket for the event stream of this session, for clients that send no headers.

    A browser opens `GET /v1/sessions/{id}/events?ticket=...` with it. The stream may last longer than the ticket.
    """
    ticket, expires_at = await services.event_tickets.issue(session.id, request.scope.get(KEY_SCOPE))
    return json_response(EventTicket(ticket=ticket, expires_at=expires_at), status=201)
