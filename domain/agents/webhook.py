"""The webhook of an agent as people write it: where the ends of its sessions are reported, and its rules."""

from collections.abc import Iterator, Mapping
from typing import Literal

from domain.agents.names import name_issues
from domain.agents.tool_validation import is_http_url
from domain.agents.tools import AuthoredModel, UrlTemplate
from domain.agents.validation_errors import Location, ValidationIssue, format_path

WebhookEvent = Literal["session_completed"]

LOCATION: Location = ("webhook",)


class Webhook(AuthoredModel):
    """Reports go to `url`, signed with the credential that `secret` names, about each of the `events`."""

    url: UrlTemplate
    secret: str
    events: tuple[WebhookEvent, ...] = ("session_completed",)


def webhook_issues(written: object) -> Iterator[ValidationIssue]:
    """Every issue of meaning in a written webhook."""
    webhook: Mapping[str, object] = written if isinstance(written, dict) else {}
    url, secret = webhook.get("url"), webhook.get("secret")
    if isinstance(url, str) and url.strip():
        yield from _url_issues(url)
    if isinstance(secret, str):
        yield from name_issues((*LOCATION, "secret"), secret)
    if webhook.get("events") == []:
        yield ValidationIssue(
            path=format_path((*LOCATION, "events")), message="is empty: remove it to have all events reported"
        )


def _url_issues(url: str) -> Iterator[ValidationIssue]:
    path = format_path((*LOCATION, "url"))
    if "{{" in url:
        yield ValidationIssue(path=path, message="is no template: a conversation does not decide where it is reported")
    elif not is_http_url(url):
        yield ValidationIssue(path=path, message="must be an http:// or https:// address with a host")
    elif "@" in url.split("://", 1)[1].split("/", 1)[0]:
        yield ValidationIssue(path=path, message="must not hold a user name or password; reports are signed instead")
