"""The scheduled reconciliation: a short workflow that goes on from where the last one stopped."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

from activities.reconciliation import ReconciliationActivities
from contracts.reconciliation import ReconcileInput, ReconciliationResult, StartReconciliation

ATTEMPT = timedelta(minutes=5)
HEARTBEAT = timedelta(seconds=30)
MAX_ATTEMPTS = 3
"""After an outage, the next run of the schedule goes on; no workflow waits for its end."""


@workflow.defn(name="Reconciliation")
class ReconciliationWorkflow:
    """One run of the reconciler's schedule."""

    @workflow.run
    async def run(self, start: StartReconciliation) -> ReconciliationResult:
        """Reconcile within bounds. The result is the input of the next run, and a record of what was done."""
        before: ReconciliationResult | None = None
        if workflow.has_last_completion_result():
            before = workflow.get_last_completion_result(ReconciliationResult)
        return await workflow.execute_activity_method(
            ReconciliationActivities.reconcile,
            ReconcileInput(name=start.name, before=before and before.model_copy(update={"findings": (), "counts": {}})),
            start_to_close_timeout=ATTEMPT,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=RetryPolicy(maximum_attempts=MAX_ATTEMPTS),
        )
