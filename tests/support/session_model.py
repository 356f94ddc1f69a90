"""What a person would note down of a session on paper: the simple model that the timeline is compared with.

It keeps the active branch as a list, how much of it is shown, what was said, and what was spent. It knows nothing
of parents, cursors or copies of values.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple


@dataclass
class Line:
    """A turn on paper."""

    text: str | None
    depth: int
    status: str = "pending"
    reply: str | None = None
    tokens: int = 0


Asked = tuple[str, ...]
"""What a command asks for: its kind, then the turn and the words that it names."""


class Waiting(NamedTuple):
    """A message on paper that waits for its turn."""

    turn_id: str
    text: str
    interrupts: bool = False


@dataclass
class Paper:
    """What a person would note down of a session."""

    lines: dict[str, Line] = field(default_factory=dict)
    branch: list[str] = field(default_factory=list)
    shown: int | None = None
    """So many turns of the branch are seen after a rewind; None when nothing was rewound."""
    given_up: list[tuple[str | None, list[str]]] = field(default_factory=list)
    queue: list[Waiting] = field(default_factory=list)
    stopping: set[str] = field(default_factory=set)
    known: dict[str, tuple[str, Asked]] = field(default_factory=dict)
    """By message id, the turn that was opened and what had been asked for."""
    beside: int = 0
    """Tokens that were spent on no turn."""
    revision: int = 0
    reason: str | None = None
    untold_turns: list[str] = field(default_factory=list)
    untold_facts: list[str] = field(default_factory=list)
    untold_asides: list[str] = field(default_factory=list)

    @property
    def seen(self) -> list[str]:
        return self.branch if self.shown is None else self.branch[: self.shown]

    @property
    def newest(self) -> Line | None:
        return self.lines[self.seen[-1]] if self.seen else None

    @property
    def is_busy(self) -> bool:
        return self.newest is not None and self.newest.status == "pending"

    @property
    def pending(self) -> set[str]:
        return {turn_id for turn_id, line in self.lines.items() if line.status == "pending"}

    @property
    def tokens(self) -> int:
        return self.beside + sum(line.tokens for line in self.lines.values())

    @property
    def status(self) -> str:
        if self.reason is not None:
            return "completed"
        if self.is_busy:
            return "pending_assistant_turn"
        if self.shown is not None:
            return "rewound"
        return "error" if self.newest is not None and self.newest.status == "failed" else "idle"

    def open(self, turn_id: str, text: str | None) -> None:
        seen = list(self.seen)
        if len(seen) < len(self.branch):
            self.given_up.append((seen[-1] if seen else None, self.branch[len(seen) :]))
        self.lines[turn_id] = Line(text=text, depth=len(seen))
        self.branch, self.shown = [*seen, turn_id], None

    def open_in_place_of(self, old: str, turn_id: str, text: str | None) -> None:
        """The old turn and all that came after it give way; a reply that is under way for them is stopped."""
        self.stop(self.branch[-1])
        self.drop_queue()
        self.shown = self.branch.index(old)
        self.open(turn_id, text)

    def wait(self, message: Waiting) -> None:
        place = len(self.queue)
        if message.interrupts:
            place = sum(1 for each in self.queue if each.interrupts)
        self.queue.insert(place, message)

    def stop(self, turn_id: str) -> None:
        if turn_id in self.pending:
            self.stopping.add(turn_id)

    def restore(self, place: int) -> None:
        """The branch is active now; what it shares with others is theirs no longer."""
        way = self.way_to(self.given_up[place][1][-1])
        others = [*self.given_up[:place], *self.given_up[place + 1 :], (None, self.branch)]
        self.given_up = [_parted(start, own, way) for start, own in others]
        self.branch, self.shown = way, None
        self.drop_queue()

    def way_to(self, turn_id: str | None) -> list[str]:
        """All turns from the first one to this one, wherever they stand."""
        if turn_id is None:
            return []
        if turn_id in self.branch:
            return self.branch[: self.branch.index(turn_id) + 1]
        start, own = next(each for each in self.given_up if turn_id in each[1])
        return [*self.way_to(start), *own[: own.index(turn_id) + 1]]

    def touch(self, turn_id: str) -> None:
        if self.lines[turn_id].status != "pending" and turn_id not in self.untold_turns:
            self.untold_turns.append(turn_id)

    def note(self) -> None:
        """Something is written on the newest turn that is seen, or on the newest there is."""
        if self.lines:
            self.touch(self.seen[-1] if self.seen else list(self.lines)[-1])

    def drop_queue(self) -> None:
        for _ in self.queue:
            self.note()
        self.queue = []

    def end(self, reason: str) -> None:
        self.drop_queue()
        self.reason = reason
        if self.seen:
            self.touch(self.seen[-1])
        self.untold_facts.append("session_completed")


def usd(tokens: int) -> Decimal:
    return Decimal(tokens) / 1_000


def _parted(start: str | None, own: list[str], way: list[str]) -> tuple[str | None, list[str]]:
    """A branch without what is on the way to another one, and the turn it hangs off then."""
    shared = [turn_id for turn_id in own if turn_id in way]
    return (shared[-1] if shared else start), own[len(shared) :]
