"""Builds tool requests from templates. A value inserted into a URL stays within its path segment or parameter."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlencode, urlsplit, urlunsplit

from pydantic import JsonValue

from activities.tool_clients.interface import ToolCall, ToolFailed
from domain.agents import templates
from domain.agents.names import SECRETS_VARIABLE
from domain.agents.tools import HttpTool, McpTool

MAX_BODY_BYTES = 1_048_576
"""Upper bound on a request's body; a larger one is not sent."""

_SINGLE_VARIABLE = re.compile(r"\{\{\s*([\w-]+(?:\.[\w-]+)*)\s*\}\}")
_CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True)
class ToolRequest:
    """A request that is ready to be sent. It holds credentials: it is never shown, logged or stored."""

    method: str
    url: str = field(repr=False)
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    body: bytes = field(repr=False, default=b"")


def secrets_of(tool: HttpTool | McpTool, credentials: Mapping[str, str]) -> dict[str, str]:
    """The credentials that a tool declares. Raises ToolFailed if one is not set on this installation."""
    missing = [name for name in tool.secrets if not credentials.get(name)]
    if missing:
        raise ToolFailed(
            "missing_secret",
            f"The call was not made: this installation has no credential named {', '.join(missing)}.",
        )
    return {name: credentials[name] for name in tool.secrets}


def http_request(call: ToolCall, tool: HttpTool, secrets: Mapping[str, str]) -> ToolRequest:
    """The request of one call. Raises ToolFailed when a value cannot be sent where a template puts it."""
    values = {**call.context, **_declared_arguments(tool, call.arguments), SECRETS_VARIABLE: secrets}
    body = _body(call, tool, values)
    # No compressed responses: their size is known too late.
    headers = {"accept": "application/json, text/*;q=0.9", "accept-encoding": "identity", "user-agent": "Playhead"}
    if body:
        headers["content-type"] = "application/json"
    headers |= {name.lower(): value for name, value in render_headers(tool, values).items()}
    headers["idempotency-key"] = call.idempotency_key
    url = render_url(tool, values)
    if tool.method in ("GET", "DELETE") and tool.body is None:
        url = _with_query(url, _unnamed_arguments(tool, call.arguments))
    return ToolRequest(tool.method, url, header_bytes(headers), body)


def render_url(tool: HttpTool | McpTool, values: Mapping[str, object]) -> str:
    """The URL with all values percent-encoded. Raises ToolFailed for a value that adds a "." or ".." segment."""
    url = templates.render(tool.url, values, _percent_encoded)
    if _has_dot_segments(url) and not _has_dot_segments(templates.render(tool.url, {}, lambda _: "x")):
        raise ToolFailed("invalid_arguments", 'A value that is part of the address must not be "." or "..".')
    return url


def render_headers(tool: HttpTool | McpTool, values: Mapping[str, object]) -> dict[str, str]:
    """The tool's headers with values inserted. Raises ToolFailed for line breaks and other control characters."""
    headers = {name: templates.render(value, values).strip() for name, value in tool.headers.items()}
    for name, value in headers.items():
        if _CONTROL_CHARACTERS.search(value):
            raise ToolFailed("invalid_arguments", f"The header {name} would hold a line break or a control character.")
    return headers


def header_bytes(headers: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    """Headers encoded as bytes."""
    return tuple((name.encode(), value.encode(errors="replace")) for name, value in headers.items())


def _declared_arguments(tool: HttpTool, arguments: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The arguments that the tool declares: a model must not override context variables with invented arguments."""
    properties = tool.parameters.get("properties")
    known = properties if isinstance(properties, dict) else {}
    return {name: value for name, value in arguments.items() if name in known}


def _body(call: ToolCall, tool: HttpTool, values: Mapping[str, object]) -> bytes:
    if tool.body is not None:
        body = _render_json(tool.body, values)
    elif tool.method in ("POST", "PUT", "PATCH"):
        body = dict(call.arguments)
    else:
        return b""
    written = json.dumps(body).encode()
    if len(written) > MAX_BODY_BYTES:
        raise ToolFailed("too_large", f"The call was not made: it would send {len(written):,} bytes.")
    return written


def _render_json(part: JsonValue, values: Mapping[str, object]) -> JsonValue:
    """A JSON template with values inserted. A string that is a single variable becomes its value, with its type."""
    if isinstance(part, dict):
        return {key: _render_json(value, values) for key, value in part.items()}
    if isinstance(part, list):
        return [_render_json(value, values) for value in part]
    if not isinstance(part, str):
        return part
    alone = _SINGLE_VARIABLE.fullmatch(part)
    if alone is None:
        return templates.render(part, values)
    value: JsonValue = json.loads(json.dumps(templates.lookup(values, tuple(alone[1].split("."))), default=str))
    return value


def _unnamed_arguments(tool: HttpTool, arguments: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    named = {variable.name.split(".")[0] for variable in templates.variables(tool.url)}
    return {name: value for name, value in arguments.items() if name not in named}


def _with_query(url: str, arguments: Mapping[str, JsonValue]) -> str:
    parts = urlsplit(url)
    pairs = [pair for name, value in arguments.items() for pair in _query_pairs(name, value)]
    if not pairs:
        return url
    added = urlencode(pairs, quote_via=quote, safe="", errors="replace")
    return urlunsplit(parts._replace(query=f"{parts.query}&{added}" if parts.query else added))


def _query_pairs(name: str, value: JsonValue) -> Iterator[tuple[str, str]]:
    """A value as query parameters: a flat list repeats the name, nested values are encoded as JSON."""
    if value is None:
        return
    if isinstance(value, list) and not any(isinstance(part, dict | list) for part in value):
        for part in value:
            yield from _query_pairs(name, part)
    else:
        yield name, value if isinstance(value, str) else json.dumps(value)


def _has_dot_segments(url: str) -> bool:
    return any(unquote(segment) in (".", "..") for segment in urlsplit(url).path.split("/"))


def _percent_encoded(text: str) -> str:
    return quote(text, safe="", errors="replace")
