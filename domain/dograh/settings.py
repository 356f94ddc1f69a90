"""Settings in an export beside its graph, and its webhook nodes, as fields of an agent definition."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from domain.agents.names import SECRETS_VARIABLE
from domain.agents.tools import DAY_SECONDS
from domain.agents.validation_errors import Location, format_path, format_value
from domain.agents.webhook import webhook_issues
from domain.dograh.export_format import WEBHOOK_TYPE, Export, ExportedNode, is_blank

CONFIGURATIONS: Final = "workflow_configurations"
INACTIVITY: Final = "text_chat_inactivity_timeout_seconds"
VARIABLES: Final = "template_context_variables"
WEBHOOK_SECRET: Final = "dograh_webhook"
"""Name of the credential that signs the reports of an imported webhook."""

_MIN_INACTIVITY_SECONDS: Final = 5
_MAX_INACTIVITY_SECONDS: Final = 30 * DAY_SECONDS
_MAX_VARIABLES: Final = 500


@dataclass(frozen=True)
class Settings:
    """Fields of the definition, and warnings about settings that have no counterpart."""

    fields: Mapping[str, object]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class ReadWebhook:
    """The receiver of reports; `url` is None without one."""

    warnings: tuple[str, ...] = ()
    url: str | None = None
    secret: str = WEBHOOK_SECRET
    location: Location = ()


def read_settings(export: Export) -> Settings:
    """The settings in the file that the editor downloads; there are none in a bare graph."""
    fields: dict[str, object] = {}
    warnings = [*_configurations(export.outside.get(CONFIGURATIONS), fields)]
    warnings += _variables(export.outside.get(VARIABLES), fields)
    return Settings(fields=fields, warnings=tuple(warnings))


def read_webhook(export: Export) -> ReadWebhook:
    """The first webhook node that can receive reports; a warning for every part that cannot be kept."""
    read = ReadWebhook()
    for node in export.nodes:
        if node.type != WEBHOOK_TYPE:
            continue
        path = format_path(node.location)
        reason = _unusable(node, read.url)
        if reason:
            read = ReadWebhook(
                (*read.warnings, f"{path}: the webhook node {node.title} is left out: {reason}"), read.url
            )
            continue
        changes = tuple(_webhook_changes(node))
        url = str(node.data["endpoint_url"])
        read = ReadWebhook((*read.warnings, *changes), url, WEBHOOK_SECRET, node.at("endpoint_url"))
    return read


def _configurations(value: object, fields: dict[str, object]) -> Iterator[str]:
    if is_blank(value):
        return
    if not isinstance(value, dict):
        yield f"{CONFIGURATIONS}: left out, because it is not a mapping of settings"
        return
    for name, setting in value.items():
        path = format_path((CONFIGURATIONS, name))
        if name != INACTIVITY:
            if not is_blank(setting):
                yield f"{path}: left out; it configures calls, and a text chat has nothing like it"
        elif isinstance(setting, int) and not isinstance(setting, bool):
            seconds = min(max(setting, _MIN_INACTIVITY_SECONDS), _MAX_INACTIVITY_SECONDS)
            fields["limits"] = {"inactivity_seconds": seconds}
            if seconds != setting:
                yield f"{path}: is {setting} and becomes {seconds}, the nearest number of seconds that is allowed"
        elif not is_blank(setting):
            yield f"{path}: left out, because {format_value(setting)} is not a whole number of seconds"


def _variables(value: object, fields: dict[str, object]) -> Iterator[str]:
    if is_blank(value):
        return
    if not isinstance(value, dict):
        yield f"{VARIABLES}: left out, because it is not a mapping of names to values"
        return
    kept = {name: default for name, default in value.items() if name != SECRETS_VARIABLE}
    if len(kept) < len(value):
        yield f"{VARIABLES}.{SECRETS_VARIABLE}: left out, because tools find credentials under this name; rename it"
    if len(kept) > _MAX_VARIABLES:
        yield f"{VARIABLES}: has {len(kept)} entries; those after the first {_MAX_VARIABLES} are left out"
    fields["context"] = dict(list(kept.items())[:_MAX_VARIABLES])


def _unusable(node: ExportedNode, earlier: str | None) -> str | None:
    """The reason for which a webhook node cannot become the webhook of the agent."""
    url = node.data.get("endpoint_url")
    if node.data.get("enabled") is False:
        return "it is disabled"
    if earlier is not None:
        return "an agent has one webhook; send its reports on from there"
    if not isinstance(url, str) or not url.strip():
        return "it has no endpoint_url"
    if len(url) > 2_000:
        return "its endpoint_url has more than 2,000 characters"
    issue = next(iter(webhook_issues({"url": url})), None)
    return f"its endpoint_url {issue.message}" if issue else None


def _webhook_changes(node: ExportedNode) -> Iterator[str]:
    yield (
        f"{format_path(node.location)}: the webhook node {node.title} becomes the webhook of the agent; its "
        f"reports are signed with the credential {WEBHOOK_SECRET}, which has to be set on this installation first"
    )
    if node.data.get("http_method", "POST") != "POST":
        yield f"{format_path(node.at('http_method'))}: left out; reports are sent with POST"
    for field, advice in _WEBHOOK_FIELDS.items():
        if not is_blank(node.data.get(field)):
            yield f"{format_path(node.at(field))}: left out; {advice}"


_WEBHOOK_FIELDS: Final = {
    "credential_uuid": "the export has the id of a credential but not the credential; reports are signed instead",
    "custom_headers": "reports have the headers of Playhead",
    "payload_template": "reports have the form of Playhead, with context, transcript, usage and cost",
}
