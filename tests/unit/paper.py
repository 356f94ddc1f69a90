"""What a person would note down of a session on paper: the simple model that the timeline is compared with.

It keeps the active branch as a list, how much of it is shown, what was said, and what was spent. It knows nothing
of parents, cursors or copies of values.
"""

from dataclasses import dataclass, field
from decimal import Decimal


@dataclass
class Line:
    """A turn on paper."""

    text: str | None
    depth: int
    status: str = "pending"
    reply: str | None = None
    tokens: int = 0


@dataclass
class Paper:
    """What a person would note down of a session."""

    lines: dict[str, Line] = field(default_factory=dict)
    branch: list[str] = field(default_factory=list)
    shown: int | None = None
    """So many turns of the branch are seen after a rewind; None when nothing was rewound."""
    given_up: list[tuple[str | None, list[str]]] = field(default_factory=list)
    queue: list[tuple[str, str]] = field(default_factory=list)
    known: dict[str, tuple[str, str]] = field(default_factory=dict)
    revision: int = 0
    reason: str | None = None
    untold_turns: list[str] = field(default_factory=list)
    untold_branches: int = 0
    untold_facts: list[str] = field(default_factory=list)

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
        return sum(line.tokens for line in self.lines.values())

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
            self.untold_branches += 1
        self.lines[turn_id] = Line(text=text, depth=len(seen))
        self.branch, self.shown = [*seen, turn_id], None

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
