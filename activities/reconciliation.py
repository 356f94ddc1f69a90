"""Reconciliation as an activity: one bounded comparison of the store with Temporal."""

from typing import TYPE_CHECKING

from temporalio import activity

from activities.heartbeats import heartbeats
from contracts.reconciliation import ReconcileInput, ReconciliationResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from temporalio.client import Client

    from activities.reconciler import Reconciler, ReconcilerOptions


class ReconciliationActivities:
    """Reconciles the store with the Temporal namespace of the worker. A repeated run changes nothing."""

    def __init__(self, reconciler_of: "Callable[[Client], Reconciler]", options: "ReconcilerOptions") -> None:
        self._reconciler_of = reconciler_of
        self._options = options

    @activity.defn
    async def reconcile(self, input: ReconcileInput) -> ReconciliationResult:
        """Go on from the last result, and log every difference with what was done about it."""
        reconciler = self._reconciler_of(activity.client())
        async with heartbeats():
            result = await reconciler.reconcile(input.before or ReconciliationResult(), input.name, self._options)
        for finding in result.findings:
            activity.logger.warning(
                "%s %s: %s, %s (billed %d)", finding.subject, finding.id, finding.found, finding.done, finding.billed
            )
        if result.rejection:
            activity.logger.warning("%s", result.rejection)
        return result
