"""What becomes of a pending turn, and of a session that has ended: the rules that no person commands."""

from datetime import datetime

from pydantic import JsonValue

from domain.agents.definition import Limits
from domain.rejections import CommandRejected
from domain.sessions.timeline import (
    AuxiliaryCall,
    CompletionReason,
    Timeline,
    UnrecordedChanges,
    append_turn,
    complete_session,
)
from domain.turns.engine import ExtractionResult, TurnProgress
from domain.turns.turn import AssistantMessage, Turn, TurnEvent
from domain.usage import merge_costs, merge_usage


def complete(timeline: Timeline, progress: TurnProgress, limits: Limits, *, at: datetime) -> Timeline:
    """Record the answer of a pending turn, and open the turn of the next queued message.

    The session ends with it when the turn ends it, or when the agent's turn or cost limit is reached.

    A turn that is no longer on the active branch keeps its late reply where it is: what is seen, and the
    revision, stay as they were. What it spent counts in any case.
    """
    turn = _require_pending(timeline, progress.turn_id)
    completed = _with_answer(turn, progress, at).model_copy(
        update={"status": "completed", "node_id": progress.node_id, "checkpoint": progress.checkpoint()}
    )
    return _close(timeline, completed, limits, at, ends=progress.outcome == "ended")


def fail(timeline: Timeline, progress: TurnProgress, limits: Limits, *, at: datetime) -> Timeline:
    """Record that a pending turn could not be answered; the next message continues from the turn before it."""
    turn = _require_pending(timeline, progress.turn_id)
    error = progress.error or "The turn failed."
    happened = TurnEvent(type="execution_error", created_at=at, payload={"message": error})
    spent = _with_usage(turn, progress, at)
    failed = spent.model_copy(update={"status": "failed", "error": error, "events": (*spent.events, happened)})
    return _close(timeline, failed, limits, at)


def interrupt(timeline: Timeline, progress: TurnProgress, limits: Limits, *, at: datetime) -> Timeline:
    """Record that a pending turn was stopped before it was answered, with what was said until then.

    The next message continues from it: the model knows what was asked and how far the answer came.
    """
    turn = _require_pending(timeline, progress.turn_id)
    left = progress.stopped(at=at)
    stopped = _with_answer(turn, left, at).model_copy(
        update={"status": "interrupted", "node_id": left.node_id, "checkpoint": left.checkpoint()}
    )
    return _close(timeline, stopped, limits, at)


def record_extraction(
    timeline: Timeline, aside: AuxiliaryCall, extraction: ExtractionResult, *, at: datetime
) -> Timeline:
    """Keep what was read from the conversation after its end, as an event of its last turn."""
    last = timeline.head
    if last is not None:
        payload: dict[str, JsonValue] = {"node": last.node_id, "variables": extraction.values}
        if extraction.error:
            payload["error"] = extraction.error
        event = TurnEvent(type="variables_extracted", created_at=at, payload=payload)
        timeline = timeline.with_turn(last.model_copy(update={"events": (*last.events, event)}))
    known = timeline.learned_context or {}
    return record_auxiliary_call(timeline, aside, at=at).model_copy(
        update={"learned_context": {**known, **extraction.values}}
    )


def record_auxiliary_call(timeline: Timeline, aside: AuxiliaryCall, *, at: datetime) -> Timeline:
    """Count what was bought beside the turns, and have it billed."""
    unrecorded = timeline.unrecorded
    return timeline.changed(
        at=at,
        accepted=False,
        usage=merge_usage([timeline.usage, aside.usage]),
        cost=merge_costs([timeline.cost, aside.cost]),
        unrecorded=unrecorded.model_copy(update={"asides": (*unrecorded.asides, aside)}),
    )


def take_unrecorded(timeline: Timeline, *, keeps_the_end: bool = False) -> tuple[Timeline, UnrecordedChanges]:
    """Hand out what the store has not been told yet; the timeline that is left has nothing unrecorded.

    The end of the session may be kept back: more will happen, and it is told last.
    """
    unrecorded = timeline.unrecorded
    kept = unrecorded.completion_only if keeps_the_end else UnrecordedChanges()
    told = unrecorded.without_completion if keeps_the_end else unrecorded
    return timeline.model_copy(update={"unrecorded": kept}), told


def _require_pending(timeline: Timeline, turn_id: str) -> Turn:
    turn = timeline.turns.get(turn_id)
    if turn is None or turn.status != "pending":
        raise CommandRejected("turn_not_found", f"There is no pending turn {turn_id}.", turn_id=turn_id)
    return turn


def _with_answer(turn: Turn, progress: TurnProgress, at: datetime) -> Turn:
    answer = AssistantMessage(text=progress.text, created_at=at) if progress.said else None
    return _with_usage(turn, progress, at).model_copy(update={"assistant_message": answer})


def _with_usage(turn: Turn, progress: TurnProgress, at: datetime) -> Turn:
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
    return complete_session(closed, reason, at=at).model_copy(update={"revision": closed.revision})


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
    opened = append_turn(timeline, waiting.turn_id, waiting.message, at=at)
    return opened.model_copy(update={"queue": tuple(rest), "revision": timeline.revision})
