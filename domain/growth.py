"""The moves that the rules of a timeline are made of: a turn is appended, a future is given up, a session ends."""

from collections.abc import Iterable
from datetime import datetime

from pydantic import JsonValue

from domain.refusals import Refusal, Refused
from domain.tree import Cursor, DiscardedBranch, Timeline
from domain.turns import Turn, TurnEvent, UserMessage

MAX_NOTED_CHARACTERS = 1_000
"""How much of what a refused command said is kept in the note of its refusal."""


def append(timeline: Timeline, turn_id: str, message: UserMessage | None, *, at: datetime) -> Timeline:
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


def point_before(timeline: Timeline, turn: Turn) -> Timeline:
    """The same timeline seen up to the turn before the given one: what is appended takes the turn's place."""
    return timeline.model_copy(update={"cursor": Cursor(turn_id=turn.parent_id)})


def give_up(timeline: Timeline, rewound_from_turn_id: str | None, *, at: datetime) -> Timeline:
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


def take_back(timeline: Timeline, branch: DiscardedBranch) -> Timeline:
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


def stop(timeline: Timeline, turn_ids: Iterable[str]) -> Timeline:
    """Have those of the turns that are pending answered no further."""
    wanted = [turn_id for turn_id in turn_ids if turn_id in timeline.pending and turn_id not in timeline.stopping]
    return timeline.model_copy(update={"stopping": (*timeline.stopping, *wanted)})


def empty_queue(timeline: Timeline, refused: Refused, *, at: datetime) -> Timeline:
    """Give up the messages that wait for their turn; each is noted as refused, for nobody may be listening."""
    waiting, timeline = timeline.queue, timeline.model_copy(update={"queue": ()})
    for queued in waiting:
        timeline = note_refusal(timeline, "send_message", refused.refusal, queued.message.message_id, at=at)
    return timeline


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


def finish(timeline: Timeline, reason: str, *, at: datetime) -> Timeline:
    """End the session; messages in the queue are noted as refused."""
    too_late = Refused("session_ended", "The session ended while the message waited for its turn.")
    timeline = empty_queue(timeline, too_late, at=at)
    ended = timeline.changed(at=at, accepted=True, ended_at=at, completion_reason=reason)
    last = ended.head
    if last is not None:
        event = TurnEvent(type="session_end", created_at=at, payload={"reason": reason})
        ended = ended.with_turn(last.model_copy(update={"events": (*last.events, event)}))
    return ended.with_fact("session_completed", at, reason=reason)


def _discard_future(timeline: Timeline, at: datetime) -> Timeline:
    return give_up(timeline, timeline.cursor.turn_id, at=at) if timeline.cursor else timeline


def _noted(value: int | str | None) -> int | str | None:
    return value[:MAX_NOTED_CHARACTERS] if isinstance(value, str) else value
