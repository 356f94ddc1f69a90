"""Tools of dograh as tools of an agent, and back.

An export refers to tools by their ids only. If the response of dograh's API that lists tools stands beside the graph,
as `tools`, those that nodes refer to are imported with it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from pydantic import JsonValue, ValidationError

from domain.agents.definition import TOOL_TYPES, AgentDefinition
from domain.agents.offered_tools import offered_tool
from domain.agents.safe_regex import RegexLimits
from domain.agents.tool_validation import MAX_SERVER_NAME_CHARACTERS, tool_issues
from domain.agents.tools import AnyTool, BuiltinTool, HttpTool, McpTool
from domain.agents.validation_errors import (
    Location,
    NameSuggestions,
    format_path,
    format_value,
    list_or_empty,
    mapping_or_empty,
)
from domain.dograh.export_format import AUDIO, FETCH_TOOL, RECORDING_ID, Export, is_blank
from domain.turns.recordings import reference_to

TOOLS: Final = "tools"
CALCULATOR: Final = "safe_calculator"
"""Name under which dograh offers its calculator to the model."""
DEFAULT_REASON: Final = "Why the conversation ends."

_MAX_NAME_CHARACTERS: Final = 60
_MAX_DESCRIPTION_CHARACTERS: Final = 2_000
_MAX_TIMEOUT_SECONDS: Final = 300.0
_JSON_TYPES: Final = frozenset({"string", "number", "boolean", "object", "array"})
_MISSING_CREDENTIAL: Final = (
    "left out, because the export has the id of a credential but not the credential; name it under "
    "tools.{name}.secrets and use it in the headers there"
)


@dataclass
class ReadTools:
    """The tools in an export: their definitions by name, and the names by dograh's ids."""

    tools: dict[str, dict[str, object]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    sources: dict[str, Location] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    listed: set[str] = field(default_factory=set)
    """The ids of the tools that nodes refer to and that are listed beside the graph, including those not imported."""


def read_tools(export: Export) -> ReadTools:
    """The tools beside the graph to which its nodes refer; a warning for every part that cannot be kept."""
    read = ReadTools()
    wanted = {
        uuid
        for node in export.nodes
        if node.converses
        for uuid in list_or_empty(node.data.get("tool_uuids"))
        if isinstance(uuid, str)
    }
    for index, entry in enumerate(list_or_empty(export.outside.get(TOOLS))):
        given = mapping_or_empty(entry)
        uuid = given.get("tool_uuid")
        if isinstance(uuid, str) and uuid in wanted and uuid not in read.listed:
            read.listed.add(uuid)
            _add(read, (TOOLS, index), given, uuid)
    return read


def exported_tools(agent: AgentDefinition) -> list[JsonValue]:
    """The tools of an agent as dograh's API takes them; those that it has no category for are left out."""
    return [entry for name, tool in agent.tools.items() if (entry := _exported(agent, name, tool)) is not None]


def tool_uuids(agent: AgentDefinition, names: tuple[str, ...]) -> list[JsonValue]:
    """The ids in an export of the tools that a node offers."""
    return [_uuid(agent, name) for name in names if _definition(agent.tools[name]) is not None]


# --- reading ---


def _add(read: ReadTools, location: Location, given: Mapping[str, object], uuid: str) -> None:
    definition = mapping_or_empty(given.get("definition"))
    category = given.get("category") or definition.get("type")
    convert = _CATEGORIES.get(category) if isinstance(category, str) else None
    title = format_value(given.get("name"))
    if convert is None:
        read.warnings.append(
            f"{format_path(location)}: the tool {title} of the category {format_value(category)} is left out"
        )
        return
    name = _name(given, category, read.tools)
    config = mapping_or_empty(definition.get("config"))
    warnings: list[str] = []
    tool = convert(_Source(location, given, config, name, warnings))
    reason = tool if isinstance(tool, str) else _first_issue(name, tool)
    if reason is not None or isinstance(tool, str):
        read.warnings.append(f"{format_path(location)}: the tool {title} is left out: {reason}")
        return
    read.warnings += warnings
    read.tools[name], read.names[uuid], read.sources[name] = tool, name, location


@dataclass(frozen=True)
class _Source:
    """One tool in dograh's form, and the list that collects warnings about it."""

    location: Location
    given: Mapping[str, object]
    config: Mapping[str, object]
    name: str
    warnings: list[str]

    def warn(self, field_name: str, message: str) -> None:
        path = format_path((*self.location, "definition", "config", field_name))
        self.warnings.append(f"{path}: {message}")

    @property
    def description(self) -> str:
        """The description for the model, or else the name; cut to what is allowed."""
        text = next((text for key in ("description", "name") if (text := _text(self.given.get(key)))), self.name)
        if len(text) > _MAX_DESCRIPTION_CHARACTERS:
            path = format_path((*self.location, "description"))
            self.warnings.append(
                f"{path}: has {len(text):,} characters; those after {_MAX_DESCRIPTION_CHARACTERS:,} are cut off"
            )
        return text[:_MAX_DESCRIPTION_CHARACTERS]

    def without_credential(self) -> None:
        if not is_blank(self.config.get("credential_uuid")):
            self.warn("credential_uuid", _MISSING_CREDENTIAL.format(name=self.name))

    def say(self) -> dict[str, object]:
        """The text that is spoken before the session ends."""
        kind = self.config.get("messageType", "none")
        if kind == "custom":
            text = _text(self.config.get("customMessage"))
            return {"say": text} if text else {}
        recording = self.config.get("audioRecordingId")
        if kind == AUDIO and RECORDING_ID.fullmatch(str(recording)):
            self.warn(
                "messageType", f"a text chat cannot play the recording {recording}; it is kept as an event of the turn"
            )
            return {"say": reference_to(str(recording))}
        if kind not in (None, "none"):
            self.warn(
                "messageType", f"a text chat cannot play speech of the type {format_value(kind)}; nothing is said"
            )
        return {}


def _http(source: _Source) -> dict[str, object] | str:
    config, method = source.config, str(source.config.get("method") or "POST").upper()
    source.without_credential()
    if not is_blank(config.get("customMessage")) or not is_blank(config.get("customMessageRecordingId")):
        source.warn("customMessage", "left out; the model speaks for itself while the tool runs")
    parameters, presets = _parameters(config.get("parameters")), list(_presets(config.get("preset_parameters")))
    properties = mapping_or_empty(parameters["properties"])
    url, headers = config.get("url"), mapping_or_empty(config.get("headers"))
    tool: dict[str, object] = {
        "kind": "http",
        "description": source.description,
        "method": method,
        "url": url,
        "parameters": parameters,
        "retries": 0,
    }
    if headers:
        tool["headers"] = dict(headers)
    timeout = config.get("timeout_ms")
    if isinstance(timeout, int | float) and not isinstance(timeout, bool) and timeout > 0:
        tool["timeout_seconds"] = min(timeout / 1000, _MAX_TIMEOUT_SECONDS)
    if method in ("GET", "DELETE"):
        joined = "".join(f"{'&' if index else '?'}{name}={value}" for index, (name, value) in enumerate(presets))
        tool["url"] = f"{url}{joined.replace('?', '&', 1) if '?' in str(url) else joined}" if presets else url
    elif isinstance(config.get("body_template"), dict):
        tool["body"] = config["body_template"]
    elif presets:
        tool["body"] = {**{name: f"{{{{{name}}}}}" for name in properties}, **dict(presets)}
    return tool


def _end(source: _Source) -> dict[str, object] | str:
    tool: dict[str, object] = {
        "kind": "builtin",
        "action": "end_session",
        "description": source.description,
        **source.say(),
    }
    if source.config.get("endCallReason") is True:
        tool["reason"] = _text(source.config.get("endCallReasonDescription")) or DEFAULT_REASON
    return tool


def _hand_over(source: _Source) -> dict[str, object] | str:
    kind = source.config.get("destination_source") or "static"
    if kind != "static":
        return (
            f"its target is found in a way that is unknown here ({format_value(kind)}); declare a tool that looks it up"
        )
    target = _text(source.config.get("destination"))
    if not target:
        return "it has no destination"
    return {
        "kind": "builtin",
        "action": "hand_over",
        "description": source.description,
        "to": target,
        **source.say(),
    }


def _calculate(source: _Source) -> dict[str, object] | str:
    return {"kind": "builtin", "action": "calculate", "description": source.description}


def _mcp(source: _Source) -> dict[str, object] | str:
    source.without_credential()
    tool: dict[str, object] = {"kind": "mcp", "url": source.config.get("url"), "retries": 0}
    allowed = [name for name in list_or_empty(source.config.get("tools_filter")) if isinstance(name, str)]
    if allowed:
        tool["allow"] = allowed
    timeout = source.config.get("timeout_secs")
    if isinstance(timeout, int) and not isinstance(timeout, bool) and timeout > 0:
        tool["timeout_seconds"] = min(float(timeout), _MAX_TIMEOUT_SECONDS)
    return tool


_CATEGORIES: Final[Mapping[str, Callable[[_Source], dict[str, object] | str]]] = {
    "http_api": _http,
    "end_call": _end,
    "transfer_call": _hand_over,
    "calculator": _calculate,
    "mcp": _mcp,
}


def _first_issue(name: str, tool: Mapping[str, object]) -> str | None:
    """The first reason for which a tool is invalid."""
    for issue in tool_issues(name, tool, (), NameSuggestions(), RegexLimits(), lenient_templates=True):
        return f"{issue.path.removeprefix(f'{TOOLS}.{name}.')} {issue.message}"
    try:
        TOOL_TYPES[str(tool["kind"])].model_validate(tool)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        return f"{format_path(fault['loc'])}: {fault['msg'][:1].lower()}{fault['msg'][1:]}"
    return None


def _name(given: Mapping[str, object], category: object, taken: Mapping[str, object]) -> str:
    """The name under which dograh offers the tool to the model, made valid and unique."""
    written = CALCULATOR if category == "calculator" else _text(given.get("name"))
    name = re.sub("_+", "_", re.sub("[^a-z0-9_]", "_", written.lower())).strip("_")
    limit = MAX_SERVER_NAME_CHARACTERS if category == "mcp" else _MAX_NAME_CHARACTERS
    name = (name if name[:1].isalpha() else f"tool_{name}".rstrip("_"))[: limit - 3].rstrip("_")
    unique, number = name, 2
    while unique in taken or unique == FETCH_TOOL:
        unique, number = f"{name}_{number}", number + 1
    return unique


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _parameters(given: object) -> dict[str, object]:
    properties: dict[str, object] = {}
    required: list[str] = []
    for entry in map(mapping_or_empty, list_or_empty(given)):
        name, kind = _text(entry.get("name")), entry.get("type")
        if not name:
            continue
        schema: dict[str, object] = {"type": kind if kind in _JSON_TYPES else "string"}
        if description := _text(entry.get("description")):
            schema["description"] = description
        properties[name] = schema
        if entry.get("required", True) is not False:
            required.append(name)
    schema = {"type": "object", "properties": properties}
    return {**schema, "required": required} if required else schema


def _presets(given: object) -> Iterator[tuple[str, str]]:
    for entry in map(mapping_or_empty, list_or_empty(given)):
        name, value = _text(entry.get("name")), entry.get("value_template")
        if name and isinstance(value, str):
            yield name, value


# --- writing ---


def _exported(agent: AgentDefinition, name: str, tool: AnyTool) -> JsonValue:
    definition = _definition(tool)
    if definition is None or name == agent.pre_call_fetch:
        return None
    offered = offered_tool(name, tool)
    return {
        "tool_uuid": _uuid(agent, name),
        "name": name,
        "description": offered.description if offered else name,
        "category": definition["type"],
        "definition": definition,
    }


def _uuid(agent: AgentDefinition, name: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"playhead/{agent.name}/{name}"))


def _definition(tool: AnyTool) -> dict[str, JsonValue] | None:
    """The definition of a tool in dograh's form; None if dograh has no counterpart."""
    if isinstance(tool, HttpTool):
        return {"schema_version": 1, "type": "http_api", "config": _http_config(tool)}
    if isinstance(tool, McpTool):
        config: dict[str, JsonValue] = {"transport": "streamable_http", "url": tool.url}
        config |= {"tools_filter": list(tool.allow), "timeout_secs": int(tool.timeout_seconds)}
        return {"schema_version": 1, "type": "mcp", "config": config}
    return _builtin_definition(tool) if isinstance(tool, BuiltinTool) else None


def _builtin_definition(tool: BuiltinTool) -> dict[str, JsonValue] | None:
    said: dict[str, JsonValue] = (
        {"messageType": "custom", "customMessage": tool.say} if tool.say else {"messageType": "none"}
    )
    match tool.action:
        case "calculate":
            return {"schema_version": 1, "type": "calculator"}
        case "end_session":
            reason: dict[str, JsonValue] = {"endCallReason": tool.reason is not None}
            reason |= {"endCallReasonDescription": tool.reason} if tool.reason is not None else {}
            return {"schema_version": 1, "type": "end_call", "config": {**said, **reason}}
        case "hand_over":
            config = {"destination_source": "static", "destination": tool.to, **said}
            return {"schema_version": 1, "type": "transfer_call", "config": config}
        case "current_time":
            return None


def _http_config(tool: HttpTool) -> dict[str, JsonValue]:
    properties = mapping_or_empty(tool.parameters.get("properties"))
    required = list_or_empty(tool.parameters.get("required"))
    parameters: list[JsonValue] = [
        {
            "name": name,
            "type": str(mapping_or_empty(schema).get("type") or "string"),
            "description": str(mapping_or_empty(schema).get("description") or ""),
            "required": name in required,
        }
        for name, schema in properties.items()
    ]
    config: dict[str, JsonValue] = {
        "method": tool.method,
        "url": tool.url,
        "headers": {name: value for name, value in tool.headers.items() if "{{" not in value},
        "parameters": parameters,
        "timeout_ms": int(tool.timeout_seconds * 1000),
    }
    return {**config, "body_template": tool.body} if isinstance(tool.body, dict) else config
