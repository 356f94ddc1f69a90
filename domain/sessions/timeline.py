"""The value a session is: its turns as a tree, and the path through it that people see.

What may be done to it stands in `domain/sessions/command_handlers.py`; here is what it holds and how it is read.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import takewhile
from typing import Literal

from pydantic import JsonValue

from domain.durable import FrozenModel
from domain.rejections import CommandRejected, Rejection
from domain.sessions.caller_config import SimulatorState
from domain.turns.turn import Checkpoint, SessionStatus, Turn, TurnEvent, UserMessage
from domain.usage import Cost, Usage

FactType = Literal["rewound", "branch_restored", "session_forked", "session_completed", "approval_decided"]
CompletionReason = Literal[
    "end_node", "max_turns", "max_cost", "deadline", "user_hangup", "user_idle_max_duration_exceeded"
]
"""Why sessions end of themselves or by default; `end` may give any other reason."""
AuxiliaryPurpose = Literal["extraction", "caller", "judge"]
"""What is bought beside the turns: variables read at the end, a simulated caller's words, a verdict on the whole."""
Purpose = Literal["turn", AuxiliaryPurpose]
"""What a row of the ledger is for."""


class Cursor(FrozenModel):
    """Where a rewind points: a turn, or the time before the first turn (`None`)."""

    turn_id: str | None


class DiscardedBranch(FrozenModel):
    """A future that a rewind gave up: the turns after `rewound_from_turn_id` down to `leaf_turn_id`."""

    id: str
    rewound_from_turn_id: str | None
    leaf_turn_id: str
    discarded_at: datetime


class QueuedMessage(FrozenModel):
    """A message that was accepted while the agent was busy; it opens its turn when the reply is there.

    One that `interrupts` goes before those that do not.
    """

    turn_id: str
    message: UserMessage
    interrupts: bool = False


class RememberedMessage(FrozenModel):
    """A message id that was accepted: the turn it opened, and a digest of its text to tell a repeat from a misuse."""

    turn_id: str
    digest: str


class WaitingApproval(FrozenModel):
    """A tool call that waits for a person, until `expires_at`. `reason` is why the agent's author wants one asked."""

    call_id: str
    turn_id: str
    tool: str
    arguments: dict[str, JsonValue] = {}
    reason: str = ""
    requested_at: datetime
    expires_at: datetime


class ForkPoint(FrozenModel):
    """Where a session took over the past of another one: that session, and the turn it goes on from."""

    session_id: str
    turn_id: str


class AuxiliaryCall(FrozenModel):
    """Work that was bought for a session and is no turn of its conversation: it is billed under an id of its own.

    `after_turn_id` is the newest turn that was seen when it was done.
    """

    id: str
    purpose: AuxiliaryPurpose
    after_turn_id: str | None
    created_at: datetime
    usage: Usage = Usage()
    cost: Cost = Cost()
    error: str | None = None


class SessionFact(FrozenModel):
    """Something that happened to a session outside of any turn. `key` is unique within the session."""

    key: str
    type: FactType
    created_at: datetime
    payload: dict[str, JsonValue] = {}


class UnrecordedChanges(FrozenModel):
    """What changed since the store was last told.

    These are ids of closed turns, branches that were given up, ids of branches that are so no longer or not from
    the same turn on (they go before the others), facts, and work that is no turn.
    """

    turn_ids: tuple[str, ...] = ()
    branches: tuple[DiscardedBranch, ...] = ()
    facts: tuple[SessionFact, ...] = ()
    restored_branch_ids: tuple[str, ...] = ()
    asides: tuple[AuxiliaryCall, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.turn_ids or self.branches or self.facts or self.restored_branch_ids or self.asides)

    @property
    def completion_only(self) -> "UnrecordedChanges":
        """That the session has ended, if that is among it."""
        return UnrecordedChanges(facts=tuple(fact for fact in self.facts if fact.type == "session_completed"))

    @property
    def without_completion(self) -> "UnrecordedChanges":
        """Everything else."""
        facts = tuple(fact for fact in self.facts if fact.type != "session_completed")
        return self.model_copy(update={"facts": facts})

    def after(self, earlier: "UnrecordedChanges") -> "UnrecordedChanges":
        """What is to be told when something that happened earlier has to be told as well, perhaps again."""
        still_given_up = (branch for branch in earlier.branches if branch.id not in self.restored_branch_ids)
        return UnrecordedChanges(
            turn_ids=tuple(dict.fromkeys((*earlier.turn_ids, *self.turn_ids))),
            branches=(*still_given_up, *self.branches),
            facts=(*earlier.facts, *self.facts),
            restored_branch_ids=tuple(dict.fromkeys((*earlier.restored_branch_ids, *self.restored_branch_ids))),
            asides=(*earlier.asides, *self.asides),
        )


class Timeline(FrozenModel):
    """All turns of a session as a tree, and the path through it that the next message extends.

    `leaf_id` ends the active branch. `cursor`, when set, is where a rewind points; the timeline is then
    seen up to it. `revision` counts accepted changes, `version` every change of this value, also those that
    nobody asked for (a late reply on a discarded branch, a refusal that was noted). `pending` are the turns
    on any branch whose reply is still to come, `unrecorded` is what the store has not been told yet.
    `fetched_context` is what was looked up before the first opening (None: nothing was, so far). `stopping` are
    pending turns that are to be answered no further. `learned_context` is what was read from the conversation after
    its end, `forked_from` where its past was taken over, `simulator` who holds the caller's end.
    """

    created_at: datetime
    updated_at: datetime
    turns: dict[str, Turn] = {}
    pending: tuple[str, ...] = ()
    unrecorded: UnrecordedChanges = UnrecordedChanges()
    leaf_id: str | None = None
    cursor: Cursor | None = None
    discarded_branches: tuple[DiscardedBranch, ...] = ()
    queue: tuple[QueuedMessage, ...] = ()
    remembered: dict[str, RememberedMessage] = {}
    approvals: tuple[WaitingApproval, ...] = ()
    fetched_context: dict[str, JsonValue] | None = None
    stopping: tuple[str, ...] = ()
    learned_context: dict[str, JsonValue] | None = None
    forked_from: ForkPoint | None = None
    revision: int = 0
    version: int = 0
    usage: Usage = Usage()
    cost: Cost = Cost()
    ended_at: datetime | None = None
    completion_reason: str | None = None
    simulator: SimulatorState | None = None

    @property
    def is_completed(self) -> bool:
        return self.ended_at is not None

    @property
    def head(self) -> Turn | None:
        """The newest turn that is seen: the cursor's, or the leaf of the active branch."""
        turn_id = self.cursor.turn_id if self.cursor else self.leaf_id
        return self.turns[turn_id] if turn_id else None

    @property
    def status(self) -> SessionStatus:
        if self.is_completed:
            return "completed"
        if self.is_busy:
            return "pending_assistant_turn"
        if self.cursor:
            return "rewound"
        return "error" if self.head is not None and self.head.status == "failed" else "idle"

    @property
    def is_busy(self) -> bool:
        """Whether the visible conversation waits for a reply."""
        return self.head is not None and self.head.status == "pending"

    def path_to(self, turn_id: str | None) -> Iterator[Turn]:
        """The turns from the given one up to its root, newest first."""
        while turn_id is not None:
            turn = self.turns[turn_id]
            yield turn
            turn_id = turn.parent_id

    def visible_turns(self) -> Iterator[Turn]:
        """The turns that are seen, newest first."""
        return self.path_to(self.head.id if self.head else None)

    def turns_past_cursor(self) -> Iterator[Turn]:
        """The turns of the active branch that a rewind hides, newest first."""
        newest_seen = self.head.id if self.head else None
        return takewhile(lambda turn: turn.id != newest_seen, self.path_to(self.leaf_id))

    def active_turn(self, turn_id: str) -> Turn | None:
        """The turn of this id on the active branch, also past the cursor."""
        return next((turn for turn in self.path_to(self.leaf_id) if turn.id == turn_id), None)

    def find_branch(self, branch_id: str) -> DiscardedBranch | None:
        """The discarded branch of this id."""
        return next((branch for branch in self.discarded_branches if branch.id == branch_id), None)

    def turns_of(self, branch: DiscardedBranch) -> list[Turn]:
        """The turns of a discarded branch, oldest first, without those it shares with what came before."""
        turns = []
        for turn in self.path_to(branch.leaf_turn_id):
            if turn.id == branch.rewound_from_turn_id:
                break
            turns.append(turn)
        return turns[::-1]

    def taken_over(self, turn_ids: Iterable[str]) -> tuple[str, ...]:
        """Those of the turns that this session shares with the one it was forked from, which has billed them."""
        past = {turn.id for turn in self.path_to(self.forked_from.turn_id)} if self.forked_from else set()
        return tuple(turn_id for turn_id in turn_ids if turn_id in past)

    def remembered_message(self, message_id: str | None) -> RememberedMessage | None:
        """The turn that a message id opened, or will open once the messages before it are answered."""
        return self.remembered.get(message_id) if message_id is not None else None

    def may_continue(self, turn_id: str) -> bool:
        """Whether more may be spent on a pending turn: nobody has stopped it, ended the session or gone elsewhere."""
        return not self.is_completed and self.leaf_id == turn_id and turn_id not in self.stopping

    def is_stopping(self, turn_id: str) -> bool:
        """Whether a pending turn is to be answered no further, at once."""
        return turn_id in self.stopping

    def is_closed(self, turn_id: str) -> bool:
        """Whether nothing more is to come of a turn: it was answered or given up, or never opened."""
        waits = any(queued.turn_id == turn_id for queued in self.queue)
        return not waits and turn_id not in self.pending

    def checkpoint_before(self, turn_id: str | None) -> Checkpoint | None:
        """What a turn after the given one continues from: the newest turn up to it that left a checkpoint."""
        return next((turn.checkpoint for turn in self.path_to(turn_id) if turn.checkpoint), None)

    def require_revision(self, expected: int | None) -> None:
        if expected is not None and expected != self.revision:
            raise CommandRejected(
                "revision_conflict",
                f"The session is at revision {self.revision}, not {expected}: something changed it meanwhile. "
                "Read it again and decide anew.",
                expected_revision=expected,
                actual_revision=self.revision,
            )

    def require_open(self) -> None:
        if self.is_completed:
            raise CommandRejected("session_ended", "The session has ended and takes no more commands.")

    def with_turn(self, turn: Turn) -> "Timeline":
        """The same timeline with one turn added or replaced, and noted as unrecorded once it is settled."""
        closed = turn.status != "pending"
        others = tuple(turn_id for turn_id in self.pending if turn_id != turn.id)
        waiting = self.unrecorded.turn_ids
        if closed and turn.id not in waiting:
            waiting = (*waiting, turn.id)
        return self.model_copy(
            update={
                "turns": {**self.turns, turn.id: turn},
                "pending": others if closed else (*others, turn.id),
                "stopping": tuple(each for each in self.stopping if not (closed and each == turn.id)),
                "unrecorded": self.unrecorded.model_copy(update={"turn_ids": waiting}),
            }
        )

    def with_fact(self, kind: FactType, at: datetime, **payload: JsonValue) -> "Timeline":
        """The same timeline with a fact for the store to record."""
        fact = SessionFact(key=f"{kind}-{self.version}", type=kind, created_at=at, payload=payload)
        facts = (*self.unrecorded.facts, fact)
        return self.model_copy(update={"unrecorded": self.unrecorded.model_copy(update={"facts": facts})})

    def changed(self, *, at: datetime, accepted: bool, **changes: object) -> "Timeline":
        """The same timeline with other fields; `accepted` changes count in the revision."""
        return self.model_copy(
            update={
                **changes,
                "updated_at": at,
                "version": self.version + 1,
                "revision": self.revision + (1 if accepted else 0),
            }
        )


MAX_REJECTION_CHARACTERS = 1_000
"""How much of what a refused command said is kept in the note of its refusal."""


def append_turn(timeline: Timeline, turn_id: str, message: UserMessage | None, *, at: datetime) -> Timeline:
    """Open a turn after the newest one seen, and give up what came after that one."""
    parent = timeline.head
    turn = Turn(
        id=turn_id,
        parent_id=parent.id if parent else None,
        index=parent.index + 1 if parent else 0,
        created_at=at,
        user_message=message,
    )
    grown = _discard_future(timeline, at).with_turn(turn)
    return grown.changed(at=at, accepted=True, leaf_id=turn_id, cursor=None)


def move_cursor_before(timeline: Timeline, turn: Turn) -> Timeline:
    """The same timeline seen up to the turn before the given one: what is appended takes the turn's place."""
    return timeline.model_copy(update={"cursor": Cursor(turn_id=turn.parent_id)})


def discard_branch(timeline: Timeline, rewound_from_turn_id: str | None, *, at: datetime) -> Timeline:
    """Keep the active branch, from after a turn to its leaf, as a discarded one."""
    if timeline.leaf_id is None or timeline.leaf_id == rewound_from_turn_id:
        return timeline
    branch = DiscardedBranch(
        id=f"br_{timeline.leaf_id.removeprefix('turn_')}",
        rewound_from_turn_id=rewound_from_turn_id,
        leaf_turn_id=timeline.leaf_id,
        discarded_at=at,
    )
    unrecorded = timeline.unrecorded
    told = unrecorded.model_copy(update={"branches": (*unrecorded.branches, branch)})
    return timeline.model_copy(
        update={"discarded_branches": (*timeline.discarded_branches, branch), "unrecorded": told}
    )


def reinstate_branch(timeline: Timeline, branch: DiscardedBranch) -> Timeline:
    """Have a branch discarded no longer, and those whose turns lead to it begin where they leave it."""
    path = {turn.id for turn in timeline.path_to(branch.leaf_turn_id)}
    shared = {
        each.id: [turn.id for turn in timeline.turns_of(each) if turn.id in path]
        for each in timeline.discarded_branches
    }
    shortened = {
        each.id: each.model_copy(update={"rewound_from_turn_id": shared[each.id][-1]})
        for each in timeline.discarded_branches
        if shared[each.id] and each.id != branch.id
    }
    others = (each for each in timeline.discarded_branches if each.id != branch.id)
    unrecorded = timeline.unrecorded
    changed = (branch.id, *shortened)
    told = unrecorded.model_copy(
        update={
            "branches": (*(each for each in unrecorded.branches if each.id not in changed), *shortened.values()),
            "restored_branch_ids": (*unrecorded.restored_branch_ids, *changed),
        }
    )
    left = tuple(shortened.get(each.id, each) for each in others)
    return timeline.model_copy(update={"discarded_branches": left, "unrecorded": told})


def stop_turns(timeline: Timeline, turn_ids: Iterable[str]) -> Timeline:
    """Have those of the turns that are pending answered no further."""
    wanted = [turn_id for turn_id in turn_ids if turn_id in timeline.pending and turn_id not in timeline.stopping]
    return timeline.model_copy(update={"stopping": (*timeline.stopping, *wanted)})


def reject_queued_messages(timeline: Timeline, refused: CommandRejected, *, at: datetime) -> Timeline:
    """Give up the messages that wait for their turn; each is noted as refused, for nobody may be listening."""
    waiting, timeline = timeline.queue, timeline.model_copy(update={"queue": ()})
    for queued in waiting:
        timeline = record_rejection(timeline, "send_message", refused.rejection, queued.message.message_id, at=at)
    return timeline


def record_rejection(
    timeline: Timeline, command: str, refusal: Rejection, message_id: str | None, *, at: datetime
) -> Timeline:
    """Write down a command that nobody could be told was refused, as an event of the newest turn seen."""
    turn = timeline.head or next(reversed(timeline.turns.values()), None)
    if turn is None:
        return timeline
    said = {"command": command, "message_id": message_id, "code": refusal.code, "detail": refusal.detail}
    payload: dict[str, JsonValue] = {name: _truncated(value) for name, value in {**said, **refusal.figures}.items()}
    event = TurnEvent(type="command_refused", created_at=at, payload=payload)
    noted = turn.model_copy(update={"events": (*turn.events, event)})
    return timeline.with_turn(noted).changed(at=at, accepted=False)


def complete_session(timeline: Timeline, reason: str, *, at: datetime) -> Timeline:
    """End the session; messages in the queue are noted as refused."""
    too_late = CommandRejected("session_ended", "The session ended while the message waited for its turn.")
    timeline = reject_queued_messages(timeline, too_late, at=at)
    ended = timeline.changed(at=at, accepted=True, ended_at=at, completion_reason=reason)
    last = ended.head
    if last is not None:
        event = TurnEvent(type="session_end", created_at=at, payload={"reason": reason})
        ended = ended.with_turn(last.model_copy(update={"events": (*last.events, event)}))
    return ended.with_fact("session_completed", at, reason=reason)


def _discard_future(timeline: Timeline, at: datetime) -> Timeline:
    return discard_branch(timeline, timeline.cursor.turn_id, at=at) if timeline.cursor else timeline


def _truncated(value: int | str | None) -> int | str | None:
    return value[:MAX_REJECTION_CHARACTERS] if isinstance(value, str) else value
