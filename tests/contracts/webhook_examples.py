"""One full example of every webhook contract, without default values."""

from datetime import UTC, datetime

from contracts.webhooks import (
    DeliverWebhookInput,
    DeliverWebhookResult,
    DeliveryRetryPolicy,
    RecordDeliveryInput,
    SendWebhookInput,
    SendWebhookResult,
    WebhookTarget,
)
from domain.durable import FrozenModel

AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
PATIENCE = DeliveryRetryPolicy(first_pause=1.0, longest_pause=60.0, give_up_after=600.0)
TARGET = WebhookTarget(url="https://example.com/hook", secret="HOOK_KEY", patience=PATIENCE)
RESULT = DeliverWebhookResult(webhook_id="msg_1", status=204, attempt=3, error="The receiver answered 500.")


def webhook_records() -> tuple[FrozenModel, ...]:
    """The examples."""
    return (
        PATIENCE,
        TARGET,
        DeliverWebhookInput(
            session_id="ses_1",
            organization_id="org_1",
            target=TARGET,
            attempts=3,
            began_at=AT,
            next_at=AT,
            error="The receiver answered 500.",
        ),
        SendWebhookInput(session_id="ses_1", organization_id="org_1", webhook_id="msg_1", target=TARGET),
        SendWebhookResult(status=204),
        RESULT,
        RecordDeliveryInput(session_id="ses_1", organization_id="org_1", at=AT, result=RESULT),
    )
