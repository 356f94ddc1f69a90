"""The rules of a conversation: what every command does to the tree of turns, or why it is refused.

A timeline is an immutable value. Each command is a function from a timeline to a new one; it raises
`CommandRejected` and leaves its argument as it was when the command does not apply. Time and ids come in as arguments.
"""

from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256

from pydantic import JsonValue

from domain.rejections import CommandRejected
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
    ForkPoint,
    QueuedMessage,
    RememberedMessage,
    Timeline,
    append_turn,
    complete_session,
    discard_branch,
    move_cursor_before,
    reinstate_branch,
    reject_queued_messages,
    stop_turns,
)
from domain.turns.turn import Turn, UserMessage

MAX_TEXT_CHARACTERS = 32_000
"""Longest text of one message. Far below Temporal's 2 MB payload limit, far above what a person says in one go."""
MAX_LABEL_CHARACTERS = 200
"""Longest message id, and longest reason for an end. A session keeps both for as long as it lives."""
MAX_QUEUED_MESSAGES = 20
"""How many messages may wait for a busy agent before `queue_full`."""
MAX_REMEMBERED_MESSAGES = 1_000
"""How many message ids a session remembers, newest last, to recognise a repeat."""


def new_timeline(*, at: datetime) -> Timeline:
    """A session in which nothing has been said."""
    return Timeline(created_at=at, updated_at=at)


def open_greeting(timeline: Timeline, *, turn_id: str, at: datetime) -> Timeline:
    """Open the first turn, which has no user message; only a session without turns greets."""
    timeline.require_open()
    if timeline.turns:
        raise CommandRejected("validation_error", "Only a new session opens with a greeting.")
    return append_turn(timeline, turn_id, None, at=at)


def send(timeline: Timeline, command: SendMessage, *, turn_id: str, at: datetime) -> Timeline:
    """Open a turn for a user message at the end of what is seen; while a reply is pending, as `on_busy` says.

    The same message id with the same text changes nothing. After a rewind the new turn grows a branch
    at the cursor, and what came after it is kept as a discarded branch. A message that interrupts is answered
    before those that wait, and after those that interrupted before it; one that rolls back takes the place of the
    turn that is pending.

    Raises CommandRejected with `idempotency_mismatch`, `session_ended`, `revision_conflict`, `validation_error`,
    `too_large`, `turn_in_progress` or `queue_full`.
    """
    digest = command_digest(command)
    if _is_repeat(timeline, command.message_id, digest):
        return timeline
    timeline.require_open()
    timeline.require_revision(command.expected_revision)
    _require_text(command.text)
    message = _message(command.text, command.message_id, at)
    remembered = _remember(timeline, command.message_id, turn_id, digest)
    if not timeline.is_busy and not timeline.queue:
        return append_turn(remembered, turn_id, message, at=at)
    queued = QueuedMessage(turn_id=turn_id, message=message)
    return _send_while_busy(remembered, queued, command.on_busy, at)


def edit(timeline: Timeline, command: EditMessage, *, turn_id: str, at: datetime) -> Timeline:
    """Open a turn with another text in the place of one of the active branch: one change, checked once.

    The turn, what came after it and what waits in the queue give way as with a rewind. A reply that is
    pending is stopped.

    Raises CommandRejected as `send` and `rewind` do, and with `validation_error` for a turn that nobody spoke in.
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
            f"The turn {edited.id} opens the conversation: it has no message to edit. Regenerate it instead.",
            turn_id=edited.id,
        )
    _require_text(command.text)
    message = _message(command.text, command.message_id, at)
    remembered = _remember(timeline, command.message_id, turn_id, digest)
    return _replace_turn(remembered, edited, turn_id=turn_id, message=message, at=at)


def regenerate(timeline: Timeline, command: Regenerate, *, turn_id: str, at: datetime) -> Timeline:
    """Open a turn with the same message in the place of one of the active branch, also of the greeting's.

    What came after it gives way as with `edit`.

    Raises CommandRejected with `turn_not_found`, `session_ended`, `revision_conflict`, `too_large` or
    `idempotency_mismatch`.
    """
    digest = command_digest(command)
    if _is_repeat(timeline, command.message_id, digest):
        return timeline
    timeline.require_open()
    timeline.require_revision(command.expected_revision)
    again = _require_active_turn(timeline, command.turn_id)
    said = again.user_message
    _require_message_id(command.message_id)
    message = _message(said.text, command.message_id, at) if said else None
    remembered = _remember(timeline, command.message_id, turn_id, digest)
    return _replace_turn(remembered, again, turn_id=turn_id, message=message, at=at)


def cancel(timeline: Timeline, command: CancelTurn, *, at: datetime) -> Timeline:
    """Have the reply that is pending stopped; its turn is closed as interrupted once it has.

    Messages in the queue keep their places: the next one is answered then.

    Raises CommandRejected with `turn_not_pending`, `session_ended` or `revision_conflict`.
    """
    timeline.require_open()
    timeline.require_revision(command.expected_revision)
    head = timeline.head
    if head is None or not timeline.is_busy:
        raise CommandRejected("turn_not_pending", "The agent is not answering: there is nothing to cancel.")
    if timeline.is_stopping(head.id):
        return timeline
    return stop_turns(timeline, [head.id]).changed(at=at, accepted=True)


def rewind(timeline: Timeline, command: Rewind, *, at: datetime) -> Timeline:
    """Point the cursor at a turn of the active branch, or before one; nothing is deleted or unspent.

    `turn_id=None` clears the cursor. Messages still waiting in the queue belonged to the future that is
    given up: each is noted as refused.

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
    """Make a discarded branch the active one again; the present future becomes a discarded branch in turn.

    A branch that hangs off another discarded one brings the turns of that one which lead to it: the other is told
    from where the two part. Every turn is always on the active branch or on one discarded one.

    Messages in the queue belonged to that future: each is noted as refused. A reply that is still pending there is
    recorded there.

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
    path = {turn.id for turn in timeline.path_to(branch.leaf_turn_id)}
    parted = next((turn.id for turn in timeline.path_to(timeline.leaf_id) if turn.id in path), None)
    left = discard_branch(reinstate_branch(timeline, branch), parted, at=at)
    restored = left.changed(at=at, accepted=True, leaf_id=branch.leaf_turn_id, cursor=None)
    told = restored.with_fact("branch_restored", at, branch_id=branch.id, leaf_turn_id=branch.leaf_turn_id)
    return reject_queued_messages(told, _superseded(), at=at)


def fork(turns: Iterable[Turn], source: str, *, at: datetime) -> Timeline:
    """A new session's timeline that goes on from the last of these turns of another one, given oldest first.

    They come from its root and are all closed. What they cost stays with the session that spent it.
    """
    shared = {turn.id: turn for turn in turns}
    leaf_id = next(reversed(shared))
    began = new_timeline(at=at).changed(
        at=at,
        accepted=True,
        turns=shared,
        leaf_id=leaf_id,
        forked_from=ForkPoint(session_id=source, turn_id=leaf_id),
        fetched_context={},
    )
    return began.with_fact("session_forked", at, session_id=source, turn_id=leaf_id)


def end(timeline: Timeline, command: EndSession, *, at: datetime) -> Timeline:
    """End the session; ending it again changes nothing.

    A pending reply is still recorded and billed when it comes. Messages in the queue are noted as refused.

    Raises CommandRejected with `revision_conflict` or `too_large`.
    """
    if timeline.is_completed:
        return timeline
    timeline.require_revision(command.expected_revision)
    _require_at_most(MAX_LABEL_CHARACTERS, command.reason, "reason")
    return complete_session(timeline, command.reason, at=at)


def record_fetched_context(timeline: Timeline, fetched: dict[str, JsonValue], *, at: datetime) -> Timeline:
    """Keep what was looked up before the first opening; it joins what the session was started with."""
    return timeline.changed(at=at, accepted=False, fetched_context=fetched)


def command_digest(command: TurnCommand) -> str:
    """A short fingerprint of what a command asks for: with the same message id it must be the same."""
    match command:
        case SendMessage():
            asked = command.text
        case EditMessage():
            asked = f"edit {command.turn_id}: {command.text}"
        case Regenerate():
            asked = f"regenerate {command.turn_id}"
    return sha256(asked.encode()).hexdigest()[:16]


def _require_text(text: str) -> None:
    if not text.strip():
        raise CommandRejected("validation_error", "The text of a message must not be empty.")
    _require_at_most(MAX_TEXT_CHARACTERS, text, "text")


def _require_at_most(limit: int, text: str, name: str) -> None:
    if len(text) > limit:
        raise CommandRejected(
            "too_large",
            f"The {name} has {len(text)} characters; at most {limit} are taken.",
            limit=limit,
            actual=len(text),
        )


def _require_message_id(message_id: str | None) -> None:
    _require_at_most(MAX_LABEL_CHARACTERS, message_id or "", "message id")


def _message(text: str, message_id: str | None, at: datetime) -> UserMessage:
    _require_message_id(message_id)
    return UserMessage(text=text, created_at=at, message_id=message_id)


def _is_repeat(timeline: Timeline, message_id: str | None, digest: str) -> bool:
    """Whether a command was accepted before. Raises CommandRejected when another one was, under the same id."""
    known = timeline.remembered_message(message_id)
    if known is not None and known.digest != digest:
        raise CommandRejected(
            "idempotency_mismatch",
            f"The message id {message_id} was used for another text. Use a new id for a new message.",
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
        return append_turn(move_cursor_before(stopped, pending), queued.turn_id, queued.message, at=at)
    if len(timeline.queue) >= MAX_QUEUED_MESSAGES:
        raise CommandRejected(
            "queue_full",
            f"{MAX_QUEUED_MESSAGES} messages already wait for their turn. Wait for a reply and send again.",
            limit=MAX_QUEUED_MESSAGES,
        )
    if on_busy == "interrupt":
        first = queued.model_copy(update={"interrupts": True})
        ahead = tuple(each for each in timeline.queue if each.interrupts)
        behind = tuple(each for each in timeline.queue if not each.interrupts)
        return stop_turns(timeline, [pending.id]).changed(at=at, accepted=True, queue=(*ahead, first, *behind))
    return timeline.changed(at=at, accepted=True, queue=(*timeline.queue, queued))


def _replace_turn(
    timeline: Timeline, turn: Turn, *, turn_id: str, message: UserMessage | None, at: datetime
) -> Timeline:
    """Open a turn where another one is; that one and all that came after it are given up."""
    stopped = stop_turns(timeline, [timeline.leaf_id] if timeline.leaf_id else [])
    emptied = reject_queued_messages(stopped, _superseded(), at=at)
    return append_turn(move_cursor_before(emptied, turn), turn_id, message, at=at)


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
    return CommandRejected("superseded", "The conversation took another way while the message waited for its turn.")


def _remember(timeline: Timeline, message_id: str | None, turn_id: str, digest: str) -> Timeline:
    if message_id is None:
        return timeline
    kept = timeline.remembered
    if len(kept) >= MAX_REMEMBERED_MESSAGES:
        oldest = next(iter(kept))
        kept = {known_id: known for known_id, known in kept.items() if known_id != oldest}
    remembered = {**kept, message_id: RememberedMessage(turn_id=turn_id, digest=digest)}
    return timeline.model_copy(update={"remembered": remembered})


def _cursor_for(timeline: Timeline, command: Rewind) -> Cursor | None:
    if command.turn_id is None:
        if command.before:
            raise CommandRejected("validation_error", "`before` needs a turn_id: the turn to go back before.")
        return None
    turn = _require_active_turn(timeline, command.turn_id)
    return Cursor(turn_id=turn.parent_id if command.before else turn.id)
