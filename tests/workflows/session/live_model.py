"""What a session must look like after any commands, worked out on a sheet of paper: lists of turns, and a few numbers.

It knows nothing of the code under test. A turn is open until its reply comes; replies that are not held back come at
once, so between two commands the sheet says exactly what is seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["pending", "completed", "failed", "interrupted"]
MAX_QUEUED = 20


class No(Exception):
    """The session must refuse, with this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Entry:
    """One turn: what was said in it (nothing opens the conversation), and how far it has come."""

    id: str
    parent: str | None
    text: str | None
    status: Status = "pending"


@dataclass
class Sheet:
    """A session on paper. `held` are the texts whose replies are held back, `failing` those that find no answer."""

    entries: dict[str, Entry] = field(default_factory=dict)
    leaf: str | None = None
    cursor: tuple[str | None] | None = None
    queue: list[tuple[str, str]] = field(default_factory=list)
    given_up: list[tuple[str | None, str]] = field(default_factory=list)
    known: dict[str, tuple[str, str]] = field(default_factory=dict)
    superseded: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    revision: int = 0
    ended: str | None = None

    # --- what is seen ------------------------------------------------------------------------------

    @property
    def head(self) -> str | None:
        return self.cursor[0] if self.cursor else self.leaf

    @property
    def active(self) -> list[str]:
        return self.path(self.leaf)

    @property
    def seen(self) -> list[str]:
        return self.path(self.head)

    @property
    def future(self) -> list[str]:
        return self.active[len(self.seen) :]

    @property
    def is_busy(self) -> bool:
        return self.head is not None and self.entries[self.head].status == "pending"

    @property
    def pending(self) -> list[Entry]:
        return [entry for entry in self.entries.values() if entry.status == "pending"]

    @property
    def status(self) -> str:
        if self.ended:
            return "completed"
        if self.is_busy:
            return "pending_assistant_turn"
        if self.cursor:
            return "rewound"
        return "error" if self.head and self.entries[self.head].status == "failed" else "idle"

    def branches(self) -> Iterator[tuple[str | None, list[str]]]:
        """The futures that were given up, each with the turn it began after."""
        for after, leaf in self.given_up:
            path = self.path(leaf)
            yield after, path[path.index(after) + 1 if after else 0 :]

    def path(self, turn_id: str | None) -> list[str]:
        """From the root down to a turn."""
        found: list[str] = []
        while turn_id is not None:
            found.insert(0, turn_id)
            turn_id = self.entries[turn_id].parent
        return found

    # --- what can be asked for: each raises No, and then has changed nothing -----------------------

    def require(self, expected: int | None) -> None:
        if self.ended:
            raise No("session_ended")
        if expected not in (None, self.revision):
            raise No("revision_conflict")

    def check_say(self, expected: int | None, on_busy: str | None) -> None:
        self.require(expected)
        if self.is_busy and on_busy not in ("enqueue", "interrupt", "rollback"):
            raise No("turn_in_progress")
        if self.is_busy and on_busy != "rollback" and len(self.queue) >= MAX_QUEUED:
            raise No("queue_full")

    def say(self, turn_id: str, text: str, on_busy: str | None) -> None:
        self.revision += 1
        busy_with = self.head if self.is_busy else None
        if busy_with is None:
            self._append(turn_id, text)
        elif on_busy == "rollback":
            self._close(busy_with, "interrupted", seen=False)
            self.cursor = (self.entries[busy_with].parent,)
            self._append(turn_id, text)
        elif on_busy == "interrupt":
            self.queue.insert(0, (turn_id, text))
            self._close(busy_with, "interrupted")
        else:
            self.queue.append((turn_id, text))
        self._answer()

    def check_active(self, expected: int | None, turn_id: str) -> None:
        self.require(expected)
        if turn_id not in self.active:
            raise No("turn_not_found")

    def check_edit(self, expected: int | None, turn_id: str) -> None:
        self.check_active(expected, turn_id)
        if self.entries[turn_id].text is None:
            raise No("validation_error")

    def replace(self, turn_id: str, new_id: str, text: str | None) -> None:
        """Another turn in the place of one of the active branch."""
        self.revision += 1
        self._drop_queue()
        if self.leaf and self.entries[self.leaf].status == "pending":
            self._close(self.leaf, "interrupted", seen=False)
        self.cursor = (self.entries[turn_id].parent,)
        self._append(new_id, text)
        self._answer()

    def rewind(self, turn_id: str | None, *, before: bool) -> None:
        self.revision += 1
        self._drop_queue()
        self.cursor = None
        if turn_id is not None:
            self.cursor = (self.entries[turn_id].parent if before else turn_id,)

    def check_cancel(self, expected: int | None) -> None:
        self.require(expected)
        if not self.is_busy:
            raise No("turn_not_pending")

    def cancel(self) -> None:
        assert self.head is not None
        self.revision += 1
        self._close(self.head, "interrupted")
        self._answer()

    def restore(self, place: int) -> None:
        """Go back to a future that was given up. Others that led over its turns begin where they leave it now."""
        self.revision += 1
        self._drop_queue()
        _, leaf = self.given_up.pop(place)
        back = self.path(leaf)
        self.given_up = [
            ([after, *(turn for turn in turns if turn in back)][-1], turns[-1]) for after, turns in self.branches()
        ]
        shared = [mine for mine, theirs in zip(self.active, back, strict=False) if mine == theirs]
        fork = shared[-1] if shared else None
        if self.leaf is not None and self.leaf != fork:
            self.given_up.append((fork, self.leaf))
        self.leaf, self.cursor = leaf, None

    def end(self, reason: str) -> None:
        if not self.ended:
            self.revision += 1
            self._drop_queue()
            self.ended = reason

    def let_go(self, text: str) -> None:
        """The replies to a text that were held back come."""
        self.held.discard(text)
        for entry in self.pending:
            if entry.text == text:
                self._close(entry.id, "failed" if text in self.failing else "completed")
        self._answer()

    # --- small change ------------------------------------------------------------------------------

    def open_greeting(self, turn_id: str) -> None:
        """How every session begins."""
        self._append(turn_id, None)
        self.revision += 1
        self._answer()

    def _append(self, turn_id: str, text: str | None) -> None:
        if self.cursor and self.leaf is not None and self.cursor[0] != self.leaf:
            self.given_up.append((self.cursor[0], self.leaf))
        self.entries[turn_id] = Entry(turn_id, self.head, text)
        self.leaf, self.cursor = turn_id, None

    def _answer(self) -> None:
        """Whatever is not held back is answered, one after the other."""
        while self.leaf and self.is_busy and self.head == self.leaf:
            text = self.entries[self.leaf].text
            if text in self.held:
                return
            self._close(self.leaf, "failed" if text in self.failing else "completed")

    def _close(self, turn_id: str, status: Status, *, seen: bool = True) -> None:
        """A turn is over. The reply that people wait for counts, and lets the next message have its turn."""
        self.entries[turn_id].status = status
        if seen and turn_id == self.head and not self.ended:
            self.revision += 1
            if self.queue:
                self._append(*self.queue.pop(0))

    def _drop_queue(self) -> None:
        self.superseded |= {turn_id for turn_id, _ in self.queue}
        self.queue.clear()
