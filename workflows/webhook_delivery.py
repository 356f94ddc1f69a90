"""Delivers the report of a session's end: retried until the receiver accepts it or a day is over, and then logged."""

import asyncio
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError, is_cancelled_exception
from temporalio.workflow import ContinueAsNewVersioningBehavior

from activities.webhooks import WebhookActivities
from contracts.sessions import Timing
from contracts.webhooks import (
    DeliverWebhookInput,
    DeliverWebhookResult,
    DeliveryRetryPolicy,
    RecordDeliveryInput,
    SendWebhookInput,
    webhook_id_of,
)
from workflows.activity_options import delivery_attempt_options, store_options
from workflows.errors import reason_of

MAX_SLEEP = timedelta(hours=1)
"""Time after which a delivery that waits for its next attempt checks for a newer version of the workers."""
PAUSE_GROWTH = 4.0
CANCELLED = "The delivery was cancelled in Temporal before the receiver had taken the report."


@workflow.defn(name="DeliverWebhook")
class DeliverWebhookWorkflow:
    """The delivery of one report. It outlives the session's own workflow, which does not wait for it."""

    @workflow.run
    async def run(self, delivery: DeliverWebhookInput) -> DeliverWebhookResult:
        """Send the report, and record the result."""
        result = await self._deliver(delivery)
        await workflow.execute_activity_method(
            WebhookActivities.record_delivery,
            RecordDeliveryInput(
                session_id=delivery.session_id,
                organization_id=delivery.organization_id,
                at=workflow.now(),
                result=result,
            ),
            **store_options(Timing()),
        )
        return result

    async def _deliver(self, delivery: DeliverWebhookInput) -> DeliverWebhookResult:
        """Make attempts until one succeeds, the time is over or the delivery is cancelled."""
        webhook_id = webhook_id_of(delivery.session_id)
        try:
            return await self._attempt_until_taken(delivery, webhook_id)
        except (ActivityError, asyncio.CancelledError) as error:
            if not is_cancelled_exception(error):
                raise
            return DeliverWebhookResult(webhook_id=webhook_id, error=CANCELLED)

    async def _attempt_until_taken(self, delivery: DeliverWebhookInput, webhook_id: str) -> DeliverWebhookResult:
        patience = delivery.target.patience
        began_at = delivery.began_at or workflow.now()
        gives_up_at = began_at + timedelta(seconds=patience.give_up_after)
        attempts, error, next_at = delivery.attempts, delivery.error, delivery.next_at
        while next_at is None or next_at < gives_up_at:
            if next_at is not None:
                state = {"attempts": attempts, "began_at": began_at, "next_at": next_at, "error": error}
                await self._wait_until(next_at, delivery.model_copy(update=state))
            left = (gives_up_at - workflow.now()).total_seconds()
            if left <= 0:  # it was woken late
                break
            attempts += 1
            try:
                status = await self._attempt(delivery, webhook_id, left)
            except ActivityError as failed:
                if is_cancelled_exception(failed):
                    raise
                error = _newest_failure(failed, error)
                if _is_final(failed):
                    break
                next_at = workflow.now() + pause_after(attempts, patience, _requested_pause(failed))
                workflow.set_current_details(
                    f"Attempt {attempts} failed: {error}\n\nThe next one is due at {next_at:%Y-%m-%d %H:%M:%S} UTC."
                )
            else:
                return DeliverWebhookResult(webhook_id=webhook_id, status=status, attempt=attempts)
        return DeliverWebhookResult(webhook_id=webhook_id, error=error)

    async def _attempt(self, delivery: DeliverWebhookInput, webhook_id: str, seconds_left: float) -> int:
        sent = await workflow.execute_activity_method(
            WebhookActivities.send_webhook,
            SendWebhookInput(
                session_id=delivery.session_id,
                organization_id=delivery.organization_id,
                webhook_id=webhook_id,
                target=delivery.target,
            ),
            **delivery_attempt_options(seconds_left),
        )
        return sent.status

    async def _wait_until(self, time: datetime, state: DeliverWebhookInput) -> None:
        """Wait for the next attempt. A delivery that waits continues as new on a newer version of the workers."""
        while (left := time - workflow.now()) > timedelta(0):
            if workflow.info().is_target_worker_deployment_version_changed():
                workflow.continue_as_new(
                    state, initial_versioning_behavior=ContinueAsNewVersioningBehavior.AUTO_UPGRADE
                )
            await workflow.sleep(min(left, MAX_SLEEP), summary=f"until attempt {state.attempts + 1}")


def _newest_failure(error: ActivityError, before: str | None) -> str:
    """The reason why a report was not delivered. An attempt that timed out does not replace an earlier reason."""
    if isinstance(error.cause, TimeoutError) and before is not None:
        return before
    return reason_of(error)


def _is_final(error: ActivityError) -> bool:
    return isinstance(error.cause, ApplicationError) and error.cause.non_retryable


def pause_after(attempts: int, patience: DeliveryRetryPolicy, requested: timedelta | None = None) -> timedelta:
    """The pause after so many attempts: four times the one before, or longer if the receiver requests it."""
    grown = patience.first_pause * PAUSE_GROWTH ** min(attempts - 1, 20)
    seconds = max(grown, requested.total_seconds() if requested is not None else 0.0)
    return timedelta(seconds=min(seconds, patience.longest_pause))


def _requested_pause(error: ActivityError) -> timedelta | None:
    return error.cause.next_retry_delay if isinstance(error.cause, ApplicationError) else None
