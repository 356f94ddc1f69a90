"""The events of a session's log: what a settled turn and the facts around it amount to, each under a key of its own."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import JsonValue

from domain.tree import SessionFact
from domain.turns import Turn


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """Something that happened. `key` is the same however often it is reported.

    Texts are not repeated here: they are read from the turn.
    """

    key: str
    type: str
    turn_id: str | None
    created_at: datetime
    payload: dict[str, JsonValue]


def events_of(turns: Iterable[Turn], facts: Iterable[SessionFact]) -> list[LoggedEvent]:
    """Everything that the turns and facts tell, in the order in which it happened; the end of the session last."""
    events = [event for turn in turns for event in _of_turn(turn)]
    events += [LoggedEvent(fact.key, fact.type, None, fact.created_at, fact.payload) for fact in facts]
    return sorted(events, key=lambda event: (event.type == "session_completed", event.created_at))


def start_of(turn: Turn) -> LoggedEvent:
    """The event with which a turn begins."""
    place: dict[str, JsonValue] = {"index": turn.index, "parent_id": turn.parent_id}
    return LoggedEvent(starting_key(turn.id), "turn_started", turn.id, turn.created_at, place)


def starting_key(turn_id: str) -> str:
    """The key of the event with which a turn begins."""
    return f"{turn_id}/started"


def closing_key(turn_id: str) -> str:
    """The key of the event with which a turn is over."""
    return f"{turn_id}/closed"


def _of_turn(turn: Turn) -> Iterable[LoggedEvent]:
    yield start_of(turn)
    for number, event in enumerate(turn.events):
        yield LoggedEvent(f"{turn.id}/{number}", event.type, turn.id, event.created_at, event.payload)
    if turn.status != "pending":
        outcome: dict[str, JsonValue] = {"node_id": turn.node_id, "error": turn.error}
        yield LoggedEvent(closing_key(turn.id), f"turn_{turn.status}", turn.id, _closed_at(turn), outcome)


def _closed_at(turn: Turn) -> datetime:
    """When a turn was over: with its answer, else with the error that ended it, else after the time it took."""
    if turn.assistant_message is not None:
        return turn.assistant_message.created_at
    errors = [event.created_at for event in turn.events if event.type == "execution_error"]
    return errors[-1] if errors else turn.created_at + timedelta(seconds=turn.usage.duration_seconds)
