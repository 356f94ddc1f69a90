"""Answers tool calls from a scenario's mocks: validated and parsed like real calls, without any request."""

from pydantic import JsonValue

from activities.network.secrets import Redactor
from activities.tool_clients.argument_validation import check_arguments
from activities.tool_clients.builtin import builtin_variables
from activities.tool_clients.interface import ToolCall, ToolFailed
from activities.tool_clients.responses import assigned_variables, compact_json, to_content
from contracts.tools import CallToolResult
from domain.agents.offered_tools import offered_tool
from domain.agents.tool_mocks import find_mock
from domain.agents.tools import BuiltinTool, HttpTool

_NO_REDACTION = Redactor(())


def mocked_result(call: ToolCall) -> CallToolResult:
    """The result of the first mock that matches. Raises ToolFailed, also when none matches."""
    offered = offered_tool(call.name, call.tool)
    if offered is not None:
        check_arguments(offered.parameters, call.arguments)
    mock = find_mock(call.mocks, call.arguments)
    if mock is None:
        raise ToolFailed("not_mocked", f"No mock of {call.called} matches this call; the call was not made.")
    if mock.error is not None:
        raise ToolFailed("tool_error", mock.error)
    return CallToolResult(
        content=to_content(_as_text(mock.result), _NO_REDACTION) or "Done: the service answered without content.",
        assigned=_assigned(call, mock.result),
    )


def _assigned(call: ToolCall, result: JsonValue) -> dict[str, JsonValue]:
    """The variables of the call: those that its tool assigns from the result, or those of a built-in tool."""
    if isinstance(call.tool, HttpTool):
        return assigned_variables(result, call.tool.assign, _NO_REDACTION)
    return builtin_variables(call, call.tool) if isinstance(call.tool, BuiltinTool) else {}


def _as_text(result: JsonValue) -> str:
    if result is None or isinstance(result, str):
        return result or ""
    return compact_json(result)
