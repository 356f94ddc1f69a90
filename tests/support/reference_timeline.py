"""The reference model of a timeline, with which the timeline in `domain` and live sessions are compared.

It keeps the active branch as a list, how much of it is visible, and each discarded branch as a list. It has no
parents, cursors, indexes or immutable values.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from domain.rejections import RejectionCode
from domain.sessions.commands import (
    CancelTurn,
    EditMessage,
    EndSession,
    Regenerate,
    RestoreBranch,
    Rewind,
    SendMessage,
    TurnCommand,
)

MAX_TEXT_CHARACTERS = 32_000
MAX_LABEL_CHARACTERS = 200
MAX_QUEUED_MESSAGES = 20


@dataclass
class ReferenceTurn:
    """One turn; the greeting has no text."""

    text: str | None
    depth: int
    status: str = "pending"
    reply: str | None = None
    tokens: int = 0


class QueuedMessage(NamedTuple):
    """A message that waits for its turn."""

    turn_id: str
    text: str
    interrupts: bool = False


Asked = tuple[str, ...]
"""The content of a command: its kind, then the turn and the text that it names."""
Command = TurnCommand | Rewind | CancelTurn | RestoreBranch | EndSession


@dataclass
class ReferenceTimeline:
    """The state of a session after any commands, according to the specification."""

    max_turns: int = 500
    max_cost_usd: Decimal | None = None
    turns: dict[str, ReferenceTurn] = field(default_factory=dict)
    branch: list[str] = field(default_factory=list)
    """The active branch, oldest turn first."""
    shown: int | None = None
    """The number of visible turns of the branch after a rewind; None when nothing was rewound."""
    discarded: list[tuple[str | None, list[str]]] = field(default_factory=list)
    """For each discarded branch the turn it begins after, and its own turns."""
    queue: list[QueuedMessage] = field(default_factory=list)
    superseded: set[str] = field(default_factory=set)
    """Turns of messages that were dropped from the queue."""
    stopping: set[str] = field(default_factory=set)
    known: dict[str, tuple[str, Asked]] = field(default_factory=dict)
    """For each message id the turn it opened and the content of its command."""
    auxiliary_tokens: int = 0
    """Tokens of auxiliary model calls, which belong to no turn."""
    revision: int = 0
    reason: str | None = None
    """The completion reason; None while the session is open."""
    unrecorded_turns: list[str] = field(default_factory=list)
    unrecorded_facts: list[str] = field(default_factory=list)
    unrecorded_calls: list[str] = field(default_factory=list)

    # --- what is visible ---------------------------------------------------------------------------

    @property
    def visible(self) -> list[str]:
        return self.branch if self.shown is None else self.branch[: self.shown]

    @property
    def future(self) -> list[str]:
        """The turns of the active branch that a rewind hides."""
        return self.branch[len(self.visible) :]

    @property
    def head(self) -> str | None:
        """The newest visible turn."""
        return self.visible[-1] if self.visible else None

    @property
    def is_busy(self) -> bool:
        return self.head is not None and self.turns[self.head].status == "pending"

    @property
    def pending(self) -> set[str]:
        return {turn_id for turn_id, turn in self.turns.items() if turn.status == "pending"}

    @property
    def tokens(self) -> int:
        return self.auxiliary_tokens + sum(turn.tokens for turn in self.turns.values())

    @property
    def status(self) -> str:
        if self.reason is not None:
            return "completed"
        if self.is_busy:
            return "pending_assistant_turn"
        if self.shown is not None:
            return "rewound"
        return "error" if self.head is not None and self.turns[self.head].status == "failed" else "idle"

    def path_to(self, turn_id: str | None) -> list[str]:
        """All turns from the first one to this one, whichever branch they are on."""
        if turn_id is None:
            return []
        if turn_id in self.branch:
            return self.branch[: self.branch.index(turn_id) + 1]
        start, own = next(each for each in self.discarded if turn_id in each[1])
        return [*self.path_to(start), *own[: own.index(turn_id) + 1]]

    # --- what is rejected --------------------------------------------------------------------------

    def rejection_of(self, command: Command) -> RejectionCode | None:
        """The code with which a new command must be rejected, or None. Ids of branches are not checked."""
        if self.reason is not None:
            return None if isinstance(command, EndSession) else "session_ended"
        if command.expected_revision not in (None, self.revision):
            return "revision_conflict"
        reasons: list[tuple[RejectionCode, bool]] = []
        if isinstance(command, EditMessage | Regenerate):
            reasons.append(("turn_not_found", command.turn_id not in self.branch))
        if isinstance(command, Rewind):
            reasons.append(("validation_error", command.turn_id is None and command.before))
            reasons.append(("turn_not_found", command.turn_id is not None and command.turn_id not in self.branch))
        if isinstance(command, EditMessage) and command.turn_id in self.branch:
            reasons.append(("validation_error", self.turns[command.turn_id].text is None))
        if isinstance(command, SendMessage | EditMessage):
            reasons.append(("validation_error", not command.text.strip()))
            reasons.append(("too_large", len(command.text) > MAX_TEXT_CHARACTERS))
        if isinstance(command, TurnCommand):
            reasons.append(("too_large", len(command.message_id or "") > MAX_LABEL_CHARACTERS))
        if isinstance(command, EndSession):
            reasons.append(("too_large", len(command.reason) > MAX_LABEL_CHARACTERS))
        if isinstance(command, CancelTurn):
            is_other = command.message_id is not None and not self._is_of(command.message_id, self.head)
            reasons.append(("turn_not_pending", not self.is_busy or is_other))
        if isinstance(command, SendMessage) and self._grows_elsewhere(command):
            after = self.turns.get(command.after_turn_id or "")
            reasons.append(("turn_not_found", after is None))
            is_kept = command.on_busy not in ("interrupt", "rollback")
            reasons.append(("turn_in_progress", self.is_busy and is_kept))
            reasons.append(("turn_in_progress", after is not None and after.status == "pending"))
        elif isinstance(command, SendMessage) and self.is_busy:
            reasons.append(("turn_in_progress", command.on_busy in (None, "reject")))
            is_full = len(self.queue) >= MAX_QUEUED_MESSAGES
            reasons.append(("queue_full", command.on_busy != "rollback" and is_full))
        return next((code for code, holds in reasons if holds), None)

    def is_repeat(self, command: TurnCommand) -> bool:
        """True when a command was accepted before under the same message id and with the same content."""
        return command.message_id in self.known and self.known[command.message_id][1] == asked_by(command)

    # --- what commands change: each was accepted ---------------------------------------------------

    def greet(self, turn_id: str) -> None:
        """Open the greeting."""
        self.revision += 1
        self._open(turn_id, None)

    def send(self, command: SendMessage, turn_id: str) -> None:
        """Open the turn of a message, or put the message in the queue."""
        self._accept(command, turn_id)
        if self._grows_elsewhere(command) and command.after_turn_id is not None:
            self._send_after(command.after_turn_id, turn_id, command.text)
        elif not self.is_busy:
            self._open(turn_id, command.text)
        elif command.on_busy == "rollback":
            self._stop(self.visible[-1])
            self.shown = len(self.visible) - 1
            self._open(turn_id, command.text)
        elif command.on_busy == "interrupt":
            self._stop(self.visible[-1])
            place = sum(1 for each in self.queue if each.interrupts)
            self.queue.insert(place, QueuedMessage(turn_id, command.text, interrupts=True))
        else:
            self.queue.append(QueuedMessage(turn_id, command.text))

    def edit(self, command: EditMessage, turn_id: str) -> None:
        """Replace a turn of the active branch by one with another text."""
        self._accept(command, turn_id)
        self._replace(command.turn_id, turn_id, command.text)

    def regenerate(self, command: Regenerate, turn_id: str) -> None:
        """Replace a turn of the active branch by one with the same text."""
        self._accept(command, turn_id)
        self._replace(command.turn_id, turn_id, self.turns[command.turn_id].text)

    def rewind(self, command: Rewind) -> None:
        """Hide what comes after a turn of the active branch, or show it all again."""
        self.revision += 1
        self.shown = None
        if command.turn_id is not None:
            self.shown = self.branch.index(command.turn_id) + (not command.before)
        self._drop_queue()
        self.unrecorded_facts.append("rewound")

    def cancel(self) -> None:
        """Stop the reply that is under way. The second time nothing changes."""
        if self.visible[-1] not in self.stopping:
            self.revision += 1
            self._stop(self.visible[-1])

    def restore(self, place: int) -> None:
        """Make a discarded branch the active one. Turns that it shares with other branches are no longer theirs."""
        self.revision += 1
        self._switch(place)
        self._drop_queue()
        self.unrecorded_facts.append("branch_restored")

    def end(self, reason: str) -> None:
        """End the session. The second time nothing changes."""
        if self.reason is None:
            self.revision += 1
            self._complete(reason)

    # --- what models and workers do ----------------------------------------------------------------

    def close(
        self, turn_id: str, status: str, *, reply: str | None = None, tokens: int = 0, ends: bool = False
    ) -> None:
        """Close a turn. When it is the newest visible one, the session ends if it must, or the next message follows."""
        is_seen = self.reason is None and self.head == turn_id
        turn = self.turns[turn_id]
        turn.status, turn.reply, turn.tokens = status, reply, tokens
        self.stopping.discard(turn_id)
        self.touch(turn_id)
        if not is_seen:
            return
        self.revision += 1
        if ends:
            self._complete("end_node")
        elif turn.depth + 1 >= self.max_turns:
            self._complete("max_turns")
        elif self.max_cost_usd is not None and usd(self.tokens) >= self.max_cost_usd:
            self._complete("max_cost")
        elif self.queue:
            message = self.queue.pop(0)
            self._open(message.turn_id, message.text)

    def note_auxiliary_call(self, call_id: str, tokens: int) -> None:
        """Count the tokens of a model call that belongs to no turn."""
        self.auxiliary_tokens += tokens
        self.unrecorded_calls.append(call_id)

    def touch(self, turn_id: str) -> None:
        """Note that a closed turn changed and must be recorded again."""
        if self.turns[turn_id].status != "pending" and turn_id not in self.unrecorded_turns:
            self.unrecorded_turns.append(turn_id)

    def note_event(self) -> None:
        """Note that an event was added to the newest visible turn, or to the newest of all."""
        if self.turns:
            self.touch(self.head or list(self.turns)[-1])

    # --- parts of the commands ---------------------------------------------------------------------

    def _accept(self, command: TurnCommand, turn_id: str) -> None:
        self.revision += 1
        if command.message_id is not None:
            self.known[command.message_id] = (turn_id, asked_by(command))

    def _open(self, turn_id: str, text: str | None) -> None:
        visible = list(self.visible)
        if self.future:
            self.discarded.append((self.head, self.future))
        self.turns[turn_id] = ReferenceTurn(text=text, depth=len(visible))
        self.branch, self.shown = [*visible, turn_id], None

    def _grows_elsewhere(self, command: SendMessage) -> bool:
        return command.after_turn_id not in (None, self.head)

    def _is_of(self, message_id: str, turn_id: str | None) -> bool:
        """True when a message id opened this turn."""
        return self.known.get(message_id, ("", ()))[0] == turn_id

    def _send_after(self, after: str, turn_id: str, text: str) -> None:
        """Grow a branch after a turn of any branch; a reply that is under way is stopped."""
        if self.is_busy:
            self._stop(self.visible[-1])
        self._drop_queue()
        place = next((place for place, (_, own) in enumerate(self.discarded) if after in own), None)
        if place is not None:
            self._switch(place)
        self.shown = self.branch.index(after) + 1
        self._open(turn_id, text)
        if place is not None:
            self.unrecorded_facts.append("branch_restored")

    def _switch(self, place: int) -> None:
        path = self.path_to(self.discarded[place][1][-1])
        others = [*self.discarded[:place], *self.discarded[place + 1 :], (None, self.branch)]
        self.discarded = [_without_shared(start, own, path) for start, own in others]
        self.branch, self.shown = path, None

    def _replace(self, old: str, turn_id: str, text: str | None) -> None:
        """Discard the old turn and all after it; a reply that is under way for them is stopped."""
        self._stop(self.branch[-1])
        self._drop_queue()
        self.shown = self.branch.index(old)
        self._open(turn_id, text)

    def _stop(self, turn_id: str) -> None:
        if turn_id in self.pending:
            self.stopping.add(turn_id)

    def _drop_queue(self) -> None:
        for message in self.queue:
            self.superseded.add(message.turn_id)
            self.note_event()
        self.queue = []

    def _complete(self, reason: str) -> None:
        self._drop_queue()
        self.reason = reason
        if self.head is not None:
            self.touch(self.head)
        self.unrecorded_facts.append("session_completed")


def asked_by(command: TurnCommand) -> Asked:
    """The content of a command that opens a turn."""
    if isinstance(command, SendMessage):
        return ("send", command.text)
    if isinstance(command, EditMessage):
        return ("edit", command.turn_id, command.text)
    return ("regenerate", command.turn_id)


def usd(tokens: int) -> Decimal:
    """The price of tokens in US dollars: a dollar for a thousand."""
    return Decimal(tokens) / 1_000


def _without_shared(start: str | None, own: list[str], path: list[str]) -> tuple[str | None, list[str]]:
    """A branch without the turns it shares with a path, and the turn it begins after then."""
    shared = [turn_id for turn_id in own if turn_id in path]
    return (shared[-1] if shared else start), own[len(shared) :]
