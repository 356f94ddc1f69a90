"""Webhook delivery: inputs and results of its workflow and activities, and the ids of workflow and webhook.

Running deliveries have these in their histories: give new fields defaults, never change or reuse a field. They contain
no messages and no secrets: both are read where the report is sent.
"""

from datetime import datetime

from domain.durable import FrozenModel

HOUR_SECONDS = 3_600.0


class DeliveryRetryPolicy(FrozenModel):
    """Retry policy of a delivery, in seconds.

    The first pause is `first_pause`; each further one is four times as long, up to `longest_pause`. Retries stop
    `give_up_after` the first attempt.
    """

    first_pause: float = 5.0
    longest_pause: float = 4 * HOUR_SECONDS
    give_up_after: float = 24 * HOUR_SECONDS


class WebhookTarget(FrozenModel):
    """Receiver of a report. `secret` names the credential that signs it; None means the installation's own."""

    url: str
    secret: str | None = None
    patience: DeliveryRetryPolicy = DeliveryRetryPolicy()


class DeliverWebhookInput(FrozenModel):
    """The ended session to report, and the state of its delivery after earlier runs.

    `attempts` have been made so far, the last of which failed with `error`; the next one is due at `next_at`.
    """

    session_id: str
    organization_id: str
    target: WebhookTarget
    attempts: int = 0
    began_at: datetime | None = None
    next_at: datetime | None = None
    error: str | None = None


class SendWebhookInput(FrozenModel):
    """One report. `webhook_id` is the same for every attempt, so that a receiver can recognise a repeat."""

    session_id: str
    organization_id: str
    webhook_id: str
    target: WebhookTarget


class SendWebhookResult(FrozenModel):
    """The HTTP status with which the receiver accepted the report."""

    status: int


class DeliverWebhookResult(FrozenModel):
    """Result of a delivery. `error` is the reason why the report was not accepted; None means that it was."""

    webhook_id: str
    status: int | None = None
    attempt: int | None = None
    error: str | None = None


class RecordDeliveryInput(FrozenModel):
    """Result of a delivery, for the event log of the session."""

    session_id: str
    organization_id: str
    at: datetime
    result: DeliverWebhookResult


def webhook_workflow_id(session_id: str) -> str:
    """Id of the workflow that delivers the report of a session."""
    return f"webhook-{session_id}"


def webhook_id_of(session_id: str) -> str:
    """Id of the report of a session: one per session, however often it is sent."""
    return f"msg_{session_id.removeprefix('ses_')}"
