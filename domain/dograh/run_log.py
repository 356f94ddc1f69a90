"""The run log in dograh's format: the visible turns as feedback events.

The entries of a turn depend on that turn only. So the log of a branch is the concatenation of the logs of its turns,
and grows without being rewritten.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import JsonValue, PlainSerializer

from domain.agents.definition import Origin
from domain.agents.graph_validation import transition_tool_name
from domain.durable import FrozenModel
from domain.turns.turn import Turn, TurnEvent

FeedbackType = Literal[
    "rtf-node-transition",
    "rtf-function-call-start",
    "rtf-function-call-end",
    "rtf-user-transcription",
    "rtf-bot-text",
    "rtf-pipeline-error",
]

MOVED: Final[dict[str, JsonValue]] = {"status": "done"}
"""The result of a transition that clients of dograh expect."""

Stamp = Annotated[datetime, PlainSerializer(lambda at: at.isoformat(), return_type=str, when_used="json")]
"""A time written to JSON with its offset, like the times inside payloads."""


OriginOf = Callable[[str], Origin]
"""Function that returns the origin of a node, such as `AgentDefinition.origin_of`."""


def identity_origin(node_id: str) -> Origin:
    """An origin with the id of the node as its id and name."""
    return Origin(id=node_id, name=node_id)


class FeedbackEvent(FrozenModel):
    """One entry of the log. `turn` is the index of its turn on the branch.

    `node_id` and `node_name` are set for entered nodes only. Other entries do not have these fields in the log: dump
    them with `exclude_none=True`.
    """

    type: FeedbackType
    timestamp: Stamp
    turn: int
    payload: dict[str, JsonValue]
    node_id: str | None = None
    node_name: str | None = None


def realtime_feedback_events(turns: Iterable[Turn], origin_of: OriginOf = identity_origin) -> list[FeedbackEvent]:
    """The log of a branch, from its visible turns, oldest first."""
    return [entry for turn in turns for entry in events_of_turn(turn, origin_of)]


def events_of_turn(turn: Turn, origin_of: OriginOf = identity_origin) -> tuple[FeedbackEvent, ...]:
    """The entries of one turn, in time order; at equal times the user's message comes first.

    No entry is older than its turn: a queued message has the time at which its turn opened.
    """
    return tuple(sorted(_entries(turn, origin_of), key=lambda entry: entry.timestamp))


def payload_of(event: TurnEvent, origin_of: OriginOf = identity_origin) -> dict[str, JsonValue]:
    """The payload of an event in dograh's format."""
    payload = event.payload
    match event.type:
        case "node_transition":
            return _transition(payload.get("from_node"), payload.get("to_node"), origin_of)
        case "tool_call_started":
            return {**_call(event), "arguments": payload.get("arguments")}
        case "tool_call_result":
            return {**_call(event), "result": _as_json(payload.get("result"))}
        case _:
            return payload


class EventForms:
    """Converts the events of one turn for clients of dograh, one after the other.

    The result of a transition becomes `MOVED`: ours contains a node id that these clients do not know.
    """

    def __init__(self) -> None:
        self._moved: JsonValue = None

    def form(self, event: TurnEvent) -> TurnEvent:
        """The next event of the turn, converted."""
        if event.type == "node_transition":
            self._moved = event.payload.get("transition")
        elif event.type == "tool_call_result" and isinstance(self._moved, str):
            is_transition = event.payload.get("name") == transition_tool_name(self._moved)
            self._moved = None
            if is_transition:
                return event.model_copy(update={"payload": {**event.payload, "result": dict(MOVED)}})
        return event


def events_in_form(turn: Turn) -> Iterator[TurnEvent]:
    """The events of a turn, converted."""
    return map(EventForms().form, turn.events)


def _entries(turn: Turn, origin_of: OriginOf) -> Iterator[FeedbackEvent]:
    """The entries in logical order, which a stable sort by time keeps at equal times."""
    user, assistant = turn.user_message, turn.assistant_message
    if user is not None and user.text:
        yield _spoken("rtf-user-transcription", turn, user.created_at, text=user.text, final=True)
    for event in events_in_form(turn):
        entry = _happened(turn, event, origin_of)
        if entry is not None:
            yield entry
    if assistant is not None and assistant.text:
        yield _spoken("rtf-bot-text", turn, assistant.created_at, text=assistant.text)


def _spoken(kind: FeedbackType, turn: Turn, at: datetime, **payload: JsonValue) -> FeedbackEvent:
    stamp = max(at, turn.created_at)
    return FeedbackEvent(
        type=kind, timestamp=stamp, turn=turn.index, payload={**payload, "timestamp": stamp.isoformat()}
    )


def _happened(turn: Turn, event: TurnEvent, origin_of: OriginOf) -> FeedbackEvent | None:
    """The entry of an event; None for events that are not logged."""
    payload = event.payload
    match event.type:
        case "node_transition":
            return _entered(turn, event, origin_of)
        case "tool_call_started":
            started = {**_call(event), "arguments": payload.get("arguments")}
            return _entry(turn, event, "rtf-function-call-start", started)
        case "tool_call_result":
            ended = {**_call(event), "result": _as_text(payload.get("result"))}
            return _entry(turn, event, "rtf-function-call-end", ended)
        case "execution_error":
            return _entry(turn, event, "rtf-pipeline-error", {"error": payload.get("message"), "fatal": True})
        case _:
            return None


def _entered(turn: Turn, event: TurnEvent, origin_of: OriginOf) -> FeedbackEvent | None:
    """The entry of a transition; None for a transition from a node to itself."""
    left, entered = event.payload.get("from_node"), event.payload.get("to_node")
    if not isinstance(entered, str) or left == entered:
        return None
    node = origin_of(entered)
    entry = _entry(turn, event, "rtf-node-transition", payload_of(event, origin_of))
    return entry.model_copy(update={"node_id": node.id, "node_name": node.name})


def _transition(left: JsonValue, entered: JsonValue, origin_of: OriginOf) -> dict[str, JsonValue]:
    before, after = _named(left, origin_of), _named(entered, origin_of)
    return {
        "node_id": after[0],
        "node_name": after[1],
        "previous_node_id": before[0],
        "previous_node_name": before[1],
        "allow_interrupt": isinstance(entered, str) and origin_of(entered).allow_interrupt,
    }


def _named(node_id: JsonValue, origin_of: OriginOf) -> tuple[str | None, str | None]:
    """Id and name of the origin of a node; None without a node."""
    if not isinstance(node_id, str):
        return None, None
    origin = origin_of(node_id)
    return origin.id, origin.name


def _call(event: TurnEvent) -> dict[str, JsonValue]:
    return {"function_name": event.payload.get("name"), "tool_call_id": event.payload.get("call_id")}


def _entry(turn: Turn, event: TurnEvent, kind: FeedbackType, payload: dict[str, JsonValue]) -> FeedbackEvent:
    return FeedbackEvent(type=kind, timestamp=max(event.created_at, turn.created_at), turn=turn.index, payload=payload)


def text_of(result: JsonValue) -> str:
    """The result of a tool as text: JSON for values that are not text."""
    return _as_text(result) or ""


def _as_text(result: JsonValue) -> str | None:
    """The result of a tool as text: JSON for values that are not text, None without a result."""
    if result is None or isinstance(result, str):
        return result
    return json.dumps(result, ensure_ascii=False)


def _as_json(result: JsonValue) -> JsonValue:
    """The result of a tool as JSON if its text is an object or a list, else as it is."""
    if not isinstance(result, str) or not result.lstrip().startswith(("{", "[")):
        return result
    try:
        found: JsonValue = json.loads(result)
    except (ValueError, RecursionError):
        return result
    return found
