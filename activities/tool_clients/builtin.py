"""Built-in tools: arithmetic, the time, and the results of calls that end the session. No request is sent."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import JsonValue

from activities.tool_clients.argument_validation import check_arguments
from activities.tool_clients.interface import ToolCall, ToolFailed
from activities.tool_clients.responses import compact_json, replace_unstorable
from contracts.tools import CallToolResult
from domain.agents.calculator import CalculationError, calculate
from domain.agents.offered_tools import DISPOSITION, EXPRESSION, HANDED_OVER_TO, REASON, TIME_ZONE, offered_tool
from domain.agents.templates import render
from domain.agents.tools import BuiltinTool

MAX_TARGET_CHARACTERS: Final = 2_000


def run_builtin(call: ToolCall, tool: BuiltinTool, *, now: Callable[[], datetime]) -> CallToolResult:
    """Carry out a call. Raises ToolFailed for arguments that cannot be used."""
    offered = offered_tool(call.name, tool)
    check_arguments(offered.parameters if offered else {}, call.arguments)
    match tool.action:
        case "calculate":
            try:
                return CallToolResult(content=calculate(str(call.arguments[EXPRESSION])))
            except CalculationError as error:
                raise ToolFailed("invalid_arguments", f"Not calculated: {error}.") from None
        case "current_time":
            return CallToolResult(content=_time(str(call.arguments.get(TIME_ZONE) or "UTC"), now()))
        case "end_session":
            return CallToolResult(content="The session ends.", assigned=builtin_variables(call, tool))
        case "hand_over":
            variables = builtin_variables(call, tool)
            if not variables[HANDED_OVER_TO]:
                raise ToolFailed("invalid_tool", "Not handed over: the target is empty for this conversation.")
            content = f"The conversation is handed over to {variables[HANDED_OVER_TO]}, and ends here."
            return CallToolResult(content=content, assigned=variables)


def builtin_variables(call: ToolCall, tool: BuiltinTool) -> dict[str, JsonValue]:
    """The variables that a call leaves in the context of its session."""
    variables: dict[str, JsonValue] = {}
    reason = call.arguments.get(REASON)
    if tool.reason is not None and isinstance(reason, str) and reason.strip():
        variables[DISPOSITION] = replace_unstorable(reason.strip())
    if tool.action == "hand_over":
        target = render(tool.to or "", call.context).strip()
        variables[HANDED_OVER_TO] = replace_unstorable(target)[:MAX_TARGET_CHARACTERS]
    return variables


def _time(zone: str, now: datetime) -> str:
    try:
        local = now.astimezone(UTC if zone == "UTC" else ZoneInfo(zone))
    except (ValueError, OSError, KeyError):  # no such zone, or a directory of the database
        message = f"There is no time zone {zone[:64]!r}; write one of the IANA database, such as Europe/Rome."
        raise ToolFailed("invalid_arguments", message) from None
    shown: dict[str, JsonValue] = {
        "time_zone": zone,
        "time": local.isoformat(timespec="seconds"),
        "weekday": f"{local:%A}",
    }
    return compact_json(shown)
