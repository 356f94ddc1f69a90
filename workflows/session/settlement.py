"""Settlement behind the replies: a session's changes are billed and recorded beside a later model call, or alone."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow

from activities.settlement import SettlementActivities
from contracts.reconciliation import UnsettledInput, UnsettledTurns
from contracts.sessions import RecordState, SettleTurnsInput
from domain.sessions import simulated_caller, turn_completion
from domain.sessions.timeline import Timeline, UnrecordedChanges
from domain.sessions.views import TimelineView, recorded_head_of
from workflows.activity_options import store_options
from workflows.session.recovery import SessionRecovery
from workflows.session.state import SessionState

SETTLE_AT_ONCE = 8
"""Number of closed turns that are settled without waiting for more."""
SOON = 0.25
"""Share of the settlement delay: a settlement that is due within it counts as near, and delays the end of a run."""
SLOWER_NEXT_CALL = 1.25
"""The next model call is expected after this multiple of the time between the last two."""


class SettlementLoop:
    """The settlements of one session, one after the other.

    The unsettled record travels with the last model call that begins before it is due, so that a busy conversation
    needs no settlement activity, and several turns share one settlement. Otherwise an activity of its own settles it:
    when nothing was settled for the settlement delay, when the session ends, and at once while somebody watches. A
    call that lasts longer than the delay does not hold it up: its record is settled again, which has no further effect.

    `keeps_the_end` is true while the end of the session is to be recorded after something else.
    """

    def __init__(self, state: SessionState, recovery: SessionRecovery, keeps_the_end: Callable[[], bool]) -> None:
        self._state = state
        self._recovery = recovery
        self._keeps_the_end = keeps_the_end
        self._under_way: UnrecordedChanges | None = None
        self._version: int | None = None
        """The version of the head in the settlement under way."""
        self._carried: SettleTurnsInput | None = None
        """The settlement under way, if a model call carries it."""
        self._last: datetime | None = None
        self._wakes_at: datetime | None = None
        """The time to which a timer is set."""
        self._called_at: datetime | None = None
        """The beginning of the newest model call."""
        self._is_requested = False

    def unsettled(self, record: UnsettledInput) -> UnsettledTurns:
        """The session compared with its record in the store, including a settlement under way."""
        return self._recovery.unsettled(record, self._under_way, self._version if self._under_way else None)

    def request(self) -> None:
        """Request a settlement at once: somebody waits for its events."""
        self._is_requested = True

    def marked(self, view: TimelineView) -> TimelineView:
        """A view of the timeline with what is still missing in the store's record of it."""
        unrecorded = self._state.timeline.unrecorded
        missing = unrecorded.without_completion if self._keeps_the_end() else unrecorded
        version = self._version if self._under_way is not None else None
        return view.model_copy(update={"is_unrecorded": not missing.is_empty, "recording_version": version})

    @property
    def is_done(self) -> bool:
        """True when nothing is left to settle."""
        return not self._has_unsettled()

    @property
    def is_quiet(self) -> bool:
        """True if no settlement is under way, and none is near.

        Temporal rejects the end of a run if something has happened meanwhile: a worker then replays the run, to end it
        again.
        """
        is_near = self._wakes_at is not None and self._wakes_at - self._state.now() < self._settling_delay * SOON
        return self._under_way is None and not is_near

    @property
    def timeline_to_carry(self) -> Timeline:
        """The timeline for the next run. It settles a settlement under way again, which has no further effect."""
        timeline = self._state.timeline
        if self._under_way is None:
            return timeline
        return timeline.model_copy(
            update={"unrecorded": timeline.unrecorded.after(self._under_way), "recording_version": self._version}
        )

    async def settle_behind_the_replies(self) -> None:
        """Bill and record changes for as long as the session lives."""
        while True:
            await workflow.wait_condition(self._has_unsettled)
            await self._wait_for_more()
            if self._has_unsettled():
                await self._settle()

    def take_record(self) -> SettleTurnsInput | None:
        """The unsettled record, to be settled beside a model call that begins now.

        None if it is empty, can wait for the next call or is settled at once anyway, and while the result of an
        earlier settlement is unknown.
        """
        pace = self._note_call()
        is_in_doubt = self._under_way is not None or self._state.timeline.recording_version is not None
        is_settled_at_once = self._state.is_watched or not self._settling_delay
        if is_in_doubt or is_settled_at_once or not self._has_unrecorded() or self._can_wait_for_next_call(pace):
            return None
        self._carried = self._take()
        return self._carried

    def return_record(self, record: SettleTurnsInput, state: RecordState | None) -> None:
        """Take a record back after its model call. `state` is how it compared, None if the call did not settle it."""
        if self._carried is not record:
            return  # settled by itself meanwhile
        if state is None:
            self._state.timeline = self.timeline_to_carry
            self._under_way = self._carried = None
        else:
            self._settled(state)

    async def _wait_for_more(self) -> None:
        """Wait for a model call to carry the unsettled record, for as long as the record may wait.

        One timer is enough for many turns: when it fires, it starts again from the last settlement. In a conversation
        at the pace of people, where nothing was settled for that long, every turn is recorded at once.
        """
        while not self._must_settle_now() and (left := self._time_left()) > timedelta():
            await self._wait(left, was_unattended=self._is_unattended)
            if not self._has_unsettled():
                return

    def _note_call(self) -> timedelta | None:
        """Note that a model call begins. Returns the time since the one before, None for the first."""
        before, self._called_at = self._called_at, self._state.now()
        return None if before is None else self._called_at - before

    def _can_wait_for_next_call(self, pace: timedelta | None) -> bool:
        """True if, at this pace, another model call begins before what is unsettled is due."""
        is_nearly_many = len(self._state.timeline.unrecorded.turn_ids) >= SETTLE_AT_ONCE - 1
        return pace is not None and not is_nearly_many and self._time_left() > pace * SLOWER_NEXT_CALL

    async def _wait(self, longest: timedelta, *, was_unattended: bool) -> None:
        self._wakes_at = self._state.now() + longest
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._must_settle_now() or self._is_unattended != was_unattended,
                timeout=longest,
                timeout_summary="settlement",
            )
        self._wakes_at = None

    def _time_left(self) -> timedelta:
        if self._last is None and not self._is_unattended:
            return timedelta()
        return (self._last or self._state.timeline.created_at) + self._settling_delay - self._state.now()

    @property
    def _settling_delay(self) -> timedelta:
        """The longest time that a finished turn stays unsettled."""
        timing = self._state.start.timing
        unattended = timing.settle_unattended_within if self._is_unattended else None
        return timedelta(seconds=timing.settle_within if unattended is None else unattended)

    @property
    def _is_unattended(self) -> bool:
        """True while a simulated user talks and nobody watches, so that nobody waits for the record."""
        is_unwatched = not self._state.is_watched and simulated_caller.is_callers_turn(self._state.timeline)
        return is_unwatched and self._state.start.timing.settle_unattended_within is not None

    async def _settle(self) -> None:
        if self._carried is not None:
            self.return_record(self._carried, None)
        settlement = self._take()
        result = await workflow.execute_activity_method(
            SettlementActivities.settle_turns,
            settlement,
            summary=f"{len(settlement.turns)} turns" if len(settlement.turns) > 1 else None,
            **store_options(self._state.start.timing),
        )
        self._settled(result.record)

    def _take(self) -> SettleTurnsInput:
        """Take the unsettled record out of the timeline, to settle it."""
        state = self._state
        self._last = self._state.now()
        self._is_requested = False
        state.timeline, unrecorded = turn_completion.take_unrecorded(
            state.timeline, keeps_the_end=self._keeps_the_end()
        )
        self._under_way = unrecorded
        turns = tuple(state.timeline.turns[turn_id] for turn_id in unrecorded.turn_ids)
        under_way = tuple(turn for turn_id, turn in state.under_way.items() if turn_id in state.timeline.pending)
        state.under_way.clear()
        state.publish_search_attributes()
        head = recorded_head_of(state.timeline, state.agent, workflow.info().run_id)
        follows = (state.timeline.recorded_version, state.timeline.recording_version)
        self._version = head.version
        return SettleTurnsInput(
            session_id=state.start.session_id,
            organization_id=state.start.organization_id,
            agent=state.start.agent,
            head=head,
            turns=(*turns, *under_way),
            branches=unrecorded.branches,
            facts=unrecorded.facts,
            restored_branch_ids=unrecorded.restored_branch_ids,
            auxiliary_calls=unrecorded.auxiliary_calls,
            taken_over=state.timeline.taken_over(unrecorded.turn_ids),
            first_run_id=None if state.timeline.recorded_version else workflow.info().first_execution_run_id,
            follows=tuple(version for version in follows if version is not None),
        )

    def _settled(self, record: RecordState) -> None:
        self._under_way = self._carried = None
        timeline = self._state.timeline
        # A store that is ahead keeps its own head. The recovery reads its version, or has done so already.
        recorded_version = timeline.recorded_version if record == "is_ahead" else self._version
        self._state.timeline = timeline.model_copy(
            update={"recorded_version": recorded_version, "recording_version": None}
        )
        self._recovery.compare(record)

    def _has_unsettled(self) -> bool:
        return self._under_way is not None or self._has_unrecorded()

    def _has_unrecorded(self) -> bool:
        unrecorded = self._state.timeline.unrecorded
        to_settle = unrecorded.without_completion if self._keeps_the_end() else unrecorded
        return bool(self._state.under_way) or not to_settle.is_empty

    def _must_settle_now(self) -> bool:
        """True where there is a reason not to wait. A record that a model call carries waits for the call."""
        if self._is_requested and self._has_unrecorded():
            return True
        if self._carried is not None:
            return False
        timeline = self._state.timeline
        is_finished = timeline.is_completed and not timeline.pending
        is_many = len(timeline.unrecorded.turn_ids) >= SETTLE_AT_ONCE
        return self._has_unrecorded() and (is_finished or is_many or self._state.is_watched)
