"""An in-memory cache of the saved steps of complete turns, which never change."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from sys import getsizeof

from domain.turns.engine import ModelReply

STEP_OVERHEAD_BYTES = 3_000
"""Approximate memory of a step besides its messages: the parsed reply and the objects around it."""


@dataclass(frozen=True, slots=True)
class SavedStep:
    """One model call of a turn. `messages` are the call's serialized messages, opaque to the store.

    `anchor_turn_id` names the turn whose steps hold the preceding messages: the same in all steps of a turn.
    """

    session_id: str
    organization_id: str
    turn_id: str
    step: int
    anchor_turn_id: str | None
    node_id: str
    model: str
    messages: str
    reply: ModelReply
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SavedTurn:
    """All steps of a complete turn."""

    steps: tuple[SavedStep, ...]
    characters: int

    @property
    def key(self) -> tuple[str, str]:
        return self.steps[0].session_id, self.steps[0].turn_id

    @property
    def anchor_turn_id(self) -> str | None:
        return self.steps[0].anchor_turn_id

    @property
    def size(self) -> int:
        """Approximate memory in bytes."""
        return sum(getsizeof(step.messages) + STEP_OVERHEAD_BYTES for step in self.steps)


def group_by_turn(steps: Iterable[SavedStep]) -> list[SavedTurn]:
    """Turns from their steps, which must be ordered by turn."""
    turns = []
    for _, group in groupby(steps, key=attrgetter("turn_id")):
        of_turn = tuple(group)
        turns.append(SavedTurn(of_turn, sum(len(step.messages) for step in of_turn)))
    return turns


class SavedTurnCache:
    """An LRU cache of turns, limited to `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._size = 0
        self._turns: OrderedDict[tuple[str, str], SavedTurn] = OrderedDict()

    def get(self, session_id: str, turn_id: str) -> SavedTurn | None:
        """The turn, if it is cached; it becomes the most recently used."""
        key = (session_id, turn_id)
        turn = self._turns.get(key)
        if turn is not None:
            self._turns.move_to_end(key)
        return turn

    def add(self, turn: SavedTurn) -> None:
        """Add a complete turn. A turn larger than the whole cache is not kept."""
        if turn.key in self._turns:
            return
        self._turns[turn.key] = turn
        self._size += turn.size
        while self._size > self._max_bytes:
            _, evicted = self._turns.popitem(last=False)
            self._size -= evicted.size
