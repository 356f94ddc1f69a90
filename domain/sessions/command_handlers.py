"""Command handlers: the effect of every command on the timeline, or its rejection.

A timeline is immutable. Each handler takes a timeline and a command, and returns a new timeline or raises
`CommandRejected`. Time and ids are arguments.
"""

from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256

from pydantic import JsonValue

from domain.rejections import CommandRejected
from domain.sessions.client_calls import take_results
from domain.sessions.commands import (
    CancelTurn,
    EditMessage,
    EndSession,
    OnBusy,
    Regenerate,
    RestoreBranch,
    Rewind,
    SendMessage,
    TurnCommand,
)
from domain.sessions.timeline import (
    Cursor,
    DiscardedBranch,
    ForkPoint,
    QueuedMessage,
    RememberedMessage,
    Timeline,
    append_turn,
    complete_session,
    move_cursor_before,
    reject_queued_messages,
    stop_turns,
    switch_branch,
)
from domain.turns.turn import ReplyOptions, Turn, UserMessage

MAX_TEXT_CHARACTERS = 32_000
"""Maximum characters of one message: far below Temporal's payload limit of 2 MB."""
MAX_LABEL_CHARACTERS = 200
"""Maximum characters of a message id and of a completion reason. A session keeps both until it ends."""
MAX_QUEUED_MESSAGES = 20
"""Maximum messages in the queue of a busy agent; more are rejected with `queue_full`."""
MAX_REMEMBERED_MESSAGES = 1_000
"""Maximum message ids that a session remembers, newest last, to recognise repeats."""


def new_timeline(*, at: datetime) -> Timeline:
    """The timeline of a new session, without turns."""
    return Timeline(created_at=at, updated_at=at)


def open_greeting(timeline: Timeline, *, turn_id: str, at: datetime) -> Timeline:
    """Open the greeting turn, which has no user message. The session must not have any turns."""
    timeline.require_open()
    if timeline.turns:
        raise CommandRejected(
            "validation_error", "The session already has turns: only a new session starts with a greeting."
        )
    return append_turn(timeline, turn_id, None, at=at)


def send(timeline: Timeline, command: SendMessage, *, turn_id: str, at: datetime) -> Timeline:
    """Open a turn for a user message after the newest visible turn; `on_busy` applies while a reply is pending.

    The same message id with the same text changes nothing. After a rewind the new turn starts a branch at the cursor,
    and the turns after the cursor become a discarded branch. A message that interrupts is answered before queued ones
    and after earlier ones that interrupted; a message that rolls back replaces the pending turn.

    After a turn that is not the newest visible one the message grows a branch there, as a rewind and a message in one
    command: later turns are discarded, and the branch of the turn is restored first if it had been discarded.

    Raises CommandRejected with `idempotency_mismatch`, `session_ended`, `revision_conflict`, `turn_not_found`,
    `validation_error`, `too_large`, `turn_in_progress` or `queue_full`.
    """
    digest = command_digest(command)
    if _is_repeat(timeline, command.message_id, digest):
        return timeline
    timeline.require_open()
    timeline.require_revision(command.expected_revision)
    _require_text(command.text)
    message = _message(command.text, command.message_id, at)
    timeline = take_results(timeline, command.results, at=at)
    remembered = _remember(timeline, command.message_id, turn_id, digest)
    queued = QueuedMessage(turn_id=turn_id, message=message, options=command.options)
    newest = timeline.head
    if command.after_turn_id is not None and (newest is None or newest.id != command.after_turn_id):
        return _send_after(remembered, command.after_turn_id, queued, command.on_busy, at=at)
    if not timeline.is_busy and not timeline.queue:
        return append_turn(remembered, turn_id, message, at=at, options=command.options)
    return _send_while_busy(remembered, queued, command.on_busy, at)


def edit(timeline: Timeline, command: EditMessage, *, turn_id: str, at: datetime) -> Timeline:
    """Replace a turn of the active branch by a turn with another text.

    The turn and the turns after it are discarded, queued messages are rejected, and a pending reply is stopped.

    Raises CommandRejected like `send` and `rewind`, and with `validation_error` for a turn without a user message.
    """
    digest = command_digest(command)
    if _is_repeat(timeline, command.message_id, digest):
        return timeline
    timeline.require_open()
    timeline.require_revision(command.expected_revision)
    edited = _require_active_turn(timeline, command.turn_id)
    if edited.user_message is None:
        raise CommandRejected(
            "validation_error",
            f"The turn {edited.id} is the greeting and has no message to edit. Regenerate it instead.",
            turn_id=edited.id,
        )
    _require_text(command.text)
    message = _message(command.text, command.message_id, at)
    remembered = _remember(timeline, command.message_id, turn_id, digest)
    return _replace_turn(remembered, edited, turn_id=turn_id, message=message, at=at, options=command.options)


def regenerate(timeline: Timeline, command: Regenerate, *, turn_id: str, at: datetime) -> Timeline:
    """Replace a turn of the active branch, or the greeting, by a new turn with the same message.

    The turns after it are discarded, as with `edit`.

    Raises CommandRejected with `turn_not_found`, `session_ended`, `revision_conflict`, `too_large` or
    `idempotency_mismatch`.
    """
    digest = command_digest(command)
    if _is_repeat(timeline, command.message_id, digest):
        return timeline
    timeline.require_open()
    timeline.require_revision(command.expected_revision)
    original = _require_active_turn(timeline, command.turn_id)
    user_message = original.user_message
    _require_message_id(command.message_id)
    message = _message(user_message.text, command.message_id, at) if user_message else None
    remembered = _remember(timeline, command.message_id, turn_id, digest)
    options = command.options or original.options
    return _replace_turn(remembered, original, turn_id=turn_id, message=message, at=at, options=options)


def cancel(timeline: Timeline, command: CancelTurn, *, at: datetime) -> Timeline:
    """Request that the pending reply be stopped; its turn is interrupted once it has stopped.

    Queued messages keep their order: the next one is answered then.

    Raises CommandRejected with `turn_not_pending`, `session_ended` or `revision_conflict`.
    """
    timeline.require_open()
    timeline.require_revision(command.expected_revision)
    head = timeline.head
    if head is None or not timeline.is_busy:
        raise CommandRejected("turn_not_pending", "No reply is pending: there is nothing to cancel.")
    pending_id = head.user_message.message_id if head.user_message else None
    if command.message_id is not None and command.message_id != pending_id:
        raise CommandRejected(
            "turn_not_pending",
            f"The reply to the message {command.message_id} is not pending: there is nothing to cancel.",
            turn_id=head.id,
        )
    if timeline.is_stopping(head.id):
        return timeline
    return stop_turns(timeline, [head.id]).changed(at=at, accepted=True)


def rewind(timeline: Timeline, command: Rewind, *, at: datetime) -> Timeline:
    """Set the cursor to a turn of the active branch, or before one. Nothing is deleted, and usage is not refunded.

    `turn_id=None` clears the cursor. Queued messages are rejected, and each rejection is recorded.

    Raises CommandRejected with `turn_not_found`, `session_ended`, `revision_conflict` or `validation_error`.
    """
    timeline.require_open()
    timeline.require_revision(command.expected_revision)
    cursor = _cursor_for(timeline, command)
    rewound = timeline.changed(at=at, accepted=True, cursor=cursor).with_fact(
        "rewound", at, cursor_turn_id=cursor.turn_id if cursor else None, cleared=cursor is None
    )
    return reject_queued_messages(rewound, _superseded(), at=at)


def restore(timeline: Timeline, command: RestoreBranch, *, at: datetime) -> Timeline:
    """Make a discarded branch the active one; the formerly active turns become a discarded branch.

    If the branch starts on another discarded branch, it takes over the turns both share, and the other branch then
    starts where the two diverge. Every turn is always on the active branch or on exactly one discarded branch.

    Queued messages are rejected, and each rejection is recorded. A pending reply is recorded on its own turn.

    Raises CommandRejected with `branch_not_found`, `session_ended` or `revision_conflict`.
    """
    timeline.require_open()
    timeline.require_revision(command.expected_revision)
    branch = timeline.find_branch(command.branch_id)
    if branch is None:
        raise CommandRejected(
            "branch_not_found",
            f"The session has no discarded branch {command.branch_id}.",
            branch_id=command.branch_id,
        )
    switched = switch_branch(timeline, branch, at=at)
    restored = switched.changed(at=at, accepted=True, leaf_id=branch.leaf_turn_id, cursor=None)
    recorded = restored.with_fact("branch_restored", at, branch_id=branch.id, leaf_turn_id=branch.leaf_turn_id)
    return reject_queued_messages(recorded, _superseded(), at=at)


def fork(turns: Iterable[Turn], source: str, *, at: datetime) -> Timeline:
    """The timeline of a new session that continues from the last of the given turns of another session.

    The turns start at the root, oldest first, and none is pending. Their cost stays with the source session.
    """
    shared = {turn.id: turn for turn in turns}
    leaf_id = next(reversed(shared))
    forked = new_timeline(at=at).changed(
        at=at,
        accepted=True,
        turns=shared,
        leaf_id=leaf_id,
        forked_from=ForkPoint(session_id=source, turn_id=leaf_id),
        fetched_context={},
    )
    return forked.with_fact("session_forked", at, session_id=source, turn_id=leaf_id)


def end(timeline: Timeline, command: EndSession, *, at: datetime) -> Timeline:
    """End the session; ending it again changes nothing.

    A pending reply is still recorded and billed when it arrives. Queued messages are rejected, and each rejection
    is recorded.

    Raises CommandRejected with `revision_conflict` or `too_large`.
    """
    if timeline.is_completed:
        return timeline
    timeline.require_revision(command.expected_revision)
    _require_at_most(MAX_LABEL_CHARACTERS, command.reason, "reason")
    return complete_session(timeline, command.reason, at=at)


def record_fetched_context(timeline: Timeline, fetched: dict[str, JsonValue], *, at: datetime) -> Timeline:
    """Add the variables fetched before the greeting; they extend the initial context."""
    return timeline.changed(at=at, accepted=False, fetched_context=fetched)


def command_digest(command: TurnCommand) -> str:
    """A digest of the content of a command. A repeat has the same message id and the same digest."""
    match command:
        case SendMessage():
            content = command.text
        case EditMessage():
            content = f"edit {command.turn_id}: {command.text}"
        case Regenerate():
            content = f"regenerate {command.turn_id}"
    return sha256(content.encode()).hexdigest()[:16]


def _require_text(text: str) -> None:
    if not text.strip():
        raise CommandRejected("validation_error", "The text of a message must not be empty.")
    _require_at_most(MAX_TEXT_CHARACTERS, text, "text")


def _require_at_most(limit: int, text: str, name: str) -> None:
    if len(text) > limit:
        raise CommandRejected(
            "too_large",
            f"The {name} has {len(text)} characters; at most {limit} are allowed.",
            limit=limit,
            actual=len(text),
        )


def _require_message_id(message_id: str | None) -> None:
    _require_at_most(MAX_LABEL_CHARACTERS, message_id or "", "message id")


def _message(text: str, message_id: str | None, at: datetime) -> UserMessage:
    _require_message_id(message_id)
    return UserMessage(text=text, created_at=at, message_id=message_id)


def _is_repeat(timeline: Timeline, message_id: str | None, digest: str) -> bool:
    """True if the command was accepted before. Raises CommandRejected if its id belongs to another command."""
    known = timeline.remembered_message(message_id)
    if known is not None and known.digest != digest:
        raise CommandRejected(
            "idempotency_mismatch",
            f"The message id {message_id} was already used for another text. Use a new id for a new message.",
            turn_id=known.turn_id,
        )
    return known is not None


def _send_while_busy(timeline: Timeline, queued: QueuedMessage, on_busy: OnBusy | None, at: datetime) -> Timeline:
    pending = timeline.head
    if pending is None or on_busy not in ("enqueue", "interrupt", "rollback"):
        raise CommandRejected(
            "turn_in_progress",
            "The agent is still answering. Wait for the reply, or send with on_busy=enqueue, interrupt or rollback.",
            turn_id=pending.id if pending else None,
        )
    if on_busy == "rollback":
        stopped = stop_turns(timeline, [pending.id])
        rewound = move_cursor_before(stopped, pending)
        return append_turn(rewound, queued.turn_id, queued.message, at=at, options=queued.options)
    if len(timeline.queue) >= MAX_QUEUED_MESSAGES:
        raise CommandRejected(
            "queue_full",
            f"The queue is full: {MAX_QUEUED_MESSAGES} messages are waiting. Wait for a reply and send again.",
            limit=MAX_QUEUED_MESSAGES,
        )
    if on_busy == "interrupt":
        first = queued.model_copy(update={"interrupts": True})
        ahead = tuple(each for each in timeline.queue if each.interrupts)
        behind = tuple(each for each in timeline.queue if not each.interrupts)
        return stop_turns(timeline, [pending.id]).changed(at=at, accepted=True, queue=(*ahead, first, *behind))
    return timeline.changed(at=at, accepted=True, queue=(*timeline.queue, queued))


def _send_after(
    timeline: Timeline, after_turn_id: str, sent: QueuedMessage, on_busy: OnBusy | None, *, at: datetime
) -> Timeline:
    """Open a turn after a turn that is not the newest visible one."""
    after = timeline.turns.get(after_turn_id)
    if after is None:
        raise CommandRejected(
            "turn_not_found", f"The session has no turn {after_turn_id} to send a message after.", turn_id=after_turn_id
        )
    pending = timeline.head if timeline.is_busy else None
    if (pending and on_busy not in ("interrupt", "rollback")) or after.status == "pending":
        raise CommandRejected(
            "turn_in_progress",
            "The agent is still answering another message. Wait for the reply, or send with on_busy=interrupt, which "
            "stops it.",
            turn_id=pending.id if pending else after.id,
        )
    stopped = stop_turns(timeline, [pending.id] if pending else [])
    changed = reject_queued_messages(stopped, _superseded(), at=at)
    discarded = None if changed.active_turn(after.id) else _branch_with(changed, after.id)
    if discarded is not None:
        changed = switch_branch(changed, discarded, at=at)
    rewound = changed.model_copy(update={"cursor": Cursor(turn_id=after.id)})
    opened = append_turn(rewound, sent.turn_id, sent.message, at=at, options=sent.options)
    if discarded is None:
        return opened
    return opened.with_fact("branch_restored", at, branch_id=discarded.id, leaf_turn_id=discarded.leaf_turn_id)


def _branch_with(timeline: Timeline, turn_id: str) -> DiscardedBranch:
    """The discarded branch that holds a turn; every turn is on the active branch or on exactly one of these."""
    return next(
        branch
        for branch in timeline.discarded_branches
        if any(turn.id == turn_id for turn in timeline.turns_of(branch))
    )


def _replace_turn(
    timeline: Timeline,
    turn: Turn,
    *,
    turn_id: str,
    message: UserMessage | None,
    at: datetime,
    options: ReplyOptions | None,
) -> Timeline:
    """Open a turn in place of another one; that turn and everything after it are discarded."""
    stopped = stop_turns(timeline, [timeline.leaf_id] if timeline.leaf_id else [])
    emptied = reject_queued_messages(stopped, _superseded(), at=at)
    return append_turn(move_cursor_before(emptied, turn), turn_id, message, at=at, options=options)


def _require_active_turn(timeline: Timeline, turn_id: str) -> Turn:
    turn = timeline.active_turn(turn_id)
    if turn is None:
        raise CommandRejected(
            "turn_not_found",
            f"The turn {turn_id} is not on the active branch of this session.",
            turn_id=turn_id,
        )
    return turn


def _superseded() -> CommandRejected:
    return CommandRejected(
        "superseded", "The conversation continued on another branch while the message was queued. Send it again."
    )


def _remember(timeline: Timeline, message_id: str | None, turn_id: str, digest: str) -> Timeline:
    if message_id is None:
        return timeline
    known = timeline.remembered
    if len(known) >= MAX_REMEMBERED_MESSAGES:
        oldest = next(iter(known))
        known = {known_id: message for known_id, message in known.items() if known_id != oldest}
    remembered = {**known, message_id: RememberedMessage(turn_id=turn_id, digest=digest)}
    return timeline.model_copy(update={"remembered": remembered})


def _cursor_for(timeline: Timeline, command: Rewind) -> Cursor | None:
    if command.turn_id is None:
        if command.before:
            raise CommandRejected("validation_error", "`before` needs a turn_id: name the turn to rewind to before.")
        return None
    turn = _require_active_turn(timeline, command.turn_id)
    return Cursor(turn_id=turn.parent_id if command.before else turn.id)
