"""Finds words in a turn: in what was said, and in what tools were called with and returned."""

from collections.abc import Iterable, Iterator
from typing import Final

from pydantic import JsonValue

from domain.turns.turn import Turn

CHARACTERS_BEFORE: Final = 24
"""Characters of a text that are shown before the words that were found."""


def excerpt_with(turn: Turn, words: str, max_characters: int) -> str | None:
    """The text around the first place with these words, in any case; None for a turn without them."""
    wanted = words.lower()
    for text in _texts(turn):
        place = text.lower().find(wanted)
        if place >= 0:
            start = max(place - CHARACTERS_BEFORE, 0)
            begins = f"…{text[start:].lstrip()}" if start else text
            return begins if len(begins) <= max_characters else f"{begins[: max_characters - 1].rstrip()}…"
    return None


def _texts(turn: Turn) -> Iterator[str]:
    if turn.user_message is not None:
        yield turn.user_message.text
    if turn.assistant_message is not None:
        yield turn.assistant_message.text
    for event in turn.events:
        if event.type == "tool_call_started":
            yield from _leaves((event.payload.get("name"), event.payload.get("arguments")))
        elif event.type == "tool_call_result":
            yield from _leaves((event.payload.get("result"),))


def _leaves(values: Iterable[JsonValue]) -> Iterator[str]:
    """Names and values of documents as texts."""
    for value in values:
        if isinstance(value, dict):
            for name, member in value.items():
                yield name
                yield from _leaves((member,))
        elif isinstance(value, list):
            yield from _leaves(value)
        elif value is not None:
            yield str(value)
