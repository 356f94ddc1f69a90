"""Reporting a session's end: sent until the receiver has taken it or a day is over, and written into the log."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.webhooks import WebhookActivities
    from contracts.sessions import Timing
    from contracts.webhooks import (
        DeliverWebhookInput,
        DeliverWebhookResult,
        RecordDeliveryInput,
        SendWebhookInput,
        webhook_id_of,
    )
    from workflows.activity_options import delivery_options, store_options
    from workflows.errors import reason_of


CANCELLED = "The delivery was cancelled in Temporal before the receiver had taken the report."


@workflow.defn(name="DeliverWebhook")
class DeliverWebhookWorkflow:
    """The delivery of one report. It outlives the session's own workflow, which does not wait for it."""

    @workflow.run
    async def run(self, delivery: DeliverWebhookInput) -> DeliverWebhookResult:
        """Send the report, and record what came of it."""
        result = await self._send(delivery)
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

    async def _send(self, delivery: DeliverWebhookInput) -> DeliverWebhookResult:
        webhook_id = webhook_id_of(delivery.session_id)
        try:
            sent = await workflow.execute_activity_method(
                WebhookActivities.send_webhook,
                SendWebhookInput(
                    session_id=delivery.session_id,
                    organization_id=delivery.organization_id,
                    webhook_id=webhook_id,
                    target=delivery.target,
                ),
                **delivery_options(delivery.target.patience),
            )
        except (ActivityError, asyncio.CancelledError) as error:
            if is_cancelled_exception(error):
                return DeliverWebhookResult(webhook_id=webhook_id, error=CANCELLED)
            return DeliverWebhookResult(webhook_id=webhook_id, error=_last_failure(error))
        return DeliverWebhookResult(webhook_id=webhook_id, status=sent.status, attempt=sent.attempt)


def _last_failure(error: BaseException) -> str:
    """Why the report was not taken: what the last attempt came to, also where the time was over during another one."""
    if not isinstance(error, ActivityError):
        return str(error)
    timeout = error.cause
    if isinstance(timeout, TimeoutError) and isinstance(timeout.cause, ApplicationError):
        return timeout.cause.message
    return reason_of(error)
