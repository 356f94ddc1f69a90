"""The rules a tool of an agent must keep, checked on what was written even where parts of it are malformed."""

import re
from collections.abc import Collection, Iterator, Mapping
from urllib.parse import quote, urlsplit

from domain.agents import templates
from domain.agents.names import SECRETS, UNPARSED, name_faults
from domain.agents.safe_regex import is_pattern
from domain.agents.tools import MCP_SEPARATOR
from domain.agents.validation_errors import Hints, Location, ValidationIssue, place_of, shown

MAX_SERVER_NAME = 32
"""Characters of the name of an MCP server: it goes before the name of each of its tools."""
MAX_ENTRIES = {"headers": 50, "assign": 50, "secrets": 20, "allow": 200}

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SET_BY_PLAYHEAD = frozenset(
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
_SET_BY_MCP = re.compile("accept|accept-encoding|content-type|last-event-id|mcp-.*")
_AUTHORITY = re.compile(r"[A-Za-z]+://[^/?#]*")
_PATH = re.compile(r"([\w-]+(\.[\w-]+)*)?")
_VALUES = frozenset({"const", "default", "enum", "examples"})  # keywords of a JSON schema that hold no schemas


def tool_faults(
    name: str, tool: Mapping[str, object], servers: Collection[str], hints: Hints
) -> Iterator[ValidationIssue]:
    """Every fault of meaning in one written tool; `servers` are the names of the agent's MCP servers."""
    location: Location = ("tools", name)
    yield from name_faults(location, name)
    yield from _sizes(location, tool)
    yield from _secret_names(location, tool)
    yield from _address(location, tool)
    yield from _headers(location, tool)
    yield from _templates(location, tool, hints)
    yield from _reason(location, tool)
    if tool.get("kind") == "mcp":
        yield from _server_name(location, name)
        return
    yield from _taken_name(location, name, servers)
    yield from _request(location, tool)
    yield from _assignments(location, tool)
    schema = tool.get("parameters")
    if isinstance(schema, dict):
        yield from _parameters((*location, "parameters"), schema)


def secret_uses(text: str) -> Iterator[str]:
    """The credentials a template refers to, in order; "" for a reference that names none."""
    for variable in templates.variables(text):
        first, *rest = variable.name.split(".")
        if first == SECRETS:
            yield rest[0] if len(rest) == 1 else ""


def _sizes(location: Location, tool: Mapping[str, object]) -> Iterator[ValidationIssue]:
    for field, most in MAX_ENTRIES.items():
        entries = tool.get(field)
        if isinstance(entries, list | dict) and len(entries) > most:
            message = f"has {len(entries)} entries, at most {most} are allowed"
            yield ValidationIssue(place=place_of((*location, field)), message=message)


def _secret_names(location: Location, tool: Mapping[str, object]) -> Iterator[ValidationIssue]:
    for index, name in enumerate(_list(tool.get(SECRETS))):
        if isinstance(name, str):
            yield from name_faults((*location, SECRETS, index), name)


def _address(location: Location, tool: Mapping[str, object]) -> Iterator[ValidationIssue]:
    url = tool.get("url")
    if not isinstance(url, str) or not url.strip():
        return
    place = place_of((*location, "url"))
    authority = _AUTHORITY.match(url)
    if "{{" in (authority[0] if authority else url.partition("/")[0]):
        message = (
            "the scheme, host and port must be written out: with a template there, a conversation would decide who "
            "is called"
        )
        yield ValidationIssue(place=place, message=message)
    elif not is_web_address(templates.render(url, {}, _escaped)):
        yield ValidationIssue(place=place, message="must be an http:// or https:// address with a host")
    elif authority and "@" in authority[0]:
        yield ValidationIssue(
            place=place, message="must not hold a user name or password; put credentials into a header"
        )


def _headers(location: Location, tool: Mapping[str, object]) -> Iterator[ValidationIssue]:
    seen = set()
    for name, value in _mapping(tool.get("headers")).items():
        place = place_of((*location, "headers", name))
        if not _HEADER.fullmatch(name) or (isinstance(value, str) and re.search(r"[\r\n]", value)):
            yield ValidationIssue(place=place, message="is no HTTP header: names have no spaces, values no line breaks")
        elif name.lower() in _SET_BY_PLAYHEAD or (tool.get("kind") == "mcp" and _SET_BY_MCP.fullmatch(name.lower())):
            yield ValidationIssue(place=place, message="is set by Playhead; remove it")
        elif name.lower() in seen:
            yield ValidationIssue(place=place, message="is there twice: capitals make no difference in header names")
        seen.add(name.lower())


def _templates(location: Location, tool: Mapping[str, object], hints: Hints) -> Iterator[ValidationIssue]:
    declared = [name for name in _list(tool.get(SECRETS)) if isinstance(name, str)]
    parts = ("url", "headers", "body") if tool.get("kind") != "mcp" else ("url", "headers")
    for part in parts:
        for at, text in _texts((*location, part), tool.get(part)):
            for message in templates.check(text):
                yield ValidationIssue(place=place_of(at), message=message)
            for name in dict.fromkeys(secret_uses(text)):
                if not name:
                    yield ValidationIssue(place=place_of(at), message="a credential is referred to as {{secrets.NAME}}")
                elif name not in declared:
                    message = f"the credential {shown(name)} is not listed under secrets" + hints.about(name, declared)
                    yield ValidationIssue(place=place_of(at), message=message)


def _reason(location: Location, tool: Mapping[str, object]) -> Iterator[ValidationIssue]:
    """What a person is told before a call: of the session and the call, and of no credential."""
    reason = _mapping(tool.get("approval")).get("reason")
    if isinstance(reason, str):
        place = place_of((*location, "approval", "reason"))
        for message in templates.check(reason):
            yield ValidationIssue(place=place, message=message)
        if any(True for _ in secret_uses(reason)):
            yield ValidationIssue(place=place, message="a person reads this: credentials say nothing here")


def _server_name(location: Location, name: str) -> Iterator[ValidationIssue]:
    if len(name) > MAX_SERVER_NAME or MCP_SEPARATOR in name or name.endswith("_"):
        message = (
            f"the name {shown(name)} goes before those of the server's tools: at most {MAX_SERVER_NAME} "
            f"characters, without {MCP_SEPARATOR} in it or _ at its end"
        )
        yield ValidationIssue(place=place_of(location), message=message)


def _taken_name(location: Location, name: str, servers: Collection[str]) -> Iterator[ValidationIssue]:
    for server in servers:
        if name.startswith(server + MCP_SEPARATOR):
            message = f"names that begin with {shown(server + MCP_SEPARATOR)} belong to the MCP server {shown(server)}"
            yield ValidationIssue(place=place_of(location), message=message)


def _request(location: Location, tool: Mapping[str, object]) -> Iterator[ValidationIssue]:
    if tool.get("method") == "GET" and tool.get("body") is not None:
        message = "a GET request has no body: put the values into the url, or use POST"
        yield ValidationIssue(place=place_of((*location, "body")), message=message)


def _assignments(location: Location, tool: Mapping[str, object]) -> Iterator[ValidationIssue]:
    for variable, path in _mapping(tool.get("assign")).items():
        at = (*location, "assign", variable)
        yield from name_faults(at, variable)
        if variable == SECRETS:
            yield ValidationIssue(
                place=place_of(at), message="is the name under which credentials are found; take another"
            )
        if isinstance(path, str) and not _PATH.fullmatch(path):
            message = 'must be a path into the answer such as tables.0.number, or "" for the whole answer'
            yield ValidationIssue(place=place_of(at), message=message)


def _parameters(location: Location, schema: Mapping[str, object]) -> Iterator[ValidationIssue]:
    if schema.get("type") != "object":
        message = 'must be "object": a tool takes named parameters'
        yield ValidationIssue(place=place_of((*location, "type")), message=message)
    yield from _patterns(location, schema)
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        message = "must be a mapping of parameter names to schemas"
        yield ValidationIssue(place=place_of((*location, "properties")), message=message)
        return
    for name, parameter in properties.items():
        at = (*location, "properties", name)
        if name in (SECRETS, UNPARSED):
            yield ValidationIssue(
                place=place_of(at), message="has a meaning of its own here; give the parameter another name"
            )
        if not isinstance(parameter, dict | bool):
            yield ValidationIssue(place=place_of(at), message="must be a JSON schema")
    required = schema.get("required", [])
    if not isinstance(required, list):
        yield ValidationIssue(place=place_of((*location, "required")), message="must be a list of parameter names")
        return
    for index, name in enumerate(required):
        if not isinstance(name, str) or name not in properties:
            place = place_of((*location, "required", index))
            yield ValidationIssue(place=place, message=f"no parameter {shown(name)} in properties")


def _patterns(location: Location, schema: object) -> Iterator[ValidationIssue]:
    """Patterns are matched against what a caller says, in time that grows with its length and no faster."""
    if isinstance(schema, list):
        for index, part in enumerate(schema):
            yield from _patterns((*location, index), part)
    for key, part in _mapping(schema).items():
        at = (*location, key)
        if key == "pattern" and isinstance(part, str):
            if not is_pattern(part):
                message = f"{shown(part)} is no pattern that can be used here: no look-around, no back-references"
                yield ValidationIssue(place=place_of(at), message=message)
        elif key == "patternProperties":
            message = "is not supported: name the parameters under properties"
            yield ValidationIssue(place=place_of(at), message=message)
        elif key not in _VALUES:
            yield from _patterns(at, part)


def _escaped(text: str) -> str:
    return quote(text, safe="", errors="replace")


def is_web_address(url: str) -> bool:
    """Whether a text is an address of the web, with a host."""
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
    for index, part in enumerate(_list(value)):
        yield from _texts((*location, index), part)
    for key, part in _mapping(value).items():
        yield from _texts((*location, key), part)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
