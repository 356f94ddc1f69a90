"""The webhook of an agent as people write it: where the ends of its sessions are reported, and its rules."""

from collections.abc import Iterator, Mapping
from typing import Literal

from domain.agents.names import name_faults
from domain.agents.tool_validation import is_web_address
from domain.agents.tools import Address, Written
from domain.agents.validation_errors import Location, ValidationIssue, place_of

WebhookEvent = Literal["session_completed"]

LOCATION: Location = ("webhook",)


class Webhook(Written):
    """Reports go to `url`, signed with the credential that `secret` names, about each of the `events`."""

    url: Address
    secret: str
    events: tuple[WebhookEvent, ...] = ("session_completed",)


def webhook_faults(written: object) -> Iterator[ValidationIssue]:
    """Every fault of meaning in a written webhook."""
    webhook: Mapping[str, object] = written if isinstance(written, dict) else {}
    url, secret = webhook.get("url"), webhook.get("secret")
    if isinstance(url, str) and url.strip():
        yield from _address_faults(url)
    if isinstance(secret, str):
        yield from name_faults((*LOCATION, "secret"), secret)
    if webhook.get("events") == []:
        yield ValidationIssue(
            place=place_of((*LOCATION, "events")), message="is empty: remove it to have all events reported"
        )


def _address_faults(url: str) -> Iterator[ValidationIssue]:
    place = place_of((*LOCATION, "url"))
    if "{{" in url:
        yield ValidationIssue(
            place=place, message="is no template: a conversation does not decide where it is reported"
        )
    elif not is_web_address(url):
        yield ValidationIssue(place=place, message="must be an http:// or https:// address with a host")
    elif "@" in url.split("://", 1)[1].split("/", 1)[0]:
        yield ValidationIssue(place=place, message="must not hold a user name or password; reports are signed instead")
