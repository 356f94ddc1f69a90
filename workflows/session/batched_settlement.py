"""The settling time of sessions from before records travelled with replies: several turns are settled at once.

Dropped together with the histories of such sessions.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow

from domain.sessions import simulated_caller
from workflows.session.state import SessionState

SETTLE_AT_ONCE = 8
SETTLE_WITH_NEXT_MESSAGE = 0.85
"""The part of the settling time after which turns are settled along with the next message."""


async def wait_for_a_batch(state: SessionState, last: datetime | None) -> None:
    """Wait for the time in which turns are settled together, or for a reason not to: `last` was the last settlement."""
    if state.is_watched:
        return
    unattended_within = state.start.timing.settle_unattended_within
    if _is_unattended(state) and unattended_within is not None:
        await _wait(lambda: _is_due(state) or not _is_unattended(state), timedelta(seconds=unattended_within))
        return
    settle_within = timedelta(seconds=state.start.timing.settle_within)
    now = state.now()
    if last is None or now - last >= settle_within:
        return
    soon = now + settle_within * SETTLE_WITH_NEXT_MESSAGE
    await _wait(
        lambda: _is_due(state) or (bool(state.timeline.pending) and state.now() >= soon),
        settle_within,
    )


def _is_unattended(state: SessionState) -> bool:
    is_unheard = not state.is_watched and simulated_caller.is_callers_turn(state.timeline)
    return is_unheard and state.start.timing.settle_unattended_within is not None


def _is_due(state: SessionState) -> bool:
    many = len(state.timeline.unrecorded.turn_ids) >= SETTLE_AT_ONCE
    finished = state.timeline.is_completed and not state.timeline.pending
    return many or finished


async def _wait(is_time: Callable[[], bool], longest: timedelta) -> None:
    with suppress(TimeoutError):
        await workflow.wait_condition(is_time, timeout=longest, timeout_summary="settlement")
