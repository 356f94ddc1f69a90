"""The timeline of a session: the tree of its turns, the active branch, and basic changes of both.

`command_handlers` and `turn_completion` combine these changes into commands and into the completion of turns.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import takewhile
from typing import Literal

from pydantic import JsonValue

from domain.durable import FrozenModel
from domain.rejections import CommandRejected, Rejection
from domain.sessions.caller_config import SimulatorState
from domain.turns.engine import AgentEnding
from domain.turns.turn import Checkpoint, ReplyOptions, SessionStatus, Turn, TurnEvent, UserMessage
from domain.usage import Cost, Usage

FactType = Literal[
    "rewound",
    "branch_restored",
    "session_forked",
    "session_completed",
    "session_reset",
    "approval_requested",
    "approval_decided",
    "client_call_requested",
    "client_call_closed",
]
CompletionReason = Literal[
    AgentEnding, "max_turns", "max_cost", "deadline", "user_hangup", "user_idle_max_duration_exceeded"
]
"""Completion reasons of sessions that end automatically, or by default; `end` accepts any other reason."""
AuxiliaryPurpose = Literal["extraction", "caller", "judge", "summary"]
"""Purposes of auxiliary model calls: extraction at the end, a message of a simulated user, a judgement, a summary."""
Purpose = Literal["turn", AuxiliaryPurpose]
"""The purpose of a ledger row."""


class Cursor(FrozenModel):
    """The target of a rewind: a turn, or the point before the first turn (`None`)."""

    turn_id: str | None


class DiscardedBranch(FrozenModel):
    """A branch that was replaced by another: the turns after `rewound_from_turn_id` up to `leaf_turn_id`."""

    id: str
    rewound_from_turn_id: str | None
    leaf_turn_id: str
    discarded_at: datetime


class QueuedMessage(FrozenModel):
    """A message accepted while a reply was pending; its turn opens after the reply.

    Messages with `interrupts` come first.
    """

    turn_id: str
    message: UserMessage
    interrupts: bool = False
    options: ReplyOptions | None = None


class RememberedMessage(FrozenModel):
    """An accepted message id: its turn, and the digest of its command, to distinguish repeats from misuse."""

    turn_id: str
    digest: str


class WaitingApproval(FrozenModel):
    """A tool call that waits for approval until `expires_at`. `reason` is the text that the agent defines for it."""

    call_id: str
    turn_id: str
    tool: str
    arguments: dict[str, JsonValue] = {}
    reason: str = ""
    requested_at: datetime
    expires_at: datetime


class WaitingClientCall(FrozenModel):
    """A call of a client tool that waits for its result until `expires_at`.

    `said` is the text of the reply before the call, and `used` the usage of the turn up to it.
    """

    call_id: str
    turn_id: str
    tool: str
    arguments: dict[str, JsonValue] = {}
    said: str = ""
    used: Usage = Usage()
    requested_at: datetime
    expires_at: datetime


class ReturnedClientCall(FrozenModel):
    """A call of a client tool that has its result, to recognise a repeat of it by its digest.

    `said` counts the characters of the reply before the call, and `used` is the usage of the turn up to it.
    """

    call_id: str
    turn_id: str
    digest: str
    said: int = 0
    used: Usage = Usage()


class ForkPoint(FrozenModel):
    """The origin of a fork: the source session, and the turn it continues from."""

    session_id: str
    turn_id: str


class AuxiliaryCall(FrozenModel):
    """A model call for a session outside of any turn, billed under its own id.

    `after_turn_id` is the newest visible turn at the time of the call.
    """

    id: str
    purpose: AuxiliaryPurpose
    after_turn_id: str | None
    created_at: datetime
    usage: Usage = Usage()
    cost: Cost = Cost()
    error: str | None = None


class SessionFact(FrozenModel):
    """An event of a session outside of any turn. `key` is unique within the session."""

    key: str
    type: FactType
    created_at: datetime
    payload: dict[str, JsonValue] = {}


class UnrecordedChanges(FrozenModel):
    """Changes since the last settlement.

    Ids of closed turns, discarded branches, facts, and auxiliary model calls. `restored_branch_ids` are branches that
    are no longer discarded or now start at another turn; they are applied before `branches`.
    """

    turn_ids: tuple[str, ...] = ()
    branches: tuple[DiscardedBranch, ...] = ()
    facts: tuple[SessionFact, ...] = ()
    restored_branch_ids: tuple[str, ...] = ()
    auxiliary_calls: tuple[AuxiliaryCall, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.turn_ids or self.branches or self.facts or self.restored_branch_ids or self.auxiliary_calls)

    @property
    def completion_only(self) -> "UnrecordedChanges":
        """Only the completion of the session, if it is included."""
        return UnrecordedChanges(facts=tuple(fact for fact in self.facts if fact.type == "session_completed"))

    @property
    def without_completion(self) -> "UnrecordedChanges":
        """Everything except the completion of the session."""
        facts = tuple(fact for fact in self.facts if fact.type != "session_completed")
        return self.model_copy(update={"facts": facts})

    def after(self, earlier: "UnrecordedChanges") -> "UnrecordedChanges":
        """These changes merged with earlier ones, which may have been recorded before."""
        still_discarded = (branch for branch in earlier.branches if branch.id not in self.restored_branch_ids)
        return UnrecordedChanges(
            turn_ids=tuple(dict.fromkeys((*earlier.turn_ids, *self.turn_ids))),
            branches=(*still_discarded, *self.branches),
            facts=(*earlier.facts, *self.facts),
            restored_branch_ids=tuple(dict.fromkeys((*earlier.restored_branch_ids, *self.restored_branch_ids))),
            auxiliary_calls=(*earlier.auxiliary_calls, *self.auxiliary_calls),
        )


class Timeline(FrozenModel):
    """All turns of a session as a tree, and the path through it that the next message extends.

    `leaf_id` is the last turn of the active branch. `cursor` is the target of a rewind: later turns are hidden.
    `revision` counts accepted commands and replies, `version` every change, including those without a command (a late
    reply on a discarded branch, a recorded rejection). `pending` are the turns without a reply, on any branch,
    `stopping` those of them whose reply is to be stopped. `unrecorded` are changes not yet settled. `fetched_context`
    contains variables fetched before the greeting (None: not fetched yet), `learned_context` variables extracted
    after the end. `forked_from` is the origin of a fork, `simulator` the state of a simulated user. `recorded_version`
    is the version settled last, `recording_version` one that a settlement under way at the end of the last run may
    have recorded. `client_calls` are calls of client tools that wait for their results, `returned_calls` the newest
    ones that have them.
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
    recorded_version: int | None = None
    recording_version: int | None = None
    client_calls: tuple[WaitingClientCall, ...] = ()
    returned_calls: tuple[ReturnedClientCall, ...] = ()

    @property
    def is_completed(self) -> bool:
        return self.ended_at is not None

    @property
    def head(self) -> Turn | None:
        """The newest visible turn: the cursor's, or else the leaf of the active branch."""
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
        """True while the newest visible turn waits for its reply."""
        return self.head is not None and self.head.status == "pending"

    def path_to(self, turn_id: str | None) -> Iterator[Turn]:
        """The turns from the given one to the root, newest first."""
        while turn_id is not None:
            turn = self.turns[turn_id]
            yield turn
            turn_id = turn.parent_id

    def visible_turns(self) -> Iterator[Turn]:
        """The visible turns, newest first."""
        return self.path_to(self.head.id if self.head else None)

    def turns_past_cursor(self) -> Iterator[Turn]:
        """The turns of the active branch hidden by a rewind, newest first."""
        newest_visible = self.head.id if self.head else None
        return takewhile(lambda turn: turn.id != newest_visible, self.path_to(self.leaf_id))

    def active_turn(self, turn_id: str) -> Turn | None:
        """The turn with this id on the active branch, including turns past the cursor."""
        return next((turn for turn in self.path_to(self.leaf_id) if turn.id == turn_id), None)

    def find_branch(self, branch_id: str) -> DiscardedBranch | None:
        """The discarded branch with this id."""
        return next((branch for branch in self.discarded_branches if branch.id == branch_id), None)

    def turns_of(self, branch: DiscardedBranch) -> list[Turn]:
        """The turns of a discarded branch, oldest first, without those it shares with other branches."""
        turns = []
        for turn in self.path_to(branch.leaf_turn_id):
            if turn.id == branch.rewound_from_turn_id:
                break
            turns.append(turn)
        return turns[::-1]

    def taken_over(self, turn_ids: Iterable[str]) -> tuple[str, ...]:
        """Those of the given turns that are not billed: imported ones, and those that the source of a fork has."""
        inherited = {turn.id for turn in self.path_to(self.forked_from.turn_id)} if self.forked_from else set()
        return tuple(turn_id for turn_id in turn_ids if turn_id in inherited or self.turns[turn_id].imported)

    def remembered_message(self, message_id: str | None) -> RememberedMessage | None:
        """The turn that a message id opened, or will open when it leaves the queue."""
        return self.remembered.get(message_id) if message_id is not None else None

    def may_continue(self, turn_id: str) -> bool:
        """True if a pending turn may continue: it is the leaf, is not being stopped, and the session has not ended."""
        return not self.is_completed and self.leaf_id == turn_id and turn_id not in self.stopping

    def is_stopping(self, turn_id: str) -> bool:
        """True if the reply of a pending turn is to be stopped at once."""
        return turn_id in self.stopping

    def is_closed(self, turn_id: str) -> bool:
        """True if a turn is neither pending nor queued."""
        is_queued = any(queued.turn_id == turn_id for queued in self.queue)
        return not is_queued and turn_id not in self.pending

    def waits_for_client(self, turn_id: str) -> bool:
        """True if a turn waits for its client to carry out tools."""
        return any(call.turn_id == turn_id for call in self.client_calls)

    def checkpoint_before(self, turn_id: str | None) -> Checkpoint | None:
        """The newest checkpoint up to the given turn, from which the next turn continues."""
        return next((turn.checkpoint for turn in self.path_to(turn_id) if turn.checkpoint), None)

    def require_revision(self, expected: int | None) -> None:
        if expected is not None and expected != self.revision:
            raise CommandRejected(
                "revision_conflict",
                f"The session is at revision {self.revision}, not {expected}: it was changed in the meantime. "
                "Read it again, then send the command again.",
                expected_revision=expected,
                actual_revision=self.revision,
            )

    def require_open(self) -> None:
        if self.is_completed:
            raise CommandRejected("session_ended", "The session has ended and accepts no more commands.")

    def with_turn(self, turn: Turn) -> "Timeline":
        """The timeline with a turn added or replaced; unless it is pending, it is added to the unrecorded changes."""
        closed = turn.status != "pending"
        others = tuple(turn_id for turn_id in self.pending if turn_id != turn.id)
        turn_ids = self.unrecorded.turn_ids
        if closed and turn.id not in turn_ids:
            turn_ids = (*turn_ids, turn.id)
        return self.model_copy(
            update={
                "turns": {**self.turns, turn.id: turn},
                "pending": others if closed else (*others, turn.id),
                "stopping": tuple(each for each in self.stopping if not (closed and each == turn.id)),
                "unrecorded": self.unrecorded.model_copy(update={"turn_ids": turn_ids}),
            }
        )

    def with_fact(self, kind: FactType, at: datetime, **payload: JsonValue) -> "Timeline":
        """The timeline with a fact added, to be recorded in the store with the present revision."""
        with_revision: dict[str, JsonValue] = {"revision": self.revision, **payload}
        fact = SessionFact(key=f"{kind}-{self.version}", type=kind, created_at=at, payload=with_revision)
        facts = (*self.unrecorded.facts, fact)
        return self.model_copy(update={"unrecorded": self.unrecorded.model_copy(update={"facts": facts})})

    def changed(self, *, at: datetime, accepted: bool, **changes: object) -> "Timeline":
        """The timeline with changed fields; an `accepted` change raises the revision."""
        return self.model_copy(
            update={
                **changes,
                "updated_at": at,
                "version": self.version + 1,
                "revision": self.revision + (1 if accepted else 0),
            }
        )


MAX_REJECTION_CHARACTERS = 1_000
"""Maximum characters of each text in a recorded rejection."""


def append_turn(
    timeline: Timeline,
    turn_id: str,
    message: UserMessage | None,
    *,
    at: datetime,
    options: ReplyOptions | None = None,
    accepted: bool = True,
) -> Timeline:
    """Open a turn after the newest visible one; turns past the cursor become a discarded branch."""
    parent = timeline.head
    turn = Turn(
        id=turn_id,
        parent_id=parent.id if parent else None,
        index=parent.index + 1 if parent else 0,
        created_at=at,
        user_message=message,
        options=options,
    )
    appended = _discard_future(timeline, at).with_turn(turn)
    return appended.changed(at=at, accepted=accepted, leaf_id=turn_id, cursor=None)


def move_cursor_before(timeline: Timeline, turn: Turn) -> Timeline:
    """Set the cursor to the parent of a turn: the next turn appended replaces it."""
    return timeline.model_copy(update={"cursor": Cursor(turn_id=turn.parent_id)})


def discard_branch(timeline: Timeline, rewound_from_turn_id: str | None, *, at: datetime) -> Timeline:
    """Record the turns of the active branch after the given one as a discarded branch."""
    if timeline.leaf_id is None or timeline.leaf_id == rewound_from_turn_id:
        return timeline
    branch = DiscardedBranch(
        id=f"br_{timeline.leaf_id.removeprefix('turn_')}",
        rewound_from_turn_id=rewound_from_turn_id,
        leaf_turn_id=timeline.leaf_id,
        discarded_at=at,
    )
    unrecorded = timeline.unrecorded
    updated = unrecorded.model_copy(update={"branches": (*unrecorded.branches, branch)})
    return timeline.model_copy(
        update={"discarded_branches": (*timeline.discarded_branches, branch), "unrecorded": updated}
    )


def reinstate_branch(timeline: Timeline, branch: DiscardedBranch) -> Timeline:
    """Remove a branch from the discarded ones. Other branches that contain turns of its path now start after them."""
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
    updated = unrecorded.model_copy(
        update={
            "branches": (*(each for each in unrecorded.branches if each.id not in changed), *shortened.values()),
            "restored_branch_ids": (*unrecorded.restored_branch_ids, *changed),
        }
    )
    remaining = tuple(shortened.get(each.id, each) for each in others)
    return timeline.model_copy(update={"discarded_branches": remaining, "unrecorded": updated})


def switch_branch(timeline: Timeline, branch: DiscardedBranch, *, at: datetime) -> Timeline:
    """Make a discarded branch the active one; the formerly active turns become a discarded branch."""
    path = {turn.id for turn in timeline.path_to(branch.leaf_turn_id)}
    common = next((turn.id for turn in timeline.path_to(timeline.leaf_id) if turn.id in path), None)
    discarded = discard_branch(reinstate_branch(timeline, branch), common, at=at)
    return discarded.model_copy(update={"leaf_id": branch.leaf_turn_id, "cursor": None})


def stop_turns(timeline: Timeline, turn_ids: Iterable[str]) -> Timeline:
    """Request that the replies of the given turns be stopped; turns that are not pending are ignored."""
    stopping = [turn_id for turn_id in turn_ids if turn_id in timeline.pending and turn_id not in timeline.stopping]
    return timeline.model_copy(update={"stopping": (*timeline.stopping, *stopping)})


def reject_queued_messages(timeline: Timeline, reason: CommandRejected, *, at: datetime) -> Timeline:
    """Empty the queue, and record a rejection for each message, because its sender may no longer be waiting."""
    queue, timeline = timeline.queue, timeline.model_copy(update={"queue": ()})
    for queued in queue:
        timeline = record_rejection(timeline, "send_message", reason.rejection, queued.message.message_id, at=at)
    return timeline


def record_rejection(
    timeline: Timeline, command: str, rejection: Rejection, message_id: str | None, *, at: datetime
) -> Timeline:
    """Record a rejection that could not be returned to a client, as an event of the newest visible turn."""
    turn = timeline.head or next(reversed(timeline.turns.values()), None)
    if turn is None:
        return timeline
    fields = {"command": command, "message_id": message_id, "code": rejection.code, "detail": rejection.detail}
    payload: dict[str, JsonValue] = {name: _truncated(value) for name, value in {**fields, **rejection.figures}.items()}
    event = TurnEvent(type="command_refused", created_at=at, payload=payload)
    updated = turn.model_copy(update={"events": (*turn.events, event)})
    return timeline.with_turn(updated).changed(at=at, accepted=False)


def complete_session(timeline: Timeline, reason: str, *, at: datetime, accepted: bool = True) -> Timeline:
    """End the session; queued messages are rejected, and each rejection is recorded."""
    reason_for_queue = CommandRejected("session_ended", "The session ended while the message was queued.")
    timeline = reject_queued_messages(timeline, reason_for_queue, at=at)
    ended = timeline.changed(at=at, accepted=accepted, ended_at=at, completion_reason=reason)
    last = ended.head
    if last is not None:
        event = TurnEvent(type="session_end", created_at=at, payload={"reason": reason})
        ended = ended.with_turn(last.model_copy(update={"events": (*last.events, event)}))
    return ended.with_fact("session_completed", at, reason=reason)


def _discard_future(timeline: Timeline, at: datetime) -> Timeline:
    return discard_branch(timeline, timeline.cursor.turn_id, at=at) if timeline.cursor else timeline


def _truncated(value: int | str | None) -> int | str | None:
    return value[:MAX_REJECTION_CHARACTERS] if isinstance(value, str) else value
