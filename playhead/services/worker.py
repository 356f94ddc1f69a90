"""The worker: what answers sessions and settles them, put together and kept running."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import structlog
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Interceptor, Worker, WorkerDeploymentConfig

from activities.heartbeats import MAX_PAUSE
from activities.judge import JudgeActivities
from activities.llm.providers import ModelProviders
from activities.llm.reply_publisher import LiveReplyPublisher
from activities.model import ModelActivities
from activities.network.webhook_sender import WebhookSender
from activities.settlement import SettlementActivities
from activities.simulated_caller import SimulationActivities
from activities.spending_limit import SpendingLimit
from activities.suites import SuiteActivities
from activities.tool_clients.dispatcher import ToolDispatcher
from activities.tools import ToolActivities
from activities.webhooks import WebhookActivities
from playhead.config.settings import Settings
from playhead.services.lifecycle import opened, require_migrated, spare_what_stays, until_reached
from playhead.services.live_streaming import watching_this_worker
from playhead.services.model_providers import build_providers
from playhead.temporal.client import TemporalUnavailable, ensure_reachable
from playhead.temporal.large_payloads import with_large_payloads
from store.agents import AgentStore
from store.database.connection import Database
from store.database.errors import StoreUnavailable
from store.organizations import OrganizationStore
from store.recorded_sessions import RecordedSessions
from store.sessions.event_log import EventLog
from store.sessions.sessions import SessionStore
from store.sessions.settlement import SettlementStore
from store.sessions.steps import StepStore
from store.sessions.webhook_deliveries import DeliveryLog
from store.suites import SuiteStore
from streaming.messages import Subscribers
from workflows.session.workflow import SessionWorkflow
from workflows.suite.workflow import SuiteWorkflow
from workflows.webhook_delivery import DeliverWebhookWorkflow

STICKY_TIMEOUT = timedelta(seconds=5)
"""How long a session's next task waits for the worker that has the session in memory before any other may take it."""
UNVERSIONED = "unversioned"
"""The build id that workers without one show in Temporal."""

log = structlog.get_logger(__name__)


def build_worker(
    settings: Settings,
    client: Client,
    database: Database,
    *,
    providers: ModelProviders | None = None,
    toolbox: ToolDispatcher | None = None,
    audience: Subscribers | None = None,
    interceptors: Sequence[Interceptor] = (),
) -> Worker:
    """The worker with every workflow and activity, its dependencies handed in. It is not running yet.

    Who hands in the toolbox closes its connections; without one they stay open as long as services let them. The
    audience is told what happens in the sessions it watches.
    """
    agents, steps, settlements = AgentStore(database), StepStore(database), SettlementStore(database)
    toolbox = toolbox or build_toolbox(settings)
    providers = providers or build_providers(prices=settings.prices, demo_delay_seconds=settings.demo_delay_seconds)
    model = ModelActivities(
        steps=steps,
        agents=agents,
        toolbox=toolbox,
        caller=providers,
        context_characters=settings.max_context_characters,
        narrator=LiveReplyPublisher(audience, EventLog(database)) if audience else None,
    )
    tools = ToolActivities(agents=agents, runner=toolbox)
    settlement = SettlementActivities(settlements, audience)
    limit = SpendingLimit(OrganizationStore(database))
    simulation = SimulationActivities(
        steps=steps, limit=limit, caller=providers, context_characters=settings.max_context_characters
    )
    judge = JudgeActivities(
        steps=steps,
        sessions=SessionStore(database),
        settlements=settlements,
        agents=agents,
        limit=limit,
        caller=providers,
        context_characters=settings.max_context_characters,
    )
    webhooks = WebhookActivities(
        sessions=SessionStore(database),
        deliveries=DeliveryLog(database),
        sender=WebhookSender(toolbox.guard),
        credentials=toolbox.credentials,
        own_secret=settings.webhook_secret,
    )
    suites = SuiteActivities(SuiteStore(database), RecordedSessions(SessionStore(database)))
    return Worker(
        with_large_payloads(client, database, threshold=settings.payload_offload_threshold_bytes),
        task_queue=settings.task_queue,
        workflows=[SessionWorkflow, SuiteWorkflow, DeliverWebhookWorkflow],
        activities=[
            model.generate_step,
            model.extract_variables,
            tools.call_tool,
            settlement.settle_turns,
            simulation.play_caller,
            judge.judge_session,
            webhooks.send_webhook,
            webhooks.record_delivery,
            suites.begin_run,
            suites.price_run,
            suites.record_run,
            suites.note_suite,
            suites.await_sessions,
        ],
        interceptors=interceptors,
        deployment_config=_deployment(settings),
        graceful_shutdown_timeout=timedelta(seconds=settings.shutdown_grace_seconds),
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        max_heartbeat_throttle_interval=MAX_PAUSE,
    )


def build_toolbox(settings: Settings) -> ToolDispatcher:
    """What calls the tools of agents, with the credentials and the addresses of the settings."""
    return ToolDispatcher(
        credentials=settings.credentials,
        organization_credentials=settings.organization_credentials,
        allowed=settings.egress_allowlist,
    )


async def run_worker(settings: Settings, stop: asyncio.Event, audience: Subscribers | None = None) -> None:
    """Work until `stop` is set, waiting at the start for the store and for Temporal.

    Raises CommandFailed when the store is not migrated or search attributes may not be registered, and
    whatever ends the worker for good.
    """
    async with opened(settings) as database:
        await until_reached("the store", lambda: require_migrated(database), unreachable=(StoreUnavailable,), stop=stop)
        client = await until_reached(
            "Temporal", lambda: ensure_reachable(settings), unreachable=(TemporalUnavailable,), stop=stop
        )
        providers = build_providers(prices=settings.prices, demo_delay_seconds=settings.demo_delay_seconds)
        await asyncio.to_thread(providers.load, settings.model)
        toolbox = build_toolbox(settings)
        try:
            async with watching_this_worker(database, audience) as watching:
                worker = build_worker(
                    settings, client, database, providers=providers, toolbox=toolbox, audience=watching
                )
                spare_what_stays()
                log.info("the worker takes tasks", task_queue=settings.task_queue, build_id=settings.build_id)
                await work_until(worker, stop)
        finally:
            await toolbox.close()
    log.info("the worker has stopped")


async def work_until(worker: Worker, stop: asyncio.Event) -> None:
    """Run a worker until the event is set or it fails; what it is doing may finish within its grace time."""
    working = asyncio.create_task(worker.run())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if not working.done():
            await worker.shutdown()
        await working


def _deployment(settings: Settings) -> WorkerDeploymentConfig:
    """Pinned to a version when a build id is set. Without one a name is given too: the SDK would make one up by
    hashing every loaded module, which takes a second and much longer where no bytecode is cached.
    """
    versioned = settings.build_id is not None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(settings.deployment_name, settings.build_id or UNVERSIONED),
        use_worker_versioning=versioned,
        default_versioning_behavior=VersioningBehavior.PINNED if versioned else VersioningBehavior.UNSPECIFIED,
    )
