"""The activities of a session on a given store."""

from collections.abc import Callable
from typing import Any

from activities.judge import JudgeActivities
from activities.llm.messages import serialized_step
from activities.model import ModelActivities
from activities.network.webhook_sender import WebhookSender
from activities.recovery import RecoveryActivities
from activities.settlement import Recorder, SettlementActivities
from activities.simulated_caller import CallerPlayer, SimulationActivities
from activities.spending_limit import SpendingLimit
from activities.summaries import SummaryActivities
from activities.tool_clients.dispatcher import ToolDispatcher
from activities.tools import ToolActivities
from activities.webhooks import WebhookActivities
from domain.usage import TokenPrice
from playhead.services.model_providers import build_providers
from store.agents import AgentStore
from store.database.connection import Database
from store.organizations import OrganizationStore
from store.sessions.recovery import RecoveryStore
from store.sessions.sessions import SessionStore
from store.sessions.settlement import SettlementStore
from store.sessions.steps import StepStore
from store.sessions.webhook_deliveries import DeliveryLog
from store.suites import SuiteStore

CREDENTIALS = {
    "BOOKING_KEY": "s3cret-of-the-booking-service",
    "HOOK_KEY": "whsec_dGhlIGtleSBvZiBhIHRlc3Qgd2ViaG9vayEh",
}
"""Secrets of the tools and webhooks of test agents; they must appear nowhere else."""


def session_activities(
    database: Database,
    *,
    settlement: SettlementStore | None = None,
    prices: dict[str, TokenPrice] | None = None,
    max_context_tokens: int = 32_000,
) -> list[Callable[..., Any]]:
    """The activities of a worker, on a store of the test's choice."""
    agents, steps, settlements = AgentStore(database), StepStore(database), settlement or SettlementStore(database)
    dispatcher = ToolDispatcher(credentials=CREDENTIALS, allowlist=["127.0.0.1", "localhost"])
    providers = build_providers(prices=prices or {})
    recorder = Recorder(settlements)
    limit = SpendingLimit(OrganizationStore(database))
    player = CallerPlayer(steps=steps, limit=limit, caller=providers, max_context_tokens=max_context_tokens)
    model = ModelActivities(
        steps=steps,
        agents=agents,
        dispatcher=dispatcher,
        caller=providers,
        max_context_tokens=max_context_tokens,
        recorder=recorder,
        player=player,
    )
    tools = ToolActivities(agents=agents, runner=dispatcher)
    settled = SettlementActivities(recorder)
    simulation = SimulationActivities(player)
    summaries = SummaryActivities(
        steps=steps, agents=agents, limit=limit, caller=providers, max_context_tokens=max_context_tokens
    )
    judge = JudgeActivities(
        steps=steps,
        sessions=SessionStore(database),
        settlements=settlements,
        suites=SuiteStore(database),
        agents=agents,
        limit=limit,
        caller=providers,
        context_characters=100_000,
    )
    webhooks = WebhookActivities(
        sessions=SessionStore(database),
        deliveries=DeliveryLog(database),
        sender=WebhookSender(dispatcher.guard),
        credentials=dispatcher.credentials,
        installation_secret=None,
    )
    recovery = RecoveryActivities(RecoveryStore(database), serialize_step=serialized_step)
    return [
        model.generate_step,
        model.extract_variables,
        tools.call_tool,
        settled.settle_turns,
        recovery.claim_session,
        recovery.read_record,
        recovery.restore_turns,
        simulation.play_caller,
        summaries.summarize_turns,
        judge.judge_session,
        webhooks.send_webhook,
        webhooks.record_delivery,
    ]
