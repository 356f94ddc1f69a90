"""Session events as lines of text, for the chat and `sessions tail`."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from pydantic import JsonValue

from domain.agents.graph_validation import transition_tool_name
from domain.turns.recordings import describe_recording
from domain.turns.turn import Turn
from playhead.output.plain_text import printable

Tone = Literal["plain", "dim", "strong", "error"]

REASONS = {
    "end_node": "the agent said goodbye",
    "end_tool": "the agent ended it",
    "handed_over": "the agent handed it over",
    "max_turns": "it reached the agent's limit of turns",
    "max_cost": "it reached the agent's limit of cost",
    "user_hangup": "the user ended it",
    "user_idle_max_duration_exceeded": "there was no message for as long as the agent allows",
}
"""Completion reasons in words; other reasons are shown unchanged."""


@dataclass(frozen=True)
class Line:
    """One line for people. The tone only sets its style on a terminal."""

    text: str
    tone: Tone = "plain"


def event_lines(turn: Turn) -> list[Line]:
    """The events of a turn, a dim line each. A transition is shown, but not the tool call that made it."""
    transitions = [event.payload.get("transition") for event in turn.events if event.type == "node_transition"]
    tools = {transition_tool_name(name) for name in transitions if isinstance(name, str)}
    texts = (
        describe_event(event.type, event.payload) for event in turn.events if event.payload.get("name") not in tools
    )
    return [Line(printable(text), "dim") for text in texts if text]


def describe_event(kind: str, payload: Mapping[str, JsonValue]) -> str | None:
    """An event of a turn in a few words; None if the turn itself shows it."""
    text = None
    match kind:
        case "node_transition":
            text = f"→ {payload.get('to_node')}"
        case "tool_call_started":
            text = f"· calls {payload.get('name')}"
        case "tool_call_result" if payload.get("error"):
            text = f"· {payload.get('name')} failed: {payload['error']}"
        case "variables_extracted":
            text = _describe_variables(payload)
        case "recording_referenced":
            text = f"· {describe_recording(payload)}"
        case "command_refused":
            text = f"· rejected: {payload.get('detail')}"
    return text


def _describe_variables(payload: Mapping[str, JsonValue]) -> str | None:
    if payload.get("error"):
        return f"· extracting variables failed: {payload['error']}"
    extracted = payload.get("variables")
    return f"· extracted {', '.join(extracted)}" if extracted and isinstance(extracted, dict) else None


def failure_line(turn: Turn) -> Line | None:
    """The reason why a turn has no complete reply; None if it has one."""
    if turn.status == "failed":
        return Line(printable(f"This turn failed: {turn.error or 'the model could not answer'}"), "error")
    if turn.status == "interrupted":
        return Line("(interrupted)", "dim")
    if turn.status == "pending":
        return Line("(the reply is still being generated)", "dim")
    return None


def money(amount: Decimal) -> str:
    """US dollars with as many digits as the amount needs, at least two decimals."""
    shown = f"{amount.normalize():f}"
    whole, _, cents = shown.partition(".")
    return f"${whole}.{cents.ljust(2, '0')}"
