"""Dependencies of the routes: the services, built once for each application, the caller, and path objects."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request
from temporalio.client import Client

from api.documents.reader import DocumentReader
from api.documents.service import DocumentService
from api.dograh.embed_chats import Clock, EmbedChats, utc_now
from api.http import request_metrics
from api.http.auth import Authenticator
from api.http.client_address import Network
from api.http.problems import unavailable
from api.http.reading_threads import ReadingThreads
from api.http.request_metrics import Metrics
from api.http.revocation import KEY_SCOPE, StreamRevocation
from api.http.sse import EventStream, StartedStream
from api.http.tickets import EventTickets
from api.openai.conversations import Conversations
from api.openai.responses_api.service import Responses
from api.openai.service import ChatCompletions
from api.openai.session_names import SessionNames
from api.openai.stopping import ReplyStopper
from api.reports.data import SuiteReportService
from api.sessions.commands import SessionCommands
from api.sessions.comparison import BranchComparison
from api.sessions.creation import SessionCreator
from api.sessions.erasure import ErasureService
from api.sessions.forks import ForkService
from api.sessions.messages import MessageService
from api.sessions.reader import SessionReader
from api.sessions.rendering import SessionRenderer
from api.sessions.spending_limits import SpendingLimits
from api.sessions.steps import TurnSteps
from api.sessions.taken_results import TakenResults
from api.sessions.transcripts import TranscriptService
from api.sessions.tree import SessionTree
from api.settings import ApiSettings
from api.streams.message_stream import MessageStreams
from api.streams.session_stream import SessionStreams
from api.suites.rendering import SuiteRenderer
from api.suites.runs import SuiteRuns
from api.suites.service import SuiteService
from api.suites.stream import SuiteStreams
from api.temporal.availability import Availability
from api.temporal.deletion import WorkflowDeletion
from api.temporal.session_client import SessionClient
from store.agents import AgentStore
from store.api_keys import KeyStore
from store.billing.ledger import LedgerStore
from store.billing.usage_periods import PeriodUsage
from store.database.connection import Database
from store.documents import DocumentStore
from store.embed import EmbedStore
from store.organizations import OrganizationStore
from store.rate_limits import RateLimitStore
from store.recorded_sessions import RecordedSessions
from store.sessions.chat_addresses import ChatAddressStore
from store.sessions.erasure import ErasureStore
from store.sessions.event_log import EventLog
from store.sessions.forks import ForkStore
from store.sessions.sessions import SessionStore, StoredSession
from store.sessions.steps import StepStore
from store.suites import SuiteStore
from streaming.hub import LiveHub

STEP_CACHE_BYTES = 8 * 1024 * 1024
"""Memory for cached steps of conversations."""


@dataclass(frozen=True)
class Services:
    """The services behind the routes of one application."""

    agents: AgentStore
    default_model: str
    document_store: DocumentStore
    documents: DocumentService
    keyless: bool
    session_renderer: SessionRenderer
    availability: Availability
    spending_limits: SpendingLimits
    branch_comparison: BranchComparison
    session_client: SessionClient
    chat_completions: ChatCompletions
    session_names: SessionNames
    authenticator: Authenticator
    embed_chats: EmbedChats
    erasure: ErasureService
    ledger: LedgerStore
    message_streams: MessageStreams
    messages: MessageService
    metrics: Metrics
    period_usage: PeriodUsage
    reading_threads: ReadingThreads
    responses: Responses
    commands: SessionCommands
    forks: ForkService
    session_creator: SessionCreator
    sessions: SessionStore
    sse_write_timeout: float
    event_tickets: EventTickets
    stream_revocation: StreamRevocation
    suite_renderer: SuiteRenderer
    suite_reports: SuiteReportService
    suite_runs: SuiteRuns
    suite_store: SuiteStore
    suite_streams: SuiteStreams
    suites: SuiteService
    session_reader: SessionReader
    transcripts: TranscriptService
    tree: SessionTree
    trusted_proxies: tuple[Network, ...]
    turn_steps: TurnSteps
    session_streams: SessionStreams

    async def written(self, write: Callable[[], str | bytes]) -> str | bytes:
        """A long text, written in a thread beside the event loop. Raises Problem("unavailable") on a busy machine."""
        try:
            return await self.reading_threads.run(write)
        except TimeoutError as error:
            raise unavailable("api", "The API is too busy to write this text. Try again in a second.") from error

    def event_stream(self, events: StartedStream) -> EventStream:
        """A response that streams events."""
        return EventStream(events, write_timeout=self.sse_write_timeout, revocation=self.stream_revocation)


def build_services(
    settings: ApiSettings, client: Client, database: Database, hub: LiveHub, *, clock: Clock = utc_now
) -> Services:
    """Build the services. Events published to the hub are streamed to watchers.

    `clock` is the time source for the rate limits and the expiry of public chats.
    """
    agents, sessions, ledger = AgentStore(database), SessionStore(database), LedgerStore(database)
    metrics, keys, documents = Metrics(), KeyStore(database), DocumentStore(database)
    availability = Availability(client, database)
    session_client = SessionClient(client, task_queue=settings.task_queue, wait_seconds=settings.request_timeout)
    session_reader = SessionReader(session_client, sessions, agents, availability)
    spending_limits = SpendingLimits(OrganizationStore(database))
    erasures, workflow_deletion = ErasureStore(database), WorkflowDeletion(client)
    session_creator = SessionCreator(
        session_client,
        session_reader,
        sessions,
        agents,
        forks=ForkStore(database),
        erasures=erasures,
        workflow_deletion=workflow_deletion,
        spending_limits=spending_limits,
        model=settings.model,
        timing=settings.timing,
        webhook_url=settings.webhook_url,
    )
    session_renderer = SessionRenderer(namespace=client.namespace, ui_url=settings.temporal_ui_url)
    log, steps, keepalive = EventLog(database), StepStore(database, STEP_CACHE_BYTES), settings.sse_keepalive
    taken_results = TakenResults(sessions, log, steps, session_reader)
    messages = MessageService(
        session_client, session_reader, sessions, spending_limits, metrics=metrics, taken_results=taken_results
    )
    message_streams = MessageStreams(hub, log, messages, session_reader, keepalive_seconds=keepalive)
    suite_store, addresses = SuiteStore(database), ChatAddressStore(database)
    suite_renderer = SuiteRenderer(namespace=client.namespace, ui_url=settings.temporal_ui_url)
    suite_runs = SuiteRuns(suite_store)
    suites = SuiteService(
        client,
        suite_store,
        agents,
        spending_limits,
        RecordedSessions(sessions),
        task_queue=settings.task_queue,
        model=settings.model,
        timing=settings.timing,
        wait_seconds=settings.request_timeout,
    )
    chat_completions = ChatCompletions(
        messages,
        message_streams,
        session_creator,
        session_reader,
        agents,
        conversations=Conversations(session_reader, sessions, addresses),
        addresses=addresses,
        stopper=ReplyStopper(session_client, session_reader, addresses, is_enabled=settings.stop_on_disconnect),
    )
    commands = SessionCommands(session_client, session_reader, taken_results)
    erasure = ErasureService(workflow_deletion, erasures, sessions, session_reader)
    return Services(
        agents=agents,
        default_model=settings.model,
        document_store=documents,
        documents=DocumentService(documents, agents, DocumentReader()),
        keyless=settings.keyless,
        session_renderer=session_renderer,
        availability=availability,
        spending_limits=spending_limits,
        branch_comparison=BranchComparison(session_reader, sessions),
        session_client=session_client,
        chat_completions=chat_completions,
        session_names=SessionNames(settings.chat_id_headers, settings.chat_id_fields),
        authenticator=Authenticator(keys, keyless=settings.keyless, allowed_origins=settings.allowed_origins),
        embed_chats=EmbedChats(
            EmbedStore(database),
            RateLimitStore(database),
            agents=agents,
            session_creator=session_creator,
            session_reader=session_reader,
            messages=messages,
            commands=commands,
            clock=clock,
        ),
        erasure=erasure,
        ledger=ledger,
        message_streams=message_streams,
        messages=messages,
        metrics=metrics,
        period_usage=PeriodUsage(database),
        reading_threads=ReadingThreads(),
        responses=Responses(
            chat_completions,
            session_reader=session_reader,
            sessions=sessions,
            agents=agents,
            erasure=erasure,
        ),
        commands=commands,
        forks=ForkService(session_creator, session_reader, sessions, agents),
        session_creator=session_creator,
        sessions=sessions,
        sse_write_timeout=settings.sse_write_timeout,
        event_tickets=EventTickets(keys, keyless=settings.keyless),
        stream_revocation=StreamRevocation(keys),
        suite_renderer=suite_renderer,
        suite_reports=SuiteReportService(suite_store, sessions, suite_renderer),
        suite_runs=suite_runs,
        suite_streams=SuiteStreams(suite_store, suite_runs, suite_renderer, keepalive_seconds=keepalive),
        suite_store=suite_store,
        suites=suites,
        session_reader=session_reader,
        transcripts=TranscriptService(session_reader, sessions),
        tree=SessionTree(session_reader, sessions),
        trusted_proxies=settings.trusted_proxies,
        turn_steps=TurnSteps(session_reader, sessions, agents, steps),
        session_streams=SessionStreams(hub, log, session_reader, session_renderer, keepalive_seconds=keepalive),
    )


def log_subject(request: Request, kind: str, name: str) -> None:
    """Add the id of an object to the log line of a request."""
    request_metrics.log_subject(request.scope, kind, name)


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


# These call each other directly: resolving nested dependencies would double the time of a message request.
async def _caller(request: Request) -> str:
    organization_id = await (await _services(request)).authenticator.organization_of(request)
    log_subject(request, "organization", organization_id)
    return organization_id


async def _own_session(request: Request, session_id: str) -> StoredSession:
    organization_id = await _caller(request)
    return await (await _services(request)).session_reader.session(organization_id, session_id)


async def _watched_session(request: Request, session_id: str) -> StoredSession:
    """The session of an event stream, whose address may hold a ticket in place of a key."""
    ticket = request.query_params.get("ticket")
    if ticket is None:
        return await _own_session(request, session_id)
    services = await _services(request)
    holder = await services.event_tickets.verify(ticket, session_id)
    log_subject(request, "organization", holder.organization_id)
    if holder.fingerprint is not None:
        request.scope[KEY_SCOPE] = holder.fingerprint
    return await services.session_reader.session(holder.organization_id, session_id)


async def _require_available(request: Request) -> None:
    error = (await _services(request)).availability.error()
    if error is not None:
        raise error


ServicesDep = Annotated[Services, Depends(_services)]
"""The services of the application."""
Organization = Annotated[str, Depends(_caller)]
"""The organization of the caller. Requests without one are rejected."""
OwnSession = Annotated[StoredSession, Depends(_own_session)]
"""The session in the path, which must belong to the caller's organization."""
WatchedSession = Annotated[StoredSession, Depends(_watched_session)]
"""The session in the path of an event stream."""
Limit = Annotated[int, Query(ge=1, le=200, description="Maximum number of items.")]
AgentName = Annotated[str | None, Query(max_length=200, description="An agent's id or name.")]
AgentVersion = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="A version of the agent.")]
Cursor = Annotated[str | None, Query(max_length=500, description="`next_cursor` of the previous page.")]

accepting_commands = Depends(_require_available)
"""For routes that change something: rejected at once while the store or Temporal is down."""
