"""A timeline and its reference model, side by side: the invariants that hold after any commands."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from domain.agents.definition import Limits
from domain.rejections import CommandRejected, RejectionCode
from domain.sessions.command_handlers import new_timeline, open_greeting
from domain.sessions.commands import TurnCommand
from domain.sessions.timeline import DiscardedBranch, Timeline
from domain.sessions.turn_completion import complete, fail, interrupt
from domain.turns.engine import PART_SEPARATOR
from tests.support.conversation import BEGINNING, MODEL, answered
from tests.support.reference_timeline import ReferenceTimeline, usd

CLOSINGS = {"complete": complete, "fail": fail, "interrupt": interrupt}
CLOSED = {"complete": "completed", "fail": "failed", "interrupt": "interrupted"}


class TimelineMachine(RuleBasedStateMachine):
    """Compares a timeline with the reference model. `recorded` are the discarded branches in the store."""

    timeline: Timeline
    limits: Limits

    @initialize(
        max_turns=st.sampled_from([500, 500, 3, 6]),
        max_cost_usd=st.sampled_from([None, None, Decimal("1.5")]),
        greeting=st.booleans(),
    )
    def begin(self, max_turns: int, max_cost_usd: Decimal | None, greeting: bool) -> None:
        self.now: datetime = BEGINNING
        self.limits = Limits(max_turns=max_turns, max_cost_usd=max_cost_usd)
        self.timeline = new_timeline(at=self.now)
        self.model = ReferenceTimeline(max_turns=max_turns, max_cost_usd=max_cost_usd)
        self.recorded: dict[str, DiscardedBranch] = {}
        self.offered = 0
        if greeting:
            turn_id = self.new_turn()
            assert self.is_accepted(None, lambda: open_greeting(self.timeline, turn_id=turn_id, at=self.tick()))
            self.model.greet(turn_id)
            self.close_turn(turn_id, "complete", ("Good evening.",), 0, ends=False)

    def close_turn(self, turn_id: str, how: str, said: tuple[str, ...], tokens: int, *, ends: bool) -> None:
        progress = answered(
            turn_id, *said, tokens=tokens, usd=str(usd(tokens)), outcome="ended" if ends else "answered"
        )
        before = self.timeline
        assert self.is_accepted(None, lambda: CLOSINGS[how](before, progress, self.limits, at=self.tick()))
        reply = PART_SEPARATOR.join(said) if said and how != "fail" else None
        self.model.close(turn_id, CLOSED[how], reply=reply, tokens=tokens, ends=ends)
        if self.model.revision == before.revision:
            was, seen = (
                [turn for turn in each.visible_turns() if turn.id != turn_id] for each in (before, self.timeline)
            )
            assert seen == was, "a late reply moved what is seen"

    # --- invariants ------------------------------------------------------------------------------

    @invariant()
    def no_turn_is_lost_or_changed_in_its_words(self) -> None:
        found = {
            turn.id: (
                turn.user_message.text if turn.user_message else None,
                turn.assistant_message.text if turn.assistant_message else None,
                turn.status,
                turn.index,
            )
            for turn in self.timeline.turns.values()
        }
        assert found == {
            turn_id: (turn.text, turn.reply, turn.status, turn.depth) for turn_id, turn in self.model.turns.items()
        }
        assert all(turn_id == turn.id for turn_id, turn in self.timeline.turns.items())

    @invariant()
    def visible_branch_is_a_path_from_a_root(self) -> None:
        path = list(self.timeline.visible_turns())[::-1]
        assert [turn.id for turn in path] == self.model.visible
        assert [turn.parent_id for turn in path] == [None, *self.model.visible][: len(path)]
        assert [turn.index for turn in path] == list(range(len(path)))
        active = [turn.id for turn in self.timeline.path_to(self.timeline.leaf_id)]
        assert active[::-1] == self.model.branch

    @invariant()
    def every_parent_exists_and_stands_one_above(self) -> None:
        for turn in self.timeline.turns.values():
            parent_index = self.timeline.turns[turn.parent_id].index if turn.parent_id else -1
            assert turn.index == parent_index + 1

    @invariant()
    def discarded_branches_stay_listed(self) -> None:
        branches = self.timeline.discarded_branches
        listed = [
            (branch.rewound_from_turn_id, [turn.id for turn in self.timeline.turns_of(branch)]) for branch in branches
        ]
        assert listed == self.model.discarded
        assert len({branch.id for branch in branches}) == len(branches)

    @invariant()
    def every_turn_is_on_the_active_branch_or_on_one_discarded_one(self) -> None:
        discarded = [turn.id for each in self.timeline.discarded_branches for turn in self.timeline.turns_of(each)]
        active = [turn.id for turn in self.timeline.path_to(self.timeline.leaf_id)]
        assert sorted([*active, *discarded]) == sorted(self.timeline.turns)

    @invariant()
    def revision_counts_accepted_changes(self) -> None:
        assert self.timeline.revision == self.model.revision
        assert self.timeline.version >= self.timeline.revision

    @invariant()
    def usage_is_that_of_all_closed_turns_and_of_auxiliary_calls(self) -> None:
        used = self.timeline.usage.llm.get(MODEL)
        assert (used.total_tokens if used else 0) == self.model.tokens
        assert self.timeline.cost.total == usd(self.model.tokens)
        on_turns = sum((turn.cost.total for turn in self.timeline.turns.values()), Decimal(0))
        assert self.timeline.cost.total == on_turns + usd(self.model.auxiliary_tokens)

    @invariant()
    def status_and_lists_agree(self) -> None:
        assert self.timeline.status == self.model.status
        assert set(self.timeline.pending) == self.model.pending
        assert len(self.timeline.pending) == len(self.model.pending)
        assert set(self.timeline.stopping) == self.model.stopping
        assert len(self.timeline.stopping) == len(self.model.stopping)
        assert self.model.stopping <= self.model.pending
        waiting = [(item.turn_id, item.message.text, item.interrupts) for item in self.timeline.queue]
        assert waiting == self.model.queue
        assert self.timeline.is_busy or not self.timeline.queue
        assert {key: known.turn_id for key, known in self.timeline.remembered.items()} == {
            key: turn_id for key, (turn_id, _) in self.model.known.items()
        }
        assert self.timeline.completion_reason == self.model.reason

    @invariant()
    def json_says_the_same(self) -> None:
        assert Timeline.model_validate_json(self.timeline.model_dump_json()) == self.timeline

    # --- giving commands --------------------------------------------------------------------------

    def is_accepted(self, rejection: RejectionCode | None, command: Callable[[], Timeline]) -> bool:
        """Give a command that must be rejected with this code, or accepted. Returns True when it was accepted."""
        before, frozen = self.timeline, self.timeline.model_dump_json()
        code: RejectionCode | None = None
        try:
            after = command()
        except CommandRejected as refused:
            after, code = before, refused.rejection.code
        assert code == rejection
        assert before.model_dump_json() == frozen, "a command changed the value it was given"
        assert after.revision >= before.revision
        assert after.cost.total >= before.cost.total
        assert after.usage.total_tokens >= before.usage.total_tokens
        assert after == before or after.version > before.version
        self.timeline = after
        return rejection is None

    def opens(self, command: TurnCommand, rule: Callable[[str], Timeline]) -> str | None:
        """Give a command that opens a turn. Returns its turn, or None when it was rejected or a repeat."""
        turn_id, before, message_id = self.new_turn(), self.timeline, command.message_id
        repeat, rejection = self.model.is_repeat(command), self.model.rejection_of(command)
        if repeat:
            rejection = None
        elif message_id in self.model.known:
            rejection = "idempotency_mismatch"
        if not self.is_accepted(rejection, lambda: rule(turn_id)):
            return None
        if repeat:
            assert self.timeline is before, "the same command twice must change nothing"
            return None
        return turn_id

    def revision(self, expected: str) -> int | None:
        return {
            "none": None,
            "right": self.model.revision,
            "older": self.model.revision - 1,
            "newer": self.model.revision + 1,
        }[expected]

    def new_turn(self) -> str:
        self.offered += 1
        return f"t{self.offered - 1}"

    def tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now
