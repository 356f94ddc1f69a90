"""Settling behind the replies: what happened is billed and recorded, several turns at once when they come fast."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow

from activities.settlement import SettlementActivities
from contracts.reconciliation import UnsettledInput, UnsettledTurns
from contracts.sessions import SettleTurnsInput
from domain.sessions import simulated_caller, turn_completion
from domain.sessions.timeline import Timeline, UnrecordedChanges
from domain.sessions.views import recorded_head_of
from workflows.activity_options import settling
from workflows.session.lifecycle import SessionLifecycle
from workflows.session.recovery import SessionRecovery
from workflows.session.state import SessionState

SETTLE_AT_ONCE = 8
"""So many closed turns are settled without waiting for more."""
SETTLE_WITH_NEXT_MESSAGE = 0.85
"""The part of the settling time after which turns are settled along with the next message."""


class SettlementLoop:
    """The settlements of one session, one after the other."""

    def __init__(self, state: SessionState, ending: SessionLifecycle, recovery: SessionRecovery) -> None:
        self._state = state
        self._ending = ending
        self._recovery = recovery
        self._under_way: UnrecordedChanges | None = None
        self._version: int | None = None
        """The version of the head in the settlement under way."""
        self._last: datetime | None = None

    @property
    def is_under_way(self) -> bool:
        return self._under_way is not None

    def unsettled(self, record: UnsettledInput) -> UnsettledTurns:
        """The session against its record in the store, with a settlement that is under way."""
        return self._recovery.unsettled(record, self._under_way, self._version if self._under_way else None)

    @property
    def is_done(self) -> bool:
        """True when nothing is left to settle."""
        return self._under_way is None and not self._has_unrecorded()

    @property
    def timeline_to_carry(self) -> Timeline:
        """The timeline for the next run, in which what is being settled just now is settled again.

        That changes nothing where it had been done.
        """
        timeline = self._state.timeline
        if self._under_way is None:
            return timeline
        return timeline.model_copy(
            update={"unrecorded": timeline.unrecorded.after(self._under_way), "recording_version": self._version}
        )

    async def settle_behind_the_replies(self) -> None:
        """Bill and record what happened, for as long as the session lives."""
        while True:
            await workflow.wait_condition(self._has_unrecorded)
            await self._wait_for_more()
            await self._settle()

    async def _wait_for_more(self) -> None:
        """Wait for the time in which turns are settled together, or for a reason not to.

        Somebody who watches is one. Nothing settled for as long is another: a conversation at the pace of people is
        recorded turn by turn, at once.
        The next message is another, once a good part of that time is over: settling then shares its workflow task.
        """
        if self._state.is_watched:
            return
        if self._is_unattended:
            await self._wait_while_unattended()
            return
        settle_within = timedelta(seconds=self._state.start.timing.settle_within)
        now = workflow.now()
        was_quiet = self._last is None or now - self._last >= settle_within
        if was_quiet:
            return
        soon = now + settle_within * SETTLE_WITH_NEXT_MESSAGE
        await self._wait(
            lambda: self._must_settle_now() or (bool(self._state.timeline.pending) and workflow.now() >= soon),
            settle_within,
        )

    @property
    def _is_unattended(self) -> bool:
        """True while a simulated user talks and nobody watches, so that nobody waits for the record."""
        is_unheard = not self._state.is_watched and simulated_caller.is_callers_turn(self._state.timeline)
        return is_unheard and self._state.start.timing.settle_unattended_within is not None

    async def _wait_while_unattended(self) -> None:
        """Wait for enough turns, for as long as no person comes in."""
        longest = self._state.start.timing.settle_unattended_within or 0.0
        await self._wait(lambda: self._must_settle_now() or not self._is_unattended, timedelta(seconds=longest))

    async def _wait(self, is_time: Callable[[], bool], longest: timedelta) -> None:
        with suppress(TimeoutError):
            await workflow.wait_condition(is_time, timeout=longest)

    async def _settle(self) -> None:
        self._last = workflow.now()
        state = self._state
        state.timeline, unrecorded = turn_completion.take_unrecorded(
            state.timeline, keeps_the_end=self._ending.is_yet_to_be_told
        )
        self._under_way = unrecorded
        turns = tuple(state.timeline.turns[turn_id] for turn_id in unrecorded.turn_ids)
        under_way = tuple(turn for turn_id, turn in state.under_way.items() if turn_id in state.timeline.pending)
        state.under_way.clear()
        state.publish()
        head = recorded_head_of(state.timeline, state.agent, workflow.info().run_id)
        follows = (state.timeline.recorded_version, state.timeline.recording_version)
        self._version = head.version
        result = await workflow.execute_activity_method(
            SettlementActivities.settle_turns,
            SettleTurnsInput(
                session_id=state.start.session_id,
                organization_id=state.start.organization_id,
                agent=state.start.agent,
                head=head,
                turns=(*turns, *under_way),
                branches=unrecorded.branches,
                facts=unrecorded.facts,
                restored_branch_ids=unrecorded.restored_branch_ids,
                asides=unrecorded.asides,
                taken_over=state.timeline.taken_over(unrecorded.turn_ids),
                first_run_id=None if state.timeline.recorded_version else workflow.info().first_execution_run_id,
                follows=tuple(version for version in follows if version is not None),
            ),
            summary=f"{len(turns)} turns",
            **settling(state.start.timing),
        )
        self._under_way = None
        state.timeline = state.timeline.model_copy(update={"recorded_version": head.version, "recording_version": None})
        self._recovery.compare(result.record)

    def _has_unrecorded(self) -> bool:
        unrecorded = self._state.timeline.unrecorded
        told = unrecorded.without_completion if self._ending.is_yet_to_be_told else unrecorded
        return bool(self._state.under_way) or not told.is_empty

    def _must_settle_now(self) -> bool:
        many = len(self._state.timeline.unrecorded.turn_ids) >= SETTLE_AT_ONCE
        finished = self._state.timeline.is_completed and not self._state.timeline.pending
        return many or finished
