"""The tools of an agent as the model sees them: descriptions and parameters."""

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from domain.agents.tools import (
    AnyTool,
    BuiltinAction,
    BuiltinTool,
    DocumentsTool,
    HttpTool,
    McpTool,
    OfferedTool,
)

REASON: Final = "reason"
EXPRESSION: Final = "expression"
TIME_ZONE: Final = "time_zone"
"""Arguments of built-in tools."""
QUERY: Final = "query"
MAX_QUERY_CHARACTERS: Final = 500
"""The argument of documents tools, and its length."""

DISPOSITION: Final = "call_disposition"
"""Name of the variable with the reason for which the agent ended the session."""
HANDED_OVER_TO: Final = "handed_over_to"
"""Name of the variable with the target of a hand-over."""

_MAX_REASON_CHARACTERS: Final = 500
_DESCRIPTIONS: Final[Mapping[BuiltinAction, str]] = {
    "end_session": "Ends the conversation. Say goodbye first.",
    "hand_over": "Hands the conversation over to a person or another service, and ends it here.",
    "calculate": "Calculates an arithmetic expression exactly.",
    "current_time": "Shows the current date, time and weekday.",
}
_PARAMETERS: Final[Mapping[BuiltinAction, Mapping[str, JsonValue]]] = {
    "calculate": {
        "type": "object",
        "properties": {
            EXPRESSION: {
                "type": "string",
                "description": "Numbers, + - * / // % ** and parentheses, such as (2000 + 500) * 1.19",
            }
        },
        "required": [EXPRESSION],
    },
    "current_time": {
        "type": "object",
        "properties": {
            TIME_ZONE: {
                "type": "string",
                "maxLength": 64,
                "description": "A time zone of the IANA database, such as Europe/Rome; UTC without one",
            }
        },
    },
}


_QUERY_PARAMETERS: Final[Mapping[str, JsonValue]] = {
    "type": "object",
    "properties": {
        QUERY: {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_QUERY_CHARACTERS,
            "description": "The words to look for, in the language of the documents",
        }
    },
    "required": [QUERY],
}
_MAX_NAMES_SHOWN: Final = 5


def offered_tool(name: str, tool: AnyTool) -> OfferedTool | None:
    """A tool as offered to the model; None for an MCP server, which alone knows its tools."""
    if isinstance(tool, McpTool):
        return None
    if isinstance(tool, BuiltinTool):
        description = tool.description.strip() or _DESCRIPTIONS[tool.action]
        return OfferedTool(name=name, description=description, parameters=_parameters(tool))
    if isinstance(tool, DocumentsTool):
        return OfferedTool(
            name=name, description=tool.description.strip() or _searched(tool), parameters=_QUERY_PARAMETERS
        )
    return OfferedTool(name=name, description=tool.description, parameters=tool.parameters)


def variables_left_by(tool: AnyTool) -> tuple[str, ...]:
    """The names of the context variables that a call of a tool may set."""
    if isinstance(tool, HttpTool):
        return tuple(tool.assign)
    if not isinstance(tool, BuiltinTool):
        return ()
    target = (HANDED_OVER_TO,) if tool.action == "hand_over" else ()
    return (*target, *((DISPOSITION,) if tool.reason is not None else ()))


def _searched(tool: DocumentsTool) -> str:
    names = [file.name for file in tool.files]
    more = f" and {len(names) - _MAX_NAMES_SHOWN} more" if len(names) > _MAX_NAMES_SHOWN else ""
    shown = ", ".join(names[:_MAX_NAMES_SHOWN])
    return f"Searches documents, and returns the passages that match best with their source: {shown}{more}."


def _parameters(tool: BuiltinTool) -> Mapping[str, JsonValue]:
    if tool.action in _PARAMETERS:
        return _PARAMETERS[tool.action]
    if tool.reason is None:
        return {"type": "object", "properties": {}}
    reason: JsonValue = {"type": "string", "maxLength": _MAX_REASON_CHARACTERS, "description": tool.reason}
    return {"type": "object", "properties": {REASON: reason}, "required": [REASON]}
