"""The interface of the webhook sender: a receiver's response, and the failure to get one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class WebhookResponse:
    """A receiver's response; `retry_after` is in seconds."""

    status: int
    reason: str
    retry_after: float | None = None


class DeliveryFailed(Exception):
    """A request was not sent or not answered. The message is for people, and holds neither address nor secret."""
