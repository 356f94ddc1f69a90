"""The interface of the webhook sender: a receiver's response, and the failure to get one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class WebhookResponse:
    """What a receiver answered; `retry_after` are seconds that it asks to wait."""

    status: int
    reason: str
    retry_after: float | None = None


class DeliveryFailed(Exception):
    """A report was not sent, or not answered. The message is for people, and holds neither address nor secret."""
