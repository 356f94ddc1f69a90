"""The reconciler with its dependencies, and warnings when the store and Temporal do not belong together."""

from contextlib import suppress
from typing import Final

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from activities.llm.messages import serialized_step
from activities.reconciler import Pairing, Reconciler
from activities.recovery import RecoveryActivities
from activities.settlement import Recorder, SettlementActivities
from activities.suites import SuiteActivities
from store.agents import AgentStore
from store.database.connection import Database
from store.database.errors import StoreUnavailable
from store.reconciliation import ReconciliationStore
from store.recorded_sessions import RecordedSessions
from store.sessions.recovery import RecoveryStore
from store.sessions.sessions import SessionStore
from store.sessions.settlement import SettlementStore
from store.suites import SuiteStore
from streaming.messages import Subscribers

TEMPORAL_OF_ANOTHER_STORE: Final = (
    "Temporal has sessions that this store does not know. They cannot be reached over the API. "
    "If the store was replaced or restored, put its newest backup back, or run `playhead reconcile`: it records again "
    "what Temporal still holds. If Temporal belongs to another store, use another namespace or data folder."
)
STORE_OF_ANOTHER_TEMPORAL: Final = (
    "The store has open sessions, and Temporal knows none of them: messages to them get 410. "
    "If Temporal's data was lost, put its newest backup back. If it is lost for good, run "
    "`playhead reconcile --accept-new-temporal`: it closes these sessions as workflow_not_found. "
    "If the store belongs to another Temporal, use that one."
)

log = structlog.get_logger(__name__)


def build_reconciler(
    client: Client, database: Database, task_queue: str, subscribers: Subscribers | None = None
) -> Reconciler:
    """The reconciler of a store and a Temporal namespace. The client must read large payloads from this store."""
    suites = SuiteStore(database)
    return Reconciler(
        client,
        task_queue=task_queue,
        store=ReconciliationStore(database),
        agents=AgentStore(database),
        suites=suites,
        recovery=RecoveryActivities(RecoveryStore(database), serialize_step=serialized_step, subscribers=subscribers),
        settlement=SettlementActivities(Recorder(SettlementStore(database), subscribers)),
        suite_records=SuiteActivities(suites, RecordedSessions(SessionStore(database))),
        subscribers=subscribers,
    )


async def report_pairing(client: Client, database: Database, task_queue: str) -> None:
    """Log a warning with a remedy if the store and Temporal seem not to belong together."""
    with suppress(RPCError, StoreUnavailable):
        pairing = await build_reconciler(client, database, task_queue).pairing()
        open_sessions = await ReconciliationStore(database).number_open()
        for message in pairing_warnings(pairing, open_sessions):
            log.warning(message, unknown_to_store=pairing.unknown, open_in_store=open_sessions)


def pairing_warnings(pairing: Pairing, open_sessions: int) -> list[str]:
    """The warnings to log when the store or Temporal does not have the sessions of the other."""
    found = []
    if pairing.unknown:
        found.append(TEMPORAL_OF_ANOTHER_STORE)
    if open_sessions and not pairing.known:
        found.append(STORE_OF_ANOTHER_TEMPORAL)
    return found
