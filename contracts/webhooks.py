"""Every durable input and result of a webhook's delivery that crosses a Temporal boundary, and the ids it has.

Each of these is in running deliveries' histories: give new fields defaults, never change or reuse one. None holds what
was said in a session, nor a secret: both are read where the report is sent.
"""

from datetime import datetime

from domain.durable import FrozenModel

HOUR_SECONDS = 3_600.0


class DeliveryRetryPolicy(FrozenModel):
    """How a delivery is retried, in seconds: the pauses begin with `first_pause`, grow fourfold up to `longest_pause`,
    and end after `give_up_after`.
    """

    first_pause: float = 5.0
    longest_pause: float = 4 * HOUR_SECONDS
    give_up_after: float = 24 * HOUR_SECONDS


class WebhookTarget(FrozenModel):
    """Where a report goes. `secret` names the credential that signs it; None is the installation's own."""

    url: str
    secret: str | None = None
    patience: DeliveryRetryPolicy = DeliveryRetryPolicy()


class DeliverWebhookInput(FrozenModel):
    """The end of a session that is to be reported."""

    session_id: str
    organization_id: str
    target: WebhookTarget


class SendWebhookInput(FrozenModel):
    """One report. Every attempt to send it has the same `webhook_id`, by which a receiver knows a repeat."""

    session_id: str
    organization_id: str
    webhook_id: str
    target: WebhookTarget


class SendWebhookResult(FrozenModel):
    """A receiver has taken the report: with which status, and at which attempt."""

    status: int
    attempt: int


class DeliverWebhookResult(FrozenModel):
    """What came of a delivery. `error` says why the report was not taken; None means that it was."""

    webhook_id: str
    status: int | None = None
    attempt: int | None = None
    error: str | None = None


class RecordDeliveryInput(FrozenModel):
    """What came of a delivery, for the session's log."""

    session_id: str
    organization_id: str
    at: datetime
    result: DeliverWebhookResult


def webhook_workflow_id(session_id: str) -> str:
    """The workflow that delivers the report of this session's end."""
    return f"webhook-{session_id}"


def webhook_id_of(session_id: str) -> str:
    """The id of the report of a session's end. There is one for each session, however often it is sent."""
    return f"msg_{session_id.removeprefix('ses_')}"
