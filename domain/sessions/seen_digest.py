"""Digests of conversations as chat clients see them, to find the place in a tree of turns that a client means.

A client that sends its whole history and no id identifies the place by that history. Only the texts of the user and
the assistant count: clients put the time of day into system messages.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Literal, NamedTuple

from pydantic import JsonValue

from domain.turns.call_digest import hex_digest_of

Speaker = Literal["user", "assistant"]


class Spoken(NamedTuple):
    """A text of a conversation, and who said it."""

    speaker: Speaker
    text: str


def seen_digest(agent_id: str, metadata: Mapping[str, JsonValue], spoken: Sequence[Spoken]) -> str:
    """The digest of a conversation with an agent: equal for equal texts, whatever their white space.

    Each text is chained to those before it. Texts that one side says in a row count as one, and blank ones not at all.
    """
    return seen_digests(agent_id, metadata, spoken)[-1]


def seen_digests(agent_id: str, metadata: Mapping[str, JsonValue], spoken: Sequence[Spoken]) -> list[str]:
    """The digests of all prefixes of a conversation, from the empty one to the whole, one for each change of side."""
    digests = [hex_digest_of("conversation", agent_id, json.dumps(metadata, sort_keys=True))]
    for speaker, text in merged(spoken):
        digests.append(hex_digest_of(digests[-1], speaker, text))
    return digests


def merged(spoken: Iterable[Spoken]) -> list[Spoken]:
    """The conversation without blank texts, each side's consecutive texts joined, and white space reduced to spaces."""
    said = (each for each in spoken if each.text.strip())
    return [
        Spoken(speaker, " ".join(word for each in run for word in each.text.split()))
        for speaker, run in groupby(said, key=lambda each: each.speaker)
    ]


def is_same(one: str, other: str) -> bool:
    """True for equal texts, whatever their white space."""
    return one.split() == other.split()


def is_beginning(part: str, whole: str) -> bool:
    """True if the first text is a prefix of the second. White space does not count."""
    return "".join(whole.split()).startswith("".join(part.split()))
