"""The rules of a conversation: what every command does to the tree of turns, or why it is refused.

A timeline is an immutable value. Each command is a function from a timeline to a new one; it raises
`Refused` and leaves its argument as it was when the command does not apply. Time and ids come in as arguments.
"""

from datetime import datetime
from hashlib import sha256

from pydantic import JsonValue

from domain.agent import Limits
from domain.commands import EndSession, Rewind, SendMessage
from domain.engine import TurnProgress
from domain.refusals import Refusal, Refused
from domain.tree import (
    CompletionReason,
    Cursor,
    DiscardedBranch,
    QueuedMessage,
    RememberedMessage,
    Timeline,
    Unrecorded,
)
from domain.turns import AssistantMessage, Turn, TurnEvent, UserMessage
from domain.usage import merge_costs, merge_usage

MAX_TEXT_CHARACTERS = 32_000
"""Longest text of one message. Far below Temporal's 2 MB payload limit, far above what a person says in one go."""
MAX_LABEL_CHARACTERS = 200
"""Longest message id, and longest reason for an end. A session keeps both for as long as it lives."""
MAX_QUEUED_MESSAGES = 20
"""How many messages may wait for a busy agent before `queue_full`."""
MAX_NOTED_CHARACTERS = 1_000
"""How much of what a refused command said is kept in the note of its refusal."""
MAX_REMEMBERED_MESSAGES = 1_000
"""How many message ids a session remembers, newest last, to recognise a repeat."""


def begin_timeline(*, at: datetime) -> Timeline:
    """A session in which nothing has been said."""
    return Timeline(created_at=at, updated_at=at)


def open_greeting(timeline: Timeline, *, turn_id: str, at: datetime) -> Timeline:
    """Open the first turn, which has no user message; only a session without turns greets."""
    timeline.require_open()
    if timeline.turns:
        raise Refused("validation_error", "Only a new session opens with a greeting.")
    return _append(timeline, turn_id, None, at)


def send(timeline: Timeline, command: SendMessage, *, turn_id: str, at: datetime) -> Timeline:
    """Open a turn for a user message at the end of what is seen, or queue it behind the pending reply.

    The same message id with the same text changes nothing. After a rewind the new turn grows a branch
    at the cursor, and what came after it is kept as a discarded branch.

    Raises Refused with `idempotency_mismatch`, `session_ended`, `revision_conflict`, `validation_error`,
    `too_large`, `turn_in_progress` or `queue_full`.
    """
    known = timeline.message_sent_before(command.message_id)
    if known is not None:
        _require_same_text(known, command)
        return timeline
    timeline.require_open()
    timeline.require_revision(command.expected_revision)
    _require_text(command.text)
    _require_at_most(MAX_LABEL_CHARACTERS, command.message_id or "", "message id")
    message = UserMessage(text=command.text, created_at=at, message_id=command.message_id)
    remembered = _remember(timeline, command, turn_id)
    if not timeline.is_busy and not timeline.queue:
        return _append(timeline, turn_id, message, at).model_copy(update={"remembered": remembered})
    _require_place_in_queue(timeline, command)
    queue = (*timeline.queue, QueuedMessage(turn_id=turn_id, message=message))
    return timeline.changed(at=at, accepted=True, queue=queue, remembered=remembered)


def complete(timeline: Timeline, progress: TurnProgress, limits: Limits, *, at: datetime) -> Timeline:
    """Record the answer of a pending turn, and open the turn of the next queued message.

    The session ends with it when the turn ends it, or when the agent's turn or cost limit is reached.

    A turn that is no longer on the active branch keeps its late reply where it is: what is seen, and the
    revision, stay as they were. What it spent counts in any case.
    """
    turn = _pending(timeline, progress.turn_id)
    answer = AssistantMessage(text=progress.text, created_at=at) if progress.said else None
    completed = _spent(turn, progress, at).model_copy(
        update={
            "status": "completed",
            "assistant_message": answer,
            "node_id": progress.node_id,
            "checkpoint": progress.checkpoint(),
        }
    )
    return _close(timeline, completed, limits, at, ends=progress.outcome == "ended")


def fail(timeline: Timeline, progress: TurnProgress, limits: Limits, *, at: datetime) -> Timeline:
    """Record that a pending turn could not be answered; the next message continues from the turn before it."""
    turn = _pending(timeline, progress.turn_id)
    error = progress.error or "The turn failed."
    happened = TurnEvent(type="execution_error", created_at=at, payload={"message": error})
    spent = _spent(turn, progress, at)
    failed = spent.model_copy(update={"status": "failed", "error": error, "events": (*spent.events, happened)})
    return _close(timeline, failed, limits, at)


def interrupt(timeline: Timeline, progress: TurnProgress, limits: Limits, *, at: datetime) -> Timeline:
    """Record that a pending turn was stopped before it was answered, with what was said until then."""
    turn = _pending(timeline, progress.turn_id)
    said = AssistantMessage(text=progress.text, created_at=at) if progress.said else None
    spent = _spent(turn, progress, at)
    stopped = spent.model_copy(update={"status": "interrupted", "assistant_message": said})
    return _close(timeline, stopped, limits, at)


def rewind(timeline: Timeline, command: Rewind, *, at: datetime) -> Timeline:
    """Point the cursor at a turn of the active branch, or before one; nothing is deleted or unspent.

    `turn_id=None` clears the cursor. Messages still waiting in the queue belonged to the future that is
    given up: each is noted as refused.

    Raises Refused with `turn_not_found`, `session_ended`, `revision_conflict` or `validation_error`.
    """
    timeline.require_open()
    timeline.require_revision(command.expected_revision)
    cursor = _cursor_for(timeline, command)
    rewound = timeline.changed(at=at, accepted=True, cursor=cursor, queue=()).with_fact(
        "rewound", at, cursor_turn_id=cursor.turn_id if cursor else None, cleared=cursor is None
    )
    for waiting in timeline.queue:
        refusal = Refused("superseded", "The session was rewound while the message waited for its turn.").refusal
        rewound = note_refusal(rewound, "send_message", refusal, waiting.message.message_id, at=at)
    return rewound


def end(timeline: Timeline, command: EndSession, *, at: datetime) -> Timeline:
    """End the session; ending it again changes nothing.

    A pending reply is still recorded and billed when it comes. Messages in the queue are noted as refused.

    Raises Refused with `revision_conflict` or `too_large`.
    """
    if timeline.is_completed:
        return timeline
    timeline.require_revision(command.expected_revision)
    _require_at_most(MAX_LABEL_CHARACTERS, command.reason, "reason")
    return _end(timeline, command.reason, at)


def note_fetched(timeline: Timeline, fetched: dict[str, JsonValue], *, at: datetime) -> Timeline:
    """Keep what was looked up before the first opening; it joins what the session was started with."""
    return timeline.changed(at=at, accepted=False, fetched_context=fetched)


def note_refusal(
    timeline: Timeline, command: str, refusal: Refusal, message_id: str | None, *, at: datetime
) -> Timeline:
    """Write down a command that nobody could be told was refused, as an event of the newest turn seen."""
    turn = timeline.head or next(reversed(timeline.turns.values()), None)
    if turn is None:
        return timeline
    said = {"command": command, "message_id": message_id, "code": refusal.code, "detail": refusal.detail}
    payload: dict[str, JsonValue] = {name: _noted(value) for name, value in {**said, **refusal.figures}.items()}
    event = TurnEvent(type="command_refused", created_at=at, payload=payload)
    noted = turn.model_copy(update={"events": (*turn.events, event)})
    return timeline.with_turn(noted).changed(at=at, accepted=False)


def take_unrecorded(timeline: Timeline) -> tuple[Timeline, Unrecorded]:
    """Hand out what the store has not been told yet; the timeline that is left has nothing unrecorded."""
    return timeline.model_copy(update={"unrecorded": Unrecorded()}), timeline.unrecorded


def digest_of(text: str) -> str:
    """A short fingerprint of a message's text."""
    return sha256(text.encode()).hexdigest()[:16]


def _require_text(text: str) -> None:
    if not text.strip():
        raise Refused("validation_error", "The text of a message must not be empty.")
    _require_at_most(MAX_TEXT_CHARACTERS, text, "text")


def _require_at_most(limit: int, text: str, name: str) -> None:
    if len(text) > limit:
        raise Refused(
            "too_large",
            f"The {name} has {len(text)} characters; at most {limit} are taken.",
            limit=limit,
            actual=len(text),
        )


def _require_same_text(known: RememberedMessage, command: SendMessage) -> None:
    if known.digest != digest_of(command.text):
        raise Refused(
            "idempotency_mismatch",
            f"The message id {command.message_id} was used for another text. Use a new id for a new message.",
            turn_id=known.turn_id,
        )


def _require_place_in_queue(timeline: Timeline, command: SendMessage) -> None:
    if command.on_busy != "enqueue":
        raise Refused(
            "turn_in_progress",
            "The agent is still answering. Wait for the reply, or send with on_busy=enqueue.",
            turn_id=timeline.head.id if timeline.head else None,
        )
    if len(timeline.queue) >= MAX_QUEUED_MESSAGES:
        raise Refused(
            "queue_full",
            f"{MAX_QUEUED_MESSAGES} messages already wait for their turn. Wait for a reply and send again.",
            limit=MAX_QUEUED_MESSAGES,
        )


def _noted(value: int | str | None) -> int | str | None:
    return value[:MAX_NOTED_CHARACTERS] if isinstance(value, str) else value


def _remember(timeline: Timeline, command: SendMessage, turn_id: str) -> dict[str, RememberedMessage]:
    kept = timeline.remembered
    if command.message_id is None:
        return kept
    if len(kept) >= MAX_REMEMBERED_MESSAGES:
        oldest = next(iter(kept))
        kept = {message_id: known for message_id, known in kept.items() if message_id != oldest}
    return {**kept, command.message_id: RememberedMessage(turn_id=turn_id, digest=digest_of(command.text))}


def _append(timeline: Timeline, turn_id: str, message: UserMessage | None, at: datetime) -> Timeline:
    """Open a turn after the newest one seen, and give up what came after it."""
    parent = timeline.head
    turn = Turn(
        id=turn_id,
        parent_id=parent.id if parent else None,
        index=parent.index + 1 if parent else 0,
        created_at=at,
        user_message=message,
    )
    return _discard_future(timeline, at).with_turn(turn).changed(at=at, accepted=True, leaf_id=turn_id, cursor=None)


def _discard_future(timeline: Timeline, at: datetime) -> Timeline:
    if timeline.cursor is None or timeline.leaf_id is None or timeline.cursor.turn_id == timeline.leaf_id:
        return timeline
    given_up = DiscardedBranch(
        id=f"br_{timeline.leaf_id.removeprefix('turn_')}",
        rewound_from_turn_id=timeline.cursor.turn_id,
        leaf_turn_id=timeline.leaf_id,
        discarded_at=at,
    )
    unrecorded = timeline.unrecorded
    told = unrecorded.model_copy(update={"branches": (*unrecorded.branches, given_up)})
    return timeline.model_copy(
        update={"discarded_branches": (*timeline.discarded_branches, given_up), "unrecorded": told}
    )


def _pending(timeline: Timeline, turn_id: str) -> Turn:
    turn = timeline.turns.get(turn_id)
    if turn is None or turn.status != "pending":
        raise Refused("turn_not_found", f"There is no pending turn {turn_id}.", turn_id=turn_id)
    return turn


def _spent(turn: Turn, progress: TurnProgress, at: datetime) -> Turn:
    seconds = round((at - turn.created_at).total_seconds(), 3)
    return turn.model_copy(
        update={
            "usage": progress.usage.model_copy(update={"duration_seconds": seconds}),
            "cost": progress.cost,
            "events": (*turn.events, *progress.events),
        }
    )


def _close(timeline: Timeline, turn: Turn, limits: Limits, at: datetime, *, ends: bool = False) -> Timeline:
    seen = not timeline.is_completed and timeline.head is not None and timeline.head.id == turn.id
    closed = timeline.with_turn(turn).changed(
        at=at,
        accepted=seen,
        usage=merge_usage([timeline.usage, turn.usage]),
        cost=merge_costs([timeline.cost, turn.cost]),
    )
    if not seen:
        return closed
    reason = "end_node" if ends else _limit_reached(closed, turn, limits)
    if reason is None:
        return _open_next_in_queue(closed, at)
    # A reply counts once in the revision, also when it is the last one.
    return _end(closed, reason, at).model_copy(update={"revision": closed.revision})


def _limit_reached(timeline: Timeline, turn: Turn, limits: Limits) -> CompletionReason | None:
    if turn.index + 1 >= limits.max_turns:
        return "max_turns"
    if limits.max_cost_usd is not None and timeline.cost.total >= limits.max_cost_usd:
        return "max_cost"
    return None


def _open_next_in_queue(timeline: Timeline, at: datetime) -> Timeline:
    if not timeline.queue:
        return timeline
    waiting, *rest = timeline.queue
    opened = _append(timeline, waiting.turn_id, waiting.message, at)
    return opened.model_copy(update={"queue": tuple(rest), "revision": timeline.revision})


def _cursor_for(timeline: Timeline, command: Rewind) -> Cursor | None:
    if command.turn_id is None:
        if command.before:
            raise Refused("validation_error", "`before` needs a turn_id: the turn to go back before.")
        return None
    turn = next((turn for turn in timeline.path_to(timeline.leaf_id) if turn.id == command.turn_id), None)
    if turn is None:
        raise Refused(
            "turn_not_found",
            f"The turn {command.turn_id} is not on the active branch of this session.",
            turn_id=command.turn_id,
        )
    return Cursor(turn_id=turn.parent_id if command.before else turn.id)


def _end(timeline: Timeline, reason: str, at: datetime) -> Timeline:
    for waiting in timeline.queue:
        refusal = Refused("session_ended", "The session ended while the message waited for its turn.").refusal
        timeline = note_refusal(timeline, "send_message", refusal, waiting.message.message_id, at=at)
    ended = timeline.changed(at=at, accepted=True, ended_at=at, completion_reason=reason, queue=())
    last = ended.head
    if last is not None:
        event = TurnEvent(type="session_end", created_at=at, payload={"reason": reason})
        ended = ended.with_turn(last.model_copy(update={"events": (*last.events, event)}))
    return ended.with_fact("session_completed", at, reason=reason)
