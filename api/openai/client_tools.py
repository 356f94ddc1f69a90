"""Client tools in the protocol: the tools that a client offers, its results, and the calls that its history names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import JsonValue

from api.openai.errors import ChatError
from api.openai.function_calls import FunctionResult, newest_function_call, number_of_call
from api.openai.schemas import ChatMessage
from domain.agents.definition import AgentDefinition
from domain.agents.tools import ClientTool
from domain.sessions.client_calls import CallPlace, call_place
from domain.sessions.commands import ClientResult
from domain.turns.engine import PART_SEPARATOR

MAX_OFFERED: Final = 1_000
"""Maximum number of tools of a request that are read."""


@dataclass(frozen=True)
class ReturnedResults:
    """The results at the end of a request, and the place of their calls."""

    results: tuple[ClientResult, ...]
    place: CallPlace


def offered_names(parameters: Mapping[str, JsonValue]) -> frozenset[str]:
    """The names of the functions that a request offers; none if its choice is `none`."""
    field = offering_parameter(parameters)
    tools = parameters.get(field)
    choice = parameters.get("function_call" if field == "functions" else "tool_choice")
    if choice == "none" or not isinstance(tools, list):
        return frozenset()
    return frozenset(name for tool in tools[:MAX_OFFERED] if (name := _name_of(tool)) is not None)


def offering_parameter(parameters: Mapping[str, JsonValue]) -> Literal["tools", "functions"]:
    """The parameter in which a request offers its functions: the older `functions` only without `tools`."""
    return "functions" if parameters.get("functions") and not parameters.get("tools") else "tools"


def client_tools_among(names: frozenset[str], definition: AgentDefinition) -> tuple[str, ...]:
    """The client tools of an agent among the names that a client offers."""
    return tuple(name for name, tool in definition.tools.items() if isinstance(tool, ClientTool) and name in names)


def taken_parameters(parameters: Mapping[str, JsonValue], definition: AgentDefinition) -> frozenset[str]:
    """The parameter in which a request offers its functions, if every one of them is a client tool of the agent."""
    field = offering_parameter(parameters)
    tools = parameters.get(field)
    names = {_name_of(tool) for tool in tools} if isinstance(tools, list) else {None}
    are_all = all(name is not None and isinstance(definition.tools.get(name), ClientTool) for name in names)
    return frozenset({field}) if are_all else frozenset()


def returned_results(messages: Sequence[ChatMessage]) -> ReturnedResults | None:
    """The results after the last message of the assistant, if they belong to calls of this API.

    Raises ChatError for results of several turns, and for results that are not text.
    """
    results: dict[str, ClientResult] = {}
    places: set[CallPlace] = set()
    for at, message in _tail(messages):
        call_id = _text_field(message, "tool_call_id") if message.role == "tool" else None
        if message.role == "function":
            call_id = _text(newest_function_call(messages[:at]).get("id"))
        place = call_place(call_id) if call_id is not None else None
        if call_id is not None and place is not None:
            results[call_id] = ClientResult(call_id=call_id, content=message_text(message, at))
            places.add(place)
    if len(places) > 1:
        text = "The tool results at the end are of calls of different replies. Send those of the last one."
        raise ChatError(400, "invalid_request", text, "messages")
    return ReturnedResults(tuple(results.values()), places.pop()) if places else None


def function_result(messages: Sequence[ChatMessage]) -> FunctionResult | None:
    """The result at the end of a request in the older form, for a history without the id of its call."""
    for at, message in reversed(list(_tail(messages))):
        name = _text_field(message, "name")
        if message.role == "function" and name is not None:
            return FunctionResult(name, message_text(message, at), number_of_call(messages[:at]))
    return None


def called_place(messages: Sequence[ChatMessage]) -> CallPlace | None:
    """The place of the newest call of this API in a history."""
    for message in reversed(messages):
        fields = message.model_extra or {}
        calls = fields.get("tool_calls")
        for call in (*reversed(calls if isinstance(calls, list) else []), fields.get("function_call")):
            call_id = call.get("id") if isinstance(call, dict) else None
            if isinstance(call_id, str) and (place := call_place(call_id)) is not None:
                return place
    return None


def message_text(message: ChatMessage, at: int) -> str:
    """The text of the message at this position. Raises ChatError for parts that are not text."""
    if isinstance(message.content, str):
        return message.content
    for number, part in enumerate(message.content or []):
        if part.type not in ("text", "refusal"):
            place = f"messages[{at}].content[{number}]"
            raise ChatError(
                400, "unsupported_message", f"Content parts of type {part.type} are not supported: send text.", place
            )
    return "".join(part.text or "" for part in message.content or [])


def reply_since(text: str, said: int) -> str:
    """The text of a reply after its first `said` characters, which the client already has, without the separator."""
    rest = text[said:]
    if not said:
        return rest
    return "" if PART_SEPARATOR.startswith(rest) else rest.removeprefix(PART_SEPARATOR)


def _tail(messages: Sequence[ChatMessage]) -> Iterator[tuple[int, ChatMessage]]:
    """The messages after the last one of the assistant, with their positions."""
    last = max((at for at, message in enumerate(messages) if message.role == "assistant"), default=-1)
    return ((at, message) for at, message in enumerate(messages) if at > last)


def _name_of(tool: JsonValue) -> str | None:
    """The name of an offered function, in the form of chat completions or of responses."""
    if not isinstance(tool, dict) or tool.get("type", "function") != "function":
        return None
    described = tool.get("function", tool)
    name = described.get("name") if isinstance(described, dict) else None
    return name if isinstance(name, str) else None


def _text_field(message: ChatMessage, name: str) -> str | None:
    return _text((message.model_extra or {}).get(name))


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None
