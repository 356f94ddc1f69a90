"""The older form of client tools: one `function_call` of a reply, and results without the id of their call."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from api.openai.schemas import ChatMessage
from domain.sessions.client_calls import call_order, call_place
from domain.sessions.views import TimelineView


@dataclass(frozen=True)
class FunctionResult:
    """The result of a function at the end of a request.

    `number` is the place of its call among those of the turn, from 1; 0 when the history does not have the call.
    """

    name: str
    content: str
    number: int


def newest_function_call(messages: Sequence[ChatMessage]) -> Mapping[str, JsonValue]:
    """The call in the last message of the assistant; empty if it has none."""
    newest = next((message for message in reversed(messages) if message.role == "assistant"), None)
    return {} if newest is None else _call_in(newest)


def number_of_call(messages: Sequence[ChatMessage]) -> int:
    """The number of calls since the last message of the user."""
    count = 0
    for message in reversed(messages):
        if message.role == "user":
            break
        count += bool(message.role == "assistant" and _call_in(message))
    return count


def call_of(result: FunctionResult, turn_id: str, view: TimelineView, recorded: Collection[str] = ()) -> str | None:
    """The id of the call, among those of a turn, that a result belongs to; None if there is none.

    `recorded` are the call ids of a session that has ended, whose view does not have them.
    """
    waiting = {call.call_id: call.tool for call in view.head.client_calls if call.turn_id == turn_id}
    returned = [call_id for call_id in (*view.returned_call_ids, *recorded) if _turn_of(call_id) == turn_id]
    calls = sorted({*waiting, *returned}, key=call_order)
    if result.number:
        found = calls[result.number - 1] if result.number <= len(calls) else None
        return None if found in waiting and waiting[found] != result.name else found
    named = (call_id for call_id in calls if waiting.get(call_id) == result.name)
    return next(named, calls[-1] if calls and not waiting else None)


def _call_in(message: ChatMessage) -> Mapping[str, JsonValue]:
    call = (message.model_extra or {}).get("function_call")
    return call if isinstance(call, dict) else {}


def _turn_of(call_id: str) -> str | None:
    place = call_place(call_id)
    return None if place is None else place.turn_id
