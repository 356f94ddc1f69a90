"""Semantic validation of tools, applied to parsed data, even if parts of it are malformed."""

import re
from collections.abc import Collection, Iterator, Mapping
from urllib.parse import quote, urlsplit

from domain.agents import templates
from domain.agents.document_files import MAX_FILES, file_name_error, is_digest
from domain.agents.names import SECRETS_VARIABLE, UNPARSED_ARGUMENTS, name_issues
from domain.agents.safe_regex import RegexLimits
from domain.agents.tools import MCP_SEPARATOR
from domain.agents.validation_errors import (
    Location,
    NameSuggestions,
    ValidationIssue,
    format_path,
    format_value,
    list_or_empty,
    mapping_or_empty,
)

MAX_SERVER_NAME_CHARACTERS = 32
"""Maximum characters of the name of an MCP server, which is the prefix of its tools' names."""
MAX_ENTRIES = {"headers": 50, "assign": 50, "secrets": 20, "allow": 200, "files": MAX_FILES}

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADERS_SET_BY_PLAYHEAD = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "idempotency-key",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_HEADERS_SET_BY_MCP = re.compile("accept|accept-encoding|content-type|last-event-id|mcp-.*")
_AUTHORITY = re.compile(r"[A-Za-z]+://[^/?#]*")
_PATH = re.compile(r"([\w-]+(\.[\w-]+)*)?")
_ENDING_FIELDS = frozenset({"reason", "say"})
_FIELDS_OF_ACTIONS = {
    "end_session": _ENDING_FIELDS,
    "hand_over": _ENDING_FIELDS | {"to"},
    "calculate": frozenset[str](),
    "current_time": frozenset[str](),
}
_BUILTIN_FIELDS = _FIELDS_OF_ACTIONS["hand_over"]
_VALUE_KEYWORDS = frozenset({"const", "default", "enum", "examples"})  # keywords of a JSON schema that contain values


def tool_issues(
    name: str,
    tool: Mapping[str, object],
    servers: Collection[str],
    suggestions: NameSuggestions,
    regexes: RegexLimits,
    *,
    lenient_templates: bool = False,
) -> Iterator[ValidationIssue]:
    """All semantic issues of a tool.

    `servers` are the names of the agent's MCP servers; `regexes` counts the regular expressions of all its tools. With
    `lenient_templates` malformed templates in `say` and `to` of a built-in tool are no issues.
    """
    location: Location = ("tools", name)
    yield from name_issues(location, name)
    yield from _sizes(location, tool)
    yield from _secret_names(location, tool)
    yield from _url(location, tool)
    yield from _headers(location, tool)
    yield from _templates(location, tool, suggestions)
    yield from _approval_reason(location, tool)
    if tool.get("kind") == "mcp":
        yield from _server_name(location, name)
        return
    yield from _reserved_name(location, name, servers)
    if tool.get("kind") == "builtin":
        yield from _builtin(location, tool, lenient_templates)
        return
    if tool.get("kind") == "documents":
        yield from _files(location, tool)
        return
    yield from _request(location, tool)
    yield from _assignments(location, tool)
    schema = tool.get("parameters")
    if isinstance(schema, dict):
        yield from _parameters((*location, "parameters"), schema, regexes)


def secret_references(text: str) -> Iterator[str]:
    """The credentials a template refers to, in order; "" for a reference without a name."""
    for variable in templates.variables(text):
        first, *rest = variable.name.split(".")
        if first == SECRETS_VARIABLE:
            yield rest[0] if len(rest) == 1 else ""


def _sizes(location: Location, tool: Mapping[str, object]) -> Iterator[ValidationIssue]:
    for field, most in MAX_ENTRIES.items():
        entries = tool.get(field)
        if isinstance(entries, list | dict) and len(entries) > most:
            message = f"has {len(entries)} entries, at most {most} are allowed"
            yield ValidationIssue(path=format_path((*location, field)), message=message)


def _secret_names(location: Location, tool: Mapping[str, object]) -> Iterator[ValidationIssue]:
    for index, name in enumerate(list_or_empty(tool.get(SECRETS_VARIABLE))):
        if isinstance(name, str):
            yield from name_issues((*location, SECRETS_VARIABLE, index), name)


def _url(location: Location, tool: Mapping[str, object]) -> Iterator[ValidationIssue]:
    url = tool.get("url")
    if not isinstance(url, str) or not url.strip():
        return
    path = format_path((*location, "url"))
    authority = _AUTHORITY.match(url)
    if "{{" in (authority[0] if authority else url.partition("/")[0]):
        message = (
            "the scheme, host and port must not be templates, or a conversation could choose the server; write them out"
        )
        yield ValidationIssue(path=path, message=message)
    elif not is_http_url(templates.render(url, {}, _escaped)):
        yield ValidationIssue(path=path, message="must be an http:// or https:// address with a host")
    elif authority and "@" in authority[0]:
        yield ValidationIssue(path=path, message="must not hold a user name or password; put credentials into a header")


def _headers(location: Location, tool: Mapping[str, object]) -> Iterator[ValidationIssue]:
    seen = set()
    for name, value in mapping_or_empty(tool.get("headers")).items():
        path = format_path((*location, "headers", name))
        if not _HEADER.fullmatch(name) or (isinstance(value, str) and re.search(r"[\r\n]", value)):
            yield ValidationIssue(
                path=path,
                message="is not a valid HTTP header: remove spaces from the name and line breaks from the value",
            )
        elif name.lower() in _HEADERS_SET_BY_PLAYHEAD or (
            tool.get("kind") == "mcp" and _HEADERS_SET_BY_MCP.fullmatch(name.lower())
        ):
            yield ValidationIssue(path=path, message="is set by Playhead; remove it")
        elif name.lower() in seen:
            yield ValidationIssue(path=path, message="is a duplicate: header names are case-insensitive; remove one")
        seen.add(name.lower())


def _templates(
    location: Location, tool: Mapping[str, object], suggestions: NameSuggestions
) -> Iterator[ValidationIssue]:
    declared = [name for name in list_or_empty(tool.get(SECRETS_VARIABLE)) if isinstance(name, str)]
    parts = ("url", "headers", "body") if tool.get("kind") != "mcp" else ("url", "headers")
    for part in parts:
        for at, text in _texts((*location, part), tool.get(part)):
            for message in templates.syntax_errors(text):
                yield ValidationIssue(path=format_path(at), message=message)
            for name in dict.fromkeys(secret_references(text)):
                if not name:
                    yield ValidationIssue(
                        path=format_path(at), message="refers to a credential without its name; write {{secrets.NAME}}"
                    )
                elif name not in declared:
                    message = f"the credential {format_value(name)} is not listed under secrets" + suggestions.about(
                        name, declared
                    )
                    yield ValidationIssue(path=format_path(at), message=message)


def _builtin(location: Location, tool: Mapping[str, object], lenient: bool) -> Iterator[ValidationIssue]:
    """Issues of a built-in tool: fields that its action does not have, and templates that a person reads."""
    action = tool.get("action")
    if not isinstance(action, str) or action not in _FIELDS_OF_ACTIONS:
        return
    for field in sorted(_BUILTIN_FIELDS - _FIELDS_OF_ACTIONS[action]):
        if tool.get(field) is not None:
            message = f"has no effect with the action {action}; remove it"
            yield ValidationIssue(path=format_path((*location, field)), message=message)
    if action == "hand_over" and tool.get("to") is None:
        message = "is required with the action hand_over: name who goes on with the conversation"
        yield ValidationIssue(path=format_path((*location, "to")), message=message)
    for field in ("say", "to"):
        text = tool.get(field)
        if isinstance(text, str):
            yield from _shown_template((*location, field), text, lenient)


def _files(location: Location, tool: Mapping[str, object]) -> Iterator[ValidationIssue]:
    """Issues of the names of files: each must be usable, and listed once."""
    seen = set()
    for index, file in enumerate(list_or_empty(tool.get("files"))[:MAX_FILES]):
        name = file if isinstance(file, str) else mapping_or_empty(file).get("name")
        if not isinstance(name, str) or not name.strip():
            continue
        path = format_path((*location, "files", index))
        digest = mapping_or_empty(file).get("sha256")
        if isinstance(digest, str) and not is_digest(digest):
            message = "must be the sha256 of an uploaded document, 64 hexadecimal digits; leave it out to send the file"
            yield ValidationIssue(path=f"{path}.sha256", message=message)
        error = file_name_error(name)
        if error is not None:
            yield ValidationIssue(path=path, message=error)
        elif name in seen:
            yield ValidationIssue(path=path, message=f"the file {format_value(name)} is listed twice; remove one")
        seen.add(name)


def _approval_reason(location: Location, tool: Mapping[str, object]) -> Iterator[ValidationIssue]:
    """Issues of the reason for an approval, which must not contain credentials."""
    reason = mapping_or_empty(tool.get("approval")).get("reason")
    if isinstance(reason, str):
        yield from _shown_template((*location, "approval", "reason"), reason)


def _shown_template(location: Location, text: str, lenient: bool = False) -> Iterator[ValidationIssue]:
    """Issues of a template that people read, which must not contain credentials."""
    path = format_path(location)
    for message in templates.syntax_errors(text) if not lenient else ():
        yield ValidationIssue(path=path, message=message)
    if any(True for _ in secret_references(text)):
        yield ValidationIssue(
            path=path, message="must not refer to credentials, because a person reads it; remove them"
        )


def _server_name(location: Location, name: str) -> Iterator[ValidationIssue]:
    if len(name) > MAX_SERVER_NAME_CHARACTERS or MCP_SEPARATOR in name or name.endswith("_"):
        message = (
            f"the name {format_value(name)} is the prefix of the server's tools: use at most "
            f"{MAX_SERVER_NAME_CHARACTERS} characters, without {MCP_SEPARATOR} in it or _ at its end"
        )
        yield ValidationIssue(path=format_path(location), message=message)


def _reserved_name(location: Location, name: str, servers: Collection[str]) -> Iterator[ValidationIssue]:
    for server in servers:
        if name.startswith(server + MCP_SEPARATOR):
            prefix = format_value(server + MCP_SEPARATOR)
            message = (
                f"names that begin with {prefix} are reserved for the MCP server {format_value(server)}; rename it"
            )
            yield ValidationIssue(path=format_path(location), message=message)


def _request(location: Location, tool: Mapping[str, object]) -> Iterator[ValidationIssue]:
    if tool.get("method") == "GET" and tool.get("body") is not None:
        message = "a GET request has no body: put the values into the url, or use POST"
        yield ValidationIssue(path=format_path((*location, "body")), message=message)


def _assignments(location: Location, tool: Mapping[str, object]) -> Iterator[ValidationIssue]:
    for variable, path in mapping_or_empty(tool.get("assign")).items():
        at = (*location, "assign", variable)
        yield from name_issues(at, variable)
        if variable == SECRETS_VARIABLE:
            yield ValidationIssue(
                path=format_path(at), message="is the name under which tools find credentials; rename the variable"
            )
        if isinstance(path, str) and not _PATH.fullmatch(path):
            message = 'must be a path into the answer such as tables.0.number, or "" for the whole answer'
            yield ValidationIssue(path=format_path(at), message=message)


def _parameters(location: Location, schema: Mapping[str, object], regexes: RegexLimits) -> Iterator[ValidationIssue]:
    if schema.get("type") != "object":
        message = 'must be "object": a tool takes named parameters'
        yield ValidationIssue(path=format_path((*location, "type")), message=message)
    yield from _patterns(location, schema, regexes)
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        message = "must be a mapping of parameter names to schemas"
        yield ValidationIssue(path=format_path((*location, "properties")), message=message)
        return
    for name, parameter in properties.items():
        at = (*location, "properties", name)
        if name in (SECRETS_VARIABLE, UNPARSED_ARGUMENTS):
            yield ValidationIssue(path=format_path(at), message="is a reserved name; rename the parameter")
        if not isinstance(parameter, dict | bool):
            yield ValidationIssue(path=format_path(at), message="must be a JSON schema")
    required = schema.get("required", [])
    if not isinstance(required, list):
        yield ValidationIssue(path=format_path((*location, "required")), message="must be a list of parameter names")
        return
    for index, name in enumerate(required):
        if not isinstance(name, str) or name not in properties:
            path = format_path((*location, "required", index))
            yield ValidationIssue(path=path, message=f"no parameter {format_value(name)} in properties")


def _patterns(location: Location, schema: object, regexes: RegexLimits) -> Iterator[ValidationIssue]:
    """Issues of regular expressions: only those matched in linear time are supported."""
    if isinstance(schema, list):
        for index, part in enumerate(schema):
            yield from _patterns((*location, index), part, regexes)
    for key, part in mapping_or_empty(schema).items():
        at = (*location, key)
        if key == "pattern" and isinstance(part, str):
            message = regexes.issue(part)
            if message:
                yield ValidationIssue(path=format_path(at), message=message)
        elif key == "patternProperties":
            message = "is not supported: name the parameters under properties"
            yield ValidationIssue(path=format_path(at), message=message)
        elif key not in _VALUE_KEYWORDS:
            yield from _patterns(at, part, regexes)


def _escaped(text: str) -> str:
    return quote(text, safe="", errors="replace")


def is_http_url(url: str) -> bool:
    """True for an http or https URL with a host."""
    if re.search(r"[\s\\]", url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a broken IPv6 address or port
        return False


def _texts(location: Location, value: object) -> Iterator[tuple[Location, str]]:
    if isinstance(value, str):
        yield location, value
    for index, part in enumerate(list_or_empty(value)):
        yield from _texts((*location, index), part)
    for key, part in mapping_or_empty(value).items():
        yield from _texts((*location, key), part)
