"""Routes of dograh's text chat API: the sessions of `/v1`, by their integer ids."""

from collections.abc import AsyncGenerator
from typing import Annotated, Final
from uuid import uuid4

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from api.dograh import errors, examples, schemas
from api.dograh.run_filters import read_filters
from api.dograh.runs import run_of, summary_of, summary_of_workflow, workflow_of
from api.dograh.schemas import CreateBody, MessageBody, TextSessionEnd, TextSessionRewind
from api.dograh.streams import text_chat_stream
from api.dograh.text_sessions import text_session
from api.http.responses import MAX_PAGE_BYTES, json_response
from api.http.sse import start_stream
from api.routes.dependencies import Organization, Services, ServicesDep, accepting_commands, log_subject
from api.schemas.requests import AgentVersion, CreationKey, NewSession
from api.streams.event_log import StreamEvent
from domain.agents.definition import AgentDefinition
from domain.sessions.commands import EndSession, Rewind, SendMessage
from domain.sessions.views import TimelineView
from store.sessions.sessions import StoredSession

listing = APIRouter(prefix="/api/v1/workflow", tags=["dograh text chat"], route_class=errors.DograhRoute)
"""Routes whose paths would also match `{workflow_id}`: they must be included before `router`."""
router = APIRouter(prefix="/api/v1/workflow/{workflow_id}", tags=["dograh text chat"], route_class=errors.DograhRoute)

SESSIONS = "/text-chat/sessions"
WORKFLOW_STATUSES: Final = frozenset({"active", "archived"})
FILTERS: Final = (
    'JSON, a list such as `[{"attribute": "status", "value": {"status": "completed"}}]`. Attributes: `dateRange` '
    "(`from`, `to`), `dispositionCode` (`codes`), `duration` in seconds and `tokenUsage` in dollars (`min`, `max`), "
    "`status`."
)
WorkflowNumber = Annotated[int, Path(description="`workflow_id` of the agent.")]
RunNumber = Annotated[int, Path(description="`workflow_run_id` of the session.")]


async def _own_session(
    request: Request, workflow_id: WorkflowNumber, run_id: RunNumber, organization: Organization, services: ServicesDep
) -> StoredSession:
    session = await services.session_reader.numbered(organization, run_id)
    if session is None or session.agent_number != workflow_id:
        raise HTTPException(404, errors.SESSION_NOT_FOUND)
    log_subject(request, "session", session.id)
    return session


OwnSession = Annotated[StoredSession, Depends(_own_session)]


@router.post(
    SESSIONS,
    response_model=schemas.TextSession,
    dependencies=[accepting_commands],
    responses=errors.response_docs(examples.TEXT_SESSION),
)
async def create_text_session(
    *,
    request: Request,
    workflow_id: WorkflowNumber,
    body: CreateBody,
    organization: Organization,
    services: ServicesDep,
    idempotency_key: CreationKey = None,
) -> Response:
    """Create a text chat with the latest version of an agent, and respond when the greeting is complete."""
    new = await _new_session(workflow_id, body, organization, services)
    session, snapshot = await services.session_creator.create(organization, new, idempotency_key)
    log_subject(request, "session", session.id)
    if snapshot.newest_status == "failed":
        view, _ = await _view_and_agent(session, services)
        raise HTTPException(500, errors.failed(view.turns[-1].error if view.turns else None))
    return await _session_response(session, services)


@router.post(
    f"{SESSIONS}/stream",
    response_class=StreamingResponse,
    dependencies=[accepting_commands],
    responses=errors.stream_docs(),
)
async def create_streamed_text_session(
    *,
    request: Request,
    workflow_id: WorkflowNumber,
    body: CreateBody,
    organization: Organization,
    services: ServicesDep,
    idempotency_key: CreationKey = None,
) -> Response:
    """Create a text chat, and stream its greeting. The last event is the response of the route without `/stream`."""
    new = await _new_session(workflow_id, body, organization, services)
    session, opened = await services.session_creator.prepare(organization, new, idempotency_key)
    log_subject(request, "session", session.id)
    return await _streamed(session, services.message_streams.opening(session, opened), services)


@router.get(
    f"{SESSIONS}/{{run_id}}",
    response_model=schemas.TextSession,
    responses=errors.response_docs(examples.TEXT_SESSION),
)
async def get_text_session(session: OwnSession, services: ServicesDep) -> Response:
    """A text chat with its whole conversation."""
    return await _session_response(session, services)


@router.post(
    f"{SESSIONS}/{{run_id}}/messages",
    response_model=schemas.TextSession,
    dependencies=[accepting_commands],
    responses=errors.response_docs(examples.TEXT_SESSION),
)
async def send_text_message(
    session: OwnSession, body: MessageBody, services: ServicesDep, idempotency_key: CreationKey = None
) -> Response:
    """Send a message, and respond when the agent has replied. Every call without a key is a new message."""
    await services.messages.answer(session, _command(body, idempotency_key))
    return await _session_response(session, services)


@router.post(
    f"{SESSIONS}/{{run_id}}/messages/stream",
    response_class=StreamingResponse,
    dependencies=[accepting_commands],
    responses=errors.stream_docs(),
)
async def stream_text_message(
    session: OwnSession, body: MessageBody, services: ServicesDep, idempotency_key: CreationKey = None
) -> Response:
    """Send a message, and stream the reply. The last event is the response of the route without `/stream`."""
    return await _streamed(session, services.message_streams.events(session, _command(body, idempotency_key)), services)


@router.post(
    f"{SESSIONS}/{{run_id}}/rewind",
    response_model=schemas.TextSession,
    dependencies=[accepting_commands],
    responses=errors.response_docs(examples.TEXT_SESSION),
)
async def rewind_text_session(session: OwnSession, body: TextSessionRewind, services: ServicesDep) -> Response:
    """Rewind to a turn; the next message discards the turns after it."""
    command = Rewind(turn_id=body.cursor_turn_id, expected_revision=body.expected_revision)
    await services.commands.rewind(session, command)
    return await _session_response(session, services)


@router.post(
    f"{SESSIONS}/{{run_id}}/end",
    response_model=schemas.TextSession,
    dependencies=[accepting_commands],
    responses=errors.response_docs(examples.TEXT_SESSION),
)
async def end_text_session(session: OwnSession, services: ServicesDep, body: TextSessionEnd | None = None) -> Response:
    """End a text chat. Ending it again changes nothing."""
    expected = body.expected_revision if body else None
    await services.commands.end(session, EndSession(expected_revision=expected))
    return await _session_response(session, services)


@listing.get(
    "/fetch",
    response_model=schemas.WorkflowList,
    responses=errors.response_docs([examples.WORKFLOW_SUMMARY]),
)
async def list_workflows(
    organization: Organization,
    services: ServicesDep,
    status: Annotated[str | None, Query(max_length=200, description="`active`, `archived`, or both.")] = None,
) -> Response:
    """All agents as workflows, newest first: up to 10,000. Every agent is active."""
    wanted = {word.strip() for word in status.split(",")} if status else WORKFLOW_STATUSES
    if unknown := sorted(wanted - WORKFLOW_STATUSES):
        known = sorted(WORKFLOW_STATUSES)
        raise HTTPException(422, f"Invalid workflow status filter: {unknown}. Allowed values: {known}.")
    if "active" not in wanted:
        return json_response(schemas.WorkflowList(()))
    counts = await services.sessions.counts(organization)
    found = await services.agents.names(organization)
    return json_response(
        schemas.WorkflowList(tuple(summary_of_workflow(agent, counts.get(agent.id, 0)) for agent in found))
    )


@listing.get("/fetch/{workflow_id}", response_model=schemas.Workflow, responses=errors.response_docs(examples.WORKFLOW))
@router.get("", response_model=schemas.Workflow, responses=errors.response_docs(examples.WORKFLOW))
async def get_workflow(workflow_id: WorkflowNumber, organization: Organization, services: ServicesDep) -> Response:
    """The latest version of an agent as a workflow in the form of dograh's editor."""
    agent = await services.agents.numbered(organization, workflow_id)
    if agent is None:
        raise HTTPException(404, f"Workflow with id {workflow_id} not found")
    return json_response(workflow_of(agent))


@router.get("/runs", response_model=schemas.RunPage, responses=errors.response_docs(examples.RUN_PAGE))
async def list_runs(
    workflow_id: WorkflowNumber,
    organization: Organization,
    services: ServicesDep,
    *,
    page: Annotated[int, Query(ge=1, le=1_000_000, description="Number of the page, from 1.")] = 1,
    limit: Annotated[int, Query(ge=1, le=100, description="Runs per page.")] = 50,
    filters: Annotated[str | None, Query(max_length=10_000, description=FILTERS)] = None,
    sort_by: Annotated[str | None, Query(max_length=64, description="`created_at` or `duration`.")] = None,
    sort_order: Annotated[str | None, Query(max_length=64, description="`asc` or `desc`.")] = "desc",
) -> Response:
    """The text chats of an agent as runs, newest first by default."""
    conditions, applied = read_filters(filters)
    agent = await services.agents.numbered(organization, workflow_id)
    if agent is None:
        raise HTTPException(404, f"Workflow with id {workflow_id} not found")
    found, total = await services.sessions.numbered_page(
        organization,
        agent.id,
        filters=conditions,
        by_duration=sort_by == "duration",
        ascending=sort_order == "asc",
        limit=limit,
        offset=(page - 1) * limit,
    )
    runs = tuple(summary_of(session, session.head) for session in found if session.head is not None)
    _require_room(runs)
    answer = schemas.RunPage(
        runs=runs,
        total_count=total,
        page=page,
        limit=limit,
        total_pages=(total + limit - 1) // limit,
        applied_filters=applied,
    )
    return json_response(answer)


def _require_room(runs: tuple[schemas.RunSummary, ...]) -> None:
    """Reject a page that is too large. Pages are numbered, so one that ended early would lose runs."""
    size = 0
    for number, run in enumerate(runs):
        size += len(run.model_dump_json())
        if size > MAX_PAGE_BYTES and number:
            limit = f"Ask for a limit of {number} or less"
            raise HTTPException(422, f"The runs of this page are too large together. {limit}.")


@router.get("/runs/{run_id}", response_model=schemas.Run, responses=errors.response_docs(examples.RUN))
async def get_run(
    workflow_id: WorkflowNumber, run_id: RunNumber, organization: Organization, services: ServicesDep
) -> Response:
    """A text chat as a run, with its usage, cost and log."""
    session = await services.session_reader.numbered(organization, run_id)
    if session is None or session.agent_number != workflow_id:
        raise HTTPException(404, errors.RUN_NOT_FOUND)
    view, agent = await _view_and_agent(session, services)
    return json_response(run_of(session, view, agent))


async def _new_session(
    workflow_id: int, body: CreateBody, organization: Organization, services: Services
) -> NewSession:
    """The session to create, with the latest version of an agent."""
    agent = await services.agents.numbered(organization, workflow_id)
    if agent is None:
        raise HTTPException(404, f"Workflow with ID {workflow_id} not found")
    return NewSession(
        agent=AgentVersion(id=agent.id),
        name=body.name or None,
        initial_context=body.initial_context or {},
        annotations=body.annotations,
    )


def _command(body: MessageBody, key: str | None) -> SendMessage:
    """The command for a message, with a new id unless the client sent a key."""
    message_id = key or f"msg_{uuid4().hex}"
    return SendMessage(text=body.text, message_id=message_id, expected_revision=body.expected_revision)


async def _streamed(session: StoredSession, events: AsyncGenerator[StreamEvent | None], services: Services) -> Response:
    """A turn as a stream. An error before its first event is an ordinary response."""
    agent = await services.agents.definition(session.agent_id, session.agent_version)

    async def answer() -> schemas.TextSession:
        return text_session(session, await services.session_reader.whole(session), agent)

    return services.event_stream(await start_stream(text_chat_stream(events, agent, answer)))


async def _session_response(session: StoredSession, services: Services) -> Response:
    view, agent = await _view_and_agent(session, services)
    return json_response(text_session(session, view, agent))


async def _view_and_agent(session: StoredSession, services: Services) -> tuple[TimelineView, AgentDefinition]:
    """The session with all its turns, and the version of the agent that it is pinned to."""
    agent = await services.agents.definition(session.agent_id, session.agent_version)
    return await services.session_reader.whole(session), agent
