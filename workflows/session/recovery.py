"""Recovery of a session after a reset, and after its record or its own history was set back."""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from temporalio import workflow

from activities.recovery import RecoveryActivities
from contracts.reconciliation import UnsettledInput, UnsettledTurns
from contracts.recovery import (
    ClaimSessionInput,
    ReadRecordInput,
    RestoredStep,
    RestoredTurn,
    RestoreTurnsInput,
)
from contracts.sessions import RecordState, SettleTurnsInput
from domain.sessions.recovery import recover
from domain.sessions.timeline import Timeline, UnrecordedChanges
from domain.sessions.views import recorded_head_of
from domain.turns.engine import start_checkpoint
from domain.turns.turn import Turn
from workflows.activity_options import claim_options, store_options
from workflows.session.state import SessionState

Item = TypeVar("Item")

TURNS_AT_ONCE = 50
"""Maximum turns that one activity restores: their texts must fit into one payload."""


class SessionRecovery:
    """Brings one session together with its record in the store, whichever of them was set back.

    `is_due` is true while a recovery is due or under way, `is_another_execution` once the record turns out to belong
    to another workflow execution. After a reset, messages that Temporal delivers again are queued instead of being
    rejected while the agent is busy.
    """

    def __init__(self, state: SessionState) -> None:
        self._state = state
        self._was_reset = False
        self._to_compare: frozenset[str] = frozenset()
        """Turns that were being answered or queued at the last recovery."""
        self.is_due = False
        self.is_another_execution = False
        self.is_reset_run = workflow.info().run_id != workflow.info().original_execution_run_id
        self.is_over = not self.is_reset_run
        self._loop = asyncio.get_running_loop()
        # The seed of a workflow changes where a reset has cut its history, and nowhere else.
        workflow.register_random_seed_callback(lambda _: self._note_reset())

    @property
    def expects_redelivery(self) -> bool:
        """True while messages may still come in that Temporal delivers again."""
        return self.is_reset_run and not self.is_over

    async def claim(self) -> str | None:
        """Claim the session for this execution. Returns the reason of a rejection as a sentence, None without one.

        Only the first run of an execution claims: runs that continue as new, and resets, go on with the session.
        """
        info, start = workflow.info(), self._state.start
        if info.original_execution_run_id != info.first_execution_run_id:
            return None
        result = await workflow.execute_local_activity_method(
            RecoveryActivities.claim_session,
            ClaimSessionInput(
                session_id=start.session_id,
                organization_id=start.organization_id,
                first_run_id=info.first_execution_run_id,
            ),
            **claim_options(),
        )
        self._state.note_local_activity()
        return result.rejection

    def compare(self, record: RecordState) -> None:
        """Take note of how the store's record compares to the session."""
        if record in ("is_ahead", "is_behind"):
            self.is_due = True
        elif record == "is_another":
            self.is_another_execution = True
        else:
            self.is_over = True
            self._compare_again()

    def _compare_again(self) -> None:
        """Compare once more, after the turns that were open at the last recovery are settled.

        A turn that was answered and billed before the reset reuses its saved reply: it is not paid for twice.
        """
        timeline = self._state.timeline
        open_turns = {*timeline.pending, *timeline.unrecorded.turn_ids, *(each.turn_id for each in timeline.queue)}
        if self._to_compare and not self._to_compare & open_turns:
            self._to_compare = frozenset()
            self.is_due = True

    async def wait_until_done(self) -> None:
        """Wait for a recovery that is due. Without one, nothing comes between the check of a command and its effect.

        After a reset, Temporal delivers signals and updates again in their order, but a replay hands over all signals
        first. A command therefore waits for the signals that came with it, so that the order is the same in a replay.
        """
        if self.is_reset_run:
            await asyncio.sleep(0)
        if self.is_due:
            await workflow.wait_condition(lambda: not self.is_due)

    async def recover_when_due(self) -> None:
        """Recover whenever that is due, for as long as the session lives."""
        while True:
            await workflow.wait_condition(lambda: self.is_due)
            await self._recover()

    def request(self) -> None:
        """Have the session compared with its record, as after a restore of either database."""
        self.is_due = True

    def unsettled(
        self, record: UnsettledInput, under_way: UnrecordedChanges | None, version_under_way: int | None
    ) -> UnsettledTurns:
        """The session compared with its record: turns that only one of them has, and on request what is to be recorded.

        `under_way` are the changes that a settlement is recording now, with the version of its head.
        """
        timeline, recorded = self._state.timeline, set(record.recorded_turn_ids)
        unrecorded = timeline.unrecorded.after(under_way) if under_way else timeline.unrecorded
        closed = [turn for turn in timeline.turns.values() if turn.status != "pending"]
        missing = [turn for turn in closed if turn.id not in recorded]
        lost = missing if record.with_turns else [turn for turn in missing if turn.id not in unrecorded.turn_ids]
        unknown = sum(turn_id not in timeline.turns for turn_id in record.recorded_turn_ids)
        versions = {timeline.recorded_version, timeline.recording_version, version_under_way}
        compared = UnsettledTurns(
            version=timeline.version,
            revision=timeline.revision,
            turns=len(closed),
            missing=len(lost),
            unknown=unknown,
            is_apart=bool(lost) or unknown > 0 or record.recorded_version not in versions,
        )
        if not record.with_turns:
            return compared
        return compared.model_copy(
            update={
                "restore": self._restored(tuple(lost[:TURNS_AT_ONCE])) if lost else None,
                "settle": self._settlement(unrecorded),
            }
        )

    def _settlement(self, unrecorded: UnrecordedChanges) -> SettleTurnsInput:
        """Everything that was still to be settled, with the turns that were being answered as they stand."""
        timeline, start = self._state.timeline, self._state.start
        turn_ids = dict.fromkeys((*unrecorded.turn_ids, *timeline.pending))
        turns = tuple(timeline.turns[turn_id] for turn_id in islice(turn_ids, TURNS_AT_ONCE))
        return SettleTurnsInput(
            session_id=start.session_id,
            organization_id=start.organization_id,
            agent=start.agent,
            head=recorded_head_of(timeline, self._state.agent, workflow.info().run_id),
            turns=turns,
            branches=timeline.discarded_branches,
            facts=unrecorded.facts,
            restored_branch_ids=unrecorded.restored_branch_ids,
            auxiliary_calls=unrecorded.auxiliary_calls,
            taken_over=timeline.taken_over(turn.id for turn in turns),
            first_run_id=workflow.info().first_execution_run_id,
        )

    async def restore(self, steps: tuple[RestoredStep, ...]) -> None:
        """Restore the turns of the active branch, and the steps of a turn under way, if the store has lost them."""
        timeline = self._state.timeline
        for turns in _batches(reversed(list(timeline.path_to(timeline.leaf_id)))):
            await self._restore_batch(turns)
        await self._restore_batch((), steps)

    async def _recover(self) -> None:
        timeline, start = self._state.timeline, self._state.start
        was_reset, self._was_reset = self._was_reset, False
        known = tuple(turn.id for turn in timeline.turns.values() if turn.status != "pending")
        result = await workflow.execute_activity_method(
            RecoveryActivities.read_record,
            ReadRecordInput(session_id=start.session_id, organization_id=start.organization_id, known_turn_ids=known),
            summary="compare with the record",
            **store_options(start.timing),
        )
        record = result.record
        for turn_ids in _batches(record.missing_turn_ids):
            await self._restore_batch(tuple(self._state.timeline.turns[turn_id] for turn_id in turn_ids))
        recovered = recover(self._state.timeline, record, was_reset=was_reset, at=self._state.now())
        settled_version = self._state.timeline.recorded_version
        if settled_version != timeline.recorded_version:  # a settlement has ended since the record was read
            recovered = recovered.model_copy(update={"recorded_version": settled_version})
        self._state.change(recovered)
        if self._state.timeline.revision != timeline.revision:
            queued = (each.turn_id for each in self._state.timeline.queue)
            self._to_compare = frozenset((*self._state.timeline.pending, *queued))
        self.is_due = self._was_reset
        self.is_over = not self.is_due

    async def _restore_batch(self, turns: tuple[Turn, ...], steps: tuple[RestoredStep, ...] = ()) -> None:
        closed = tuple(turn for turn in turns if turn.status != "pending")
        if not (closed or steps):
            return
        await workflow.execute_activity_method(
            RecoveryActivities.restore_turns,
            self._restored(closed, steps),
            summary=f"put back {len(closed)} turns",
            **store_options(self._state.start.timing),
        )

    def _restored(self, closed: tuple[Turn, ...], steps: tuple[RestoredStep, ...] = ()) -> RestoreTurnsInput:
        start, timeline = self._state.start, self._state.timeline
        return RestoreTurnsInput(
            session_id=start.session_id,
            organization_id=start.organization_id,
            agent=start.agent,
            model=start.model,
            turns=tuple(_with_place(timeline, turn, self._state) for turn in closed),
            steps=steps,
            taken_over=timeline.taken_over(turn.id for turn in closed),
        )

    def _note_reset(self) -> None:
        self._was_reset = True
        self.is_due = True
        self.is_over = False
        # The SDK checks wait conditions only after a callback. A workflow task without commands is replayed together
        # with the next one once it is evicted from the cache, and alone later: so the recovery begins in this task.
        self._loop.call_soon(lambda: None)


def _batches(items: Iterable[Item]) -> Iterator[tuple[Item, ...]]:
    rest = iter(items)
    while batch := tuple(islice(rest, TURNS_AT_ONCE)):
        yield batch


def _with_place(timeline: Timeline, turn: Turn, state: SessionState) -> RestoredTurn:
    before = timeline.checkpoint_before(turn.parent_id) or start_checkpoint(state.agent)
    return RestoredTurn(turn=turn, after=before.after, carry=before.carry)
