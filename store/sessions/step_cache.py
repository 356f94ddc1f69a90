"""An in-memory cache of the saved steps of turns; the steps before a saved step never change."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from sys import getsizeof

from domain.turns.engine import ModelReply
from domain.turns.model_request import SentRequest

STEP_OVERHEAD_BYTES = 3_000
"""Approximate memory of a step besides its messages: the parsed reply and the objects around it."""


@dataclass(frozen=True, slots=True)
class SavedStep:
    """One model call of a turn. `messages` are the call's serialized messages, opaque to the store.

    `digest` covers the call and all calls before it, `after` is the digest of the preceding step (empty for a session's
    first). `frame_digest` is that of the request's frame, and `sent` what was kept of the request beside it; both are
    None where they were not kept.
    """

    session_id: str
    organization_id: str
    digest: str
    after: str
    turn_id: str
    step: int
    node_id: str
    model: str
    messages: str
    reply: ModelReply
    created_at: datetime
    frame_digest: str | None = None
    sent: SentRequest | None = None


@dataclass(frozen=True, slots=True)
class SavedTurn:
    """The consecutive steps of a turn, first to last; of an unfinished turn, those so far."""

    steps: tuple[SavedStep, ...]
    characters: int

    @property
    def digest(self) -> str:
        """The digest of the last step, which names the steps and everything before them."""
        return self.steps[-1].digest

    @property
    def key(self) -> tuple[str, str]:
        return self.steps[0].session_id, self.digest

    @property
    def after(self) -> str:
        """The digest of the step that the turn came after."""
        return self.steps[0].after

    @property
    def size(self) -> int:
        """Approximate memory in bytes."""
        return sum(getsizeof(step.messages) + STEP_OVERHEAD_BYTES for step in self.steps)


@dataclass(frozen=True, slots=True)
class TurnSteps:
    """The stored steps of a turn, and the digest of the step that the next one comes after.

    A turn that was answered again after a reset has several steps of one number: only those of one chain belong
    together.
    """

    steps: tuple[SavedStep, ...]
    after: str

    def find(self, digest: str) -> SavedStep | None:
        """The step of this digest."""
        return next((step for step in self.steps if step.digest == digest), None)

    def preceding(self) -> tuple[SavedStep, ...]:
        """The turn's own steps that lead to `after`, first to last."""
        turn = chained(self.steps, self.after)
        return turn.steps if turn else ()


def chained(steps: Iterable[SavedStep], digest: str) -> SavedTurn | None:
    """The steps that lead to the one of this digest; None when it is not among them."""
    by_digest = {step.digest: step for step in steps}
    newest_first = []
    while step := by_digest.pop(digest, None):
        newest_first.append(step)
        digest = step.after
    return _saved_turn(newest_first[::-1]) if newest_first else None


def group_by_turn(steps: Iterable[SavedStep]) -> list[SavedTurn]:
    """Turns from their steps, which must come one after the other, first to last."""
    return [_saved_turn(list(group)) for _, group in groupby(steps, key=attrgetter("turn_id"))]


def _saved_turn(steps: Sequence[SavedStep]) -> SavedTurn:
    return SavedTurn(tuple(steps), sum(len(step.messages) for step in steps))


class SavedTurnCache:
    """An LRU cache of turns, limited to `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._size = 0
        self._turns: OrderedDict[tuple[str, str], SavedTurn] = OrderedDict()

    def get(self, session_id: str, digest: str) -> SavedTurn | None:
        """The turn that ends with the step of this digest, if it is cached; it becomes the most recently used."""
        key = (session_id, digest)
        turn = self._turns.get(key)
        if turn is not None:
            self._turns.move_to_end(key)
        return turn

    def add_step(self, step: SavedStep) -> None:
        """Add a step that was just saved, with the steps of its turn before it. If these are not cached, add none."""
        before = self.get(step.session_id, step.after)
        if before is not None and before.steps[-1].turn_id == step.turn_id:
            self.add(_saved_turn((*before.steps, step)))
        elif step.step == 0:
            self.add(_saved_turn((step,)))

    def add(self, turn: SavedTurn) -> None:
        """Add the steps of a turn, or its first ones. Those larger than the whole cache are not kept."""
        if turn.key in self._turns:
            return
        self._turns[turn.key] = turn
        self._size += turn.size
        while self._size > self._max_bytes:
            _, evicted = self._turns.popitem(last=False)
            self._size -= evicted.size
