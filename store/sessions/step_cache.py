"""Turns whose steps are kept in memory: immutable, linked by their anchors, the least used given up first."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from sys import getsizeof

from domain.turns.engine import ModelReply

STEP_OVERHEAD_BYTES = 3_000
"""Roughly what a step takes in memory beside its messages: the parsed reply and the objects around it."""


@dataclass(frozen=True, slots=True)
class SavedStep:
    """One model call of a turn. `messages` is what the provider edge wants to read again, opaque to the store.

    `anchor_turn_id` names the turn whose steps hold the messages before these: the same in all steps of a turn.
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
    """All steps of a turn to which no step will be added any more."""

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
        """About how many bytes it takes in memory."""
        return sum(getsizeof(step.messages) + STEP_OVERHEAD_BYTES for step in self.steps)


def whole_turns(steps: Iterable[SavedStep]) -> list[SavedTurn]:
    """Steps that come turn by turn, put together."""
    turns = []
    for _, group in groupby(steps, key=attrgetter("turn_id")):
        of_turn = tuple(group)
        turns.append(SavedTurn(of_turn, sum(len(step.messages) for step in of_turn)))
    return turns


class RecentTurns:
    """Up to `limit` bytes of turns."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._turns: OrderedDict[tuple[str, str], SavedTurn] = OrderedDict()

    def get(self, session_id: str, turn_id: str) -> SavedTurn | None:
        """The turn, if it is kept; it then counts as just used."""
        key = (session_id, turn_id)
        turn = self._turns.get(key)
        if turn is not None:
            self._turns.move_to_end(key)
        return turn

    def keep(self, turn: SavedTurn) -> None:
        """Keep a turn that is complete. A turn larger than the limit is not kept."""
        if turn.key in self._turns:
            return
        self._turns[turn.key] = turn
        self._size += turn.size
        while self._size > self._limit:
            _, dropped = self._turns.popitem(last=False)
            self._size -= dropped.size
