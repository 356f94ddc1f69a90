"""Session events as lines of text, for the chat and for `sessions tail`."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from pydantic import JsonValue

from domain.agents.graph_validation import transition_tool_name
from domain.turns.turn import Turn

Tone = Literal["plain", "dim", "strong", "trouble"]

_WITHOUT_DIRECTIONS = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)))
"""Unicode's overrides and isolates of writing direction, to be taken out."""

REASONS = {
    "end_node": "the agent said goodbye",
    "max_turns": "it reached the agent's limit of turns",
    "max_cost": "it reached the agent's limit of cost",
    "user_hangup": "it was ended by the user",
    "user_idle_max_duration_exceeded": "nobody said anything for as long as the agent allows",
}
"""Completion reasons in words; any other reason is shown as it was given."""


@dataclass(frozen=True)
class Line:
    """One line for a person. The tone is how it looks on a terminal; it never carries meaning of its own."""

    text: str
    tone: Tone = "plain"


def printable(text: str) -> str:
    """The text without characters that could move the cursor, recolour the terminal or turn the writing round."""
    kept = text.replace("\r\n", "\n").replace("\t", "    ").translate(_WITHOUT_DIRECTIONS)
    return "".join(character for character in kept if character == "\n" or unicodedata.category(character) != "Cc")


def happenings(turn: Turn) -> list[Line]:
    """What happened in a turn besides the words: one dim line each. A move is told, not the call it was made by."""
    taken = [event.payload.get("transition") for event in turn.events if event.type == "node_transition"]
    moves = {transition_tool_name(name) for name in taken if isinstance(name, str)}
    told = (happening(event.type, event.payload) for event in turn.events if event.payload.get("name") not in moves)
    return [Line(printable(text), "dim") for text in told if text]


def happening(kind: str, payload: Mapping[str, JsonValue]) -> str | None:
    """An event of a turn in a few words; none for what the turn itself tells."""
    match kind:
        case "node_transition":
            return f"→ {payload.get('to_node')}"
        case "tool_call_started":
            return f"· calls {payload.get('name')}"
        case "tool_call_result" if payload.get("error"):
            return f"· {payload.get('name')} failed: {payload['error']}"
        case "variables_extracted":
            return _learned(payload)
        case "command_refused":
            return f"· refused: {payload.get('detail')}"
    return None


def _learned(payload: Mapping[str, JsonValue]) -> str | None:
    if payload.get("error"):
        return f"· could not note anything: {payload['error']}"
    learned = payload.get("variables")
    return f"· noted {', '.join(learned)}" if learned and isinstance(learned, dict) else None


def failure(turn: Turn) -> Line | None:
    """Why a turn has no (whole) answer, if it has none."""
    if turn.status == "failed":
        return Line(printable(f"This turn failed: {turn.error or 'the model could not answer'}"), "trouble")
    if turn.status == "interrupted":
        return Line("(interrupted)", "dim")
    if turn.status == "pending":
        return Line("(the reply is still being generated)", "dim")
    return None


def money(amount: Decimal) -> str:
    """US dollars with as many digits as the amount needs, at least cents."""
    shown = f"{amount.normalize():f}"
    whole, _, cents = shown.partition(".")
    return f"${whole}.{cents.ljust(2, '0')}"
