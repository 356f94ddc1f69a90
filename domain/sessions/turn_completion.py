"""Completion of pending turns, and of sessions: rules that apply without a command."""

from datetime import datetime
from heapq import merge

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
from domain.turns.engine import AgentEnding, ExtractionResult, TurnProgress
from domain.turns.turn import AssistantMessage, Turn, TurnEvent
from domain.usage import merge_costs, merge_usage


def complete(timeline: Timeline, progress: TurnProgress, limits: Limits, *, at: datetime) -> Timeline:
    """Record the reply of a pending turn, and open the turn of the next queued message.

    The session ends if the turn ends it, or if the agent's turn or cost limit is reached.

    A late reply on a turn that is no longer visible is recorded there; the visible turns and the revision do not
    change. Its usage counts in any case.
    """
    turn = _require_pending(timeline, progress.turn_id)
    completed = _with_answer(turn, progress, at).model_copy(
        update={"status": "completed", "node_id": progress.node_id, "checkpoint": progress.checkpoint()}
    )
    ending = progress.ending or "end_node" if progress.outcome == "ended" else None
    return _close(timeline, completed, limits, at, ending=ending)


def fail(timeline: Timeline, progress: TurnProgress, limits: Limits, *, at: datetime) -> Timeline:
    """Record that a pending turn failed; the next message continues from the turn before it."""
    turn = _require_pending(timeline, progress.turn_id)
    error = progress.error or "The turn failed."
    payload: dict[str, JsonValue] = {"message": error}
    if progress.error_code:
        payload["code"] = progress.error_code
    happened = TurnEvent(type="execution_error", created_at=at, payload=payload)
    spent = _with_usage(turn, progress, at)
    failed = spent.model_copy(update={"status": "failed", "error": error, "events": (*spent.events, happened)})
    return _close(timeline, failed, limits, at)


def interrupt(timeline: Timeline, progress: TurnProgress, limits: Limits, *, at: datetime) -> Timeline:
    """Record that a pending turn was stopped, with its text so far.

    The next message continues from it: the model sees the user's message and the partial reply.
    """
    turn = _require_pending(timeline, progress.turn_id)
    partial = progress.stopped(at=at)
    stopped = _with_answer(turn, partial, at).model_copy(
        update={"status": "interrupted", "node_id": partial.node_id, "checkpoint": partial.checkpoint()}
    )
    return _close(timeline, stopped, limits, at)


def record_extraction(
    timeline: Timeline, call: AuxiliaryCall, extraction: ExtractionResult, *, at: datetime
) -> Timeline:
    """Record variables extracted after the end, as an event of the last turn."""
    last = timeline.head
    if last is not None:
        payload: dict[str, JsonValue] = {"node": last.node_id, "variables": extraction.values}
        if extraction.error:
            payload["error"] = extraction.error
        event = TurnEvent(type="variables_extracted", created_at=at, payload=payload)
        timeline = timeline.with_turn(last.model_copy(update={"events": (*last.events, event)}))
    known = timeline.learned_context or {}
    return record_auxiliary_call(timeline, call, at=at).model_copy(
        update={"learned_context": {**known, **extraction.values}}
    )


def record_auxiliary_call(timeline: Timeline, call: AuxiliaryCall, *, at: datetime) -> Timeline:
    """Add an auxiliary model call to usage and cost, and to the changes to be billed."""
    unrecorded = timeline.unrecorded
    return timeline.changed(
        at=at,
        accepted=False,
        usage=merge_usage([timeline.usage, call.usage]),
        cost=merge_costs([timeline.cost, call.cost]),
        unrecorded=unrecorded.model_copy(update={"auxiliary_calls": (*unrecorded.auxiliary_calls, call)}),
    )


def take_unrecorded(timeline: Timeline, *, keeps_the_end: bool = False) -> tuple[Timeline, UnrecordedChanges]:
    """Take the unrecorded changes out of the timeline, to settle them.

    With `keeps_the_end` the completion of the session stays unrecorded, to be recorded after further changes.
    """
    unrecorded = timeline.unrecorded
    remaining = unrecorded.completion_only if keeps_the_end else UnrecordedChanges()
    taken = unrecorded.without_completion if keeps_the_end else unrecorded
    return timeline.model_copy(update={"unrecorded": remaining}), taken


def _require_pending(timeline: Timeline, turn_id: str) -> Turn:
    turn = timeline.turns.get(turn_id)
    if turn is None or turn.status != "pending":
        raise CommandRejected("turn_not_found", f"The session has no pending turn {turn_id}.", turn_id=turn_id)
    return turn


def _with_answer(turn: Turn, progress: TurnProgress, at: datetime) -> Turn:
    answer = AssistantMessage(text=progress.text, created_at=at) if progress.said else None
    return _with_usage(turn, progress, at).model_copy(update={"assistant_message": answer})


def _with_usage(turn: Turn, progress: TurnProgress, at: datetime) -> Turn:
    seconds = round((at - turn.created_at).total_seconds(), 3)
    return turn.model_copy(
        update={
            "usage": progress.usage.model_copy(update={"duration_seconds": seconds}),
            "first_word": _seconds_to_first_word(turn, progress),
            "cost": progress.cost,
            "events": events_so_far(turn, progress),
        }
    )


def events_so_far(turn: Turn, progress: TurnProgress) -> tuple[TurnEvent, ...]:
    """The events of a pending turn in the order of their time: those of its steps, and those of commands meanwhile.

    The event log identifies an event by its number in the turn, and some events are recorded before the turn is over:
    later ones must come after them.
    """
    return tuple(merge(turn.events, progress.events, key=lambda event: event.created_at))


def _seconds_to_first_word(turn: Turn, progress: TurnProgress) -> float | None:
    if progress.first_word_at is None:
        return None
    return round(max((progress.first_word_at - turn.created_at).total_seconds(), 0.0), 3)


def _close(
    timeline: Timeline, turn: Turn, limits: Limits, at: datetime, *, ending: AgentEnding | None = None
) -> Timeline:
    is_visible = not timeline.is_completed and timeline.head is not None and timeline.head.id == turn.id
    closed = timeline.with_turn(turn).changed(
        at=at,
        accepted=is_visible,
        usage=merge_usage([timeline.usage, turn.usage]),
        cost=merge_costs([timeline.cost, turn.cost]),
    )
    if not is_visible:
        return closed
    reason = ending or _limit_reached(closed, turn, limits)
    if reason is None:
        return _open_next_in_queue(closed, at)
    # A reply raises the revision by one, even if it ends the session.
    return complete_session(closed, reason, at=at, accepted=False)


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
    opened = append_turn(timeline, waiting.turn_id, waiting.message, at=at, options=waiting.options, accepted=False)
    return opened.model_copy(update={"queue": tuple(rest)})
