"""Webhook of an agent: model and validation of the receiver of session reports."""

from collections.abc import Iterator
from typing import Literal

from domain.agents.names import name_issues
from domain.agents.tool_validation import is_http_url
from domain.agents.tools import AuthoredModel, UrlTemplate
from domain.agents.validation_errors import Location, ValidationIssue, format_path, mapping_or_empty

WebhookEvent = Literal["session_completed"]

LOCATION: Location = ("webhook",)


class Webhook(AuthoredModel):
    """A receiver of reports about the `events`, at `url`, signed with the credential named by `secret`."""

    url: UrlTemplate
    secret: str
    events: tuple[WebhookEvent, ...] = ("session_completed",)


def webhook_issues(value: object) -> Iterator[ValidationIssue]:
    """All semantic issues of a webhook."""
    webhook = mapping_or_empty(value)
    url, secret = webhook.get("url"), webhook.get("secret")
    if isinstance(url, str) and url.strip():
        yield from _url_issues(url)
    if isinstance(secret, str):
        yield from name_issues((*LOCATION, "secret"), secret)
    if webhook.get("events") == []:
        yield ValidationIssue(
            path=format_path((*LOCATION, "events")), message="is empty; remove it to report all events"
        )


def _url_issues(url: str) -> Iterator[ValidationIssue]:
    path = format_path((*LOCATION, "url"))
    if "{{" in url:
        yield ValidationIssue(
            path=path, message="must not be a template: a conversation cannot choose the receiver; write the URL out"
        )
    elif not is_http_url(url):
        yield ValidationIssue(path=path, message="must be an http:// or https:// address with a host")
    elif "@" in url.split("://", 1)[1].split("/", 1)[0]:
        yield ValidationIssue(path=path, message="must not hold a user name or password; reports are signed instead")
