"""The worker service: activities and workflows with their dependencies."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import structlog
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Interceptor, Worker, WorkerDeploymentConfig

from activities.judge import JudgeActivities
from activities.llm.messages import serialized_step
from activities.llm.providers import ModelProviders
from activities.llm.reply_publisher import LiveReplyPublisher
from activities.model import ModelActivities
from activities.network.webhook_sender import WebhookSender
from activities.reconciler import ReconcilerOptions
from activities.reconciliation import ReconciliationActivities
from activities.recovery import RecoveryActivities
from activities.settlement import Recorder, SettlementActivities
from activities.simulated_caller import CallerPlayer, SimulationActivities
from activities.spending_limit import SpendingLimit
from activities.suites import SuiteActivities
from activities.summaries import SummaryActivities
from activities.tool_clients.dispatcher import ToolDispatcher
from activities.tools import ToolActivities
from activities.webhooks import WebhookActivities
from playhead.config.settings import Settings
from playhead.services.lifecycle import freeze_garbage_collector, open_store, require_migrated, wait_until_reachable
from playhead.services.live_streaming import worker_subscribers
from playhead.services.model_providers import build_providers
from playhead.services.reconciliation import build_reconciler, report_pairing
from playhead.temporal.client import TemporalUnavailable, ensure_reachable
from playhead.temporal.large_payloads import with_large_payloads
from playhead.temporal.reconciliation_schedule import keep_schedule
from store.agents import AgentStore
from store.database.connection import Database
from store.database.daemon_threads import in_daemon_thread
from store.database.errors import StoreUnavailable
from store.documents import DocumentStore
from store.organizations import OrganizationStore
from store.recorded_sessions import RecordedSessions
from store.sessions.event_log import EventLog
from store.sessions.recovery import RecoveryStore
from store.sessions.sessions import SessionStore
from store.sessions.settlement import SettlementStore
from store.sessions.steps import StepStore
from store.sessions.webhook_deliveries import DeliveryLog
from store.suites import SuiteStore
from streaming.messages import Subscribers
from workflows.reconciliation import ReconciliationWorkflow
from workflows.session.workflow import SessionWorkflow
from workflows.suite.workflow import SuiteWorkflow
from workflows.webhook_delivery import DeliverWebhookWorkflow

STICKY_TIMEOUT = timedelta(seconds=5)
"""Time for which a session's next task is reserved for the worker that has the session in memory."""
UNVERSIONED = "unversioned"
"""Build id shown in Temporal for workers without one."""

log = structlog.get_logger(__name__)
WORKFLOW_TASK_POLLS = 8
POLLS_FOR_NEW_RUNS = 0.5
"""Concurrent polls for workflow tasks, and the share of them for runs that no worker has cached, as for a run's first
task. With the SDK's single poll, that task waited behind queries to the previous run, which had just ended."""


def build_worker(
    settings: Settings,
    client: Client,
    database: Database,
    *,
    providers: ModelProviders | None = None,
    dispatcher: ToolDispatcher | None = None,
    subscribers: Subscribers | None = None,
    interceptors: Sequence[Interceptor] = (),
) -> Worker:
    """The worker with all workflows and activities, not started.

    The caller that passes a tool dispatcher closes it. `subscribers` get the live events of the sessions they watch.
    """
    agents, steps, settlements = AgentStore(database), StepStore(database), SettlementStore(database)
    dispatcher = dispatcher or build_tool_dispatcher(settings, database)
    providers = providers or build_model_providers(settings)
    recorder = Recorder(settlements, subscribers)
    limit = SpendingLimit(OrganizationStore(database))
    player = CallerPlayer(steps=steps, limit=limit, caller=providers, max_context_tokens=settings.max_context_tokens)
    model = ModelActivities(
        steps=steps,
        agents=agents,
        dispatcher=dispatcher,
        caller=providers,
        max_context_tokens=settings.max_context_tokens,
        recorder=recorder,
        player=player,
        publisher=LiveReplyPublisher(subscribers, EventLog(database)) if subscribers else None,
    )
    tools = ToolActivities(agents=agents, runner=dispatcher)
    settlement = SettlementActivities(recorder)
    simulation = SimulationActivities(player)
    summaries = SummaryActivities(
        steps=steps,
        agents=agents,
        limit=limit,
        caller=providers,
        max_context_tokens=settings.max_context_tokens,
    )
    judge = JudgeActivities(
        steps=steps,
        sessions=SessionStore(database),
        settlements=settlements,
        suites=SuiteStore(database),
        agents=agents,
        limit=limit,
        caller=providers,
        context_characters=settings.max_context_characters,
    )
    webhooks = WebhookActivities(
        sessions=SessionStore(database),
        deliveries=DeliveryLog(database),
        sender=WebhookSender(dispatcher.guard),
        credentials=dispatcher.credentials,
        installation_secret=settings.webhook_secret,
    )
    recovery = RecoveryActivities(RecoveryStore(database), serialize_step=serialized_step, subscribers=subscribers)
    suites = SuiteActivities(SuiteStore(database), RecordedSessions(SessionStore(database)))
    reconciliation = ReconciliationActivities(
        lambda own_client: build_reconciler(own_client, database, settings.task_queue, subscribers), ReconcilerOptions()
    )
    return Worker(
        with_large_payloads(client, database, threshold=settings.payload_offload_threshold_bytes),
        task_queue=settings.task_queue,
        workflows=[SessionWorkflow, SuiteWorkflow, DeliverWebhookWorkflow, ReconciliationWorkflow],
        activities=[
            model.generate_step,
            model.extract_variables,
            tools.call_tool,
            settlement.settle_turns,
            recovery.claim_session,
            recovery.read_record,
            recovery.restore_turns,
            simulation.play_caller,
            summaries.summarize_turns,
            judge.judge_session,
            webhooks.send_webhook,
            webhooks.record_delivery,
            suites.begin_run,
            suites.price_run,
            suites.record_run,
            suites.note_suite,
            suites.await_sessions,
            reconciliation.reconcile,
        ],
        interceptors=interceptors,
        max_cached_workflows=settings.max_cached_sessions,
        deployment_config=_deployment(settings),
        graceful_shutdown_timeout=timedelta(seconds=settings.shutdown_grace_seconds),
        max_concurrent_workflow_task_polls=WORKFLOW_TASK_POLLS,
        nonsticky_to_sticky_poll_ratio=POLLS_FOR_NEW_RUNS,
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        max_heartbeat_throttle_interval=timedelta(seconds=settings.heartbeat_interval_seconds),
    )


def build_model_providers(settings: Settings) -> ModelProviders:
    """The model providers, whose error texts contain no secret of the settings."""
    secrets = [*settings.credentials.values()]
    secrets += [secret for own in settings.organization_credentials.values() for secret in own.values()]
    if settings.webhook_secret:
        secrets.append(settings.webhook_secret)
    return build_providers(prices=settings.prices, demo_delay_seconds=settings.demo_delay_seconds, credentials=secrets)


def build_tool_dispatcher(settings: Settings, database: Database) -> ToolDispatcher:
    """The client of agents' tools, with the credentials and the egress allowlist of the settings, and the documents."""
    return ToolDispatcher(
        credentials=settings.credentials,
        organization_credentials=settings.organization_credentials,
        allowlist=settings.egress_allowlist,
        documents=DocumentStore(database),
    )


async def run_worker(settings: Settings, stop: asyncio.Event, subscribers: Subscribers | None = None) -> None:
    """Run a worker until `stop` is set; at the start, wait for the store and for Temporal.

    Raises CommandFailed when the store is not migrated or search attributes cannot be registered, and any error
    that ends the worker.
    """
    async with open_store(settings) as database:
        await wait_until_reachable(
            "The store", lambda: require_migrated(database), unreachable=(StoreUnavailable,), stop=stop
        )
        client = await wait_until_reachable(
            "Temporal", lambda: ensure_reachable(settings), unreachable=(TemporalUnavailable,), stop=stop
        )
        providers = build_model_providers(settings)
        await in_daemon_thread(partial(providers.load, settings.model), name="model-provider")
        dispatcher = build_tool_dispatcher(settings, database)
        try:
            async with worker_subscribers(database, subscribers) as live_subscribers:
                worker = build_worker(
                    settings, client, database, providers=providers, dispatcher=dispatcher, subscribers=live_subscribers
                )
                freeze_garbage_collector()
                log.info("worker polling for tasks", task_queue=settings.task_queue, build_id=settings.build_id)
                looking = asyncio.create_task(_look_after_reconciliation(settings, client, database))
                try:
                    await run_until_stopped(worker, stop)
                finally:
                    looking.cancel()
                    await asyncio.wait([looking])
        finally:
            await dispatcher.close()
    log.info("worker stopped")


async def _look_after_reconciliation(settings: Settings, client: Client, database: Database) -> None:
    """Warn if the store and Temporal do not belong together, and keep the reconciler's schedule."""
    try:
        await report_pairing(client, database, settings.task_queue)
        await keep_schedule(client, settings.task_queue, settings.reconcile_interval_seconds)
    except Exception:  # the worker answers sessions all the same
        log.exception("the reconciler's schedule could not be kept; run `playhead reconcile` instead")


async def run_until_stopped(worker: Worker, stop: asyncio.Event) -> None:
    """Run a worker until `stop` is set or it fails; running activities may finish within its grace period."""
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
    """Versioned and pinned if a build id is set. Without one the version still gets a name: the SDK would derive one by
    hashing every loaded module, which takes a second, and much longer without cached bytecode.
    """
    versioned = settings.build_id is not None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(settings.deployment_name, settings.build_id or UNVERSIONED),
        use_worker_versioning=versioned,
        default_versioning_behavior=VersioningBehavior.PINNED if versioned else VersioningBehavior.UNSPECIFIED,
    )
