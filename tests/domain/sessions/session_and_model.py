"""A session and what a person would note down of it, side by side: what must hold of them whatever happens."""

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
from tests.support.conversation import BEGINNING, MODEL, answered
from tests.support.session_model import Asked, Paper, usd

CLOSINGS = {"complete": complete, "fail": fail, "interrupt": interrupt}


class SessionOnPaper(RuleBasedStateMachine):
    """Holds a session to its simple model. `recorded` are the discarded branches that the store knows."""

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
        self.paper = Paper()
        self.recorded: dict[str, DiscardedBranch] = {}
        self.offered = 0
        if greeting:
            turn_id = self.new_turn()
            assert self.obeys(None, lambda: open_greeting(self.timeline, turn_id=turn_id, at=self.tick()))
            self.accepted()
            self.paper.open(turn_id, None)
            self.close_turn(turn_id, "complete", ("Good evening.",), 0, ends=False)

    def close_turn(self, turn_id: str, how: str, said: tuple[str, ...], tokens: int, *, ends: bool) -> None:
        progress = answered(
            turn_id, *said, tokens=tokens, usd=str(usd(tokens)), outcome="ended" if ends else "answered"
        )
        before = self.timeline
        assert self.obeys(None, lambda: CLOSINGS[how](before, progress, self.limits, at=self.tick()))
        self.paper_close(turn_id, how, said, tokens, ends)
        if self.paper.revision == before.revision:
            was, seen = (
                [turn for turn in each.visible_turns() if turn.id != turn_id] for each in (before, self.timeline)
            )
            assert seen == was, "a late reply moved what is seen"

    # --- what must hold whatever happened --------------------------------------------------------

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
            turn_id: (line.text, line.reply, line.status, line.depth) for turn_id, line in self.paper.lines.items()
        }
        assert all(turn_id == turn.id for turn_id, turn in self.timeline.turns.items())

    @invariant()
    def visible_branch_is_a_path_from_a_root(self) -> None:
        path = list(self.timeline.visible_turns())[::-1]
        assert [turn.id for turn in path] == self.paper.seen
        assert [turn.parent_id for turn in path] == [None, *self.paper.seen][: len(path)]
        assert [turn.index for turn in path] == list(range(len(path)))
        active = [turn.id for turn in self.timeline.path_to(self.timeline.leaf_id)]
        assert active[::-1] == self.paper.branch

    @invariant()
    def every_parent_exists_and_stands_one_above(self) -> None:
        for turn in self.timeline.turns.values():
            parent_index = self.timeline.turns[turn.parent_id].index if turn.parent_id else -1
            assert turn.index == parent_index + 1

    @invariant()
    def what_was_given_up_stays_listed(self) -> None:
        branches = self.timeline.discarded_branches
        listed = [
            (branch.rewound_from_turn_id, [turn.id for turn in self.timeline.turns_of(branch)]) for branch in branches
        ]
        assert listed == self.paper.given_up
        assert len({branch.id for branch in branches}) == len(branches)

    @invariant()
    def every_turn_is_on_the_active_branch_or_on_one_discarded_one(self) -> None:
        discarded = [turn.id for each in self.timeline.discarded_branches for turn in self.timeline.turns_of(each)]
        active = [turn.id for turn in self.timeline.path_to(self.timeline.leaf_id)]
        assert sorted([*active, *discarded]) == sorted(self.timeline.turns)

    @invariant()
    def revision_counts_accepted_changes(self) -> None:
        assert self.timeline.revision == self.paper.revision
        assert self.timeline.version >= self.timeline.revision

    @invariant()
    def spent_is_what_all_closed_turns_spent_and_what_was_bought_beside_them(self) -> None:
        used = self.timeline.usage.llm.get(MODEL)
        assert (used.total_tokens if used else 0) == self.paper.tokens
        assert self.timeline.cost.total == usd(self.paper.tokens)
        on_turns = sum((turn.cost.total for turn in self.timeline.turns.values()), Decimal(0))
        assert self.timeline.cost.total == on_turns + usd(self.paper.beside)

    @invariant()
    def status_and_lists_agree(self) -> None:
        assert self.timeline.status == self.paper.status
        assert set(self.timeline.pending) == self.paper.pending
        assert len(self.timeline.pending) == len(self.paper.pending)
        assert set(self.timeline.stopping) == self.paper.stopping
        assert len(self.timeline.stopping) == len(self.paper.stopping)
        assert self.paper.stopping <= self.paper.pending
        waiting = [(item.turn_id, item.message.text, item.interrupts) for item in self.timeline.queue]
        assert waiting == self.paper.queue
        assert self.timeline.is_busy or not self.timeline.queue
        assert {key: known.turn_id for key, known in self.timeline.remembered.items()} == {
            key: turn_id for key, (turn_id, _) in self.paper.known.items()
        }
        assert self.timeline.completion_reason == self.paper.reason

    @invariant()
    def json_says_the_same(self) -> None:
        assert Timeline.model_validate_json(self.timeline.model_dump_json()) == self.timeline

    # --- the model's side ------------------------------------------------------------------------

    def obeys(self, refusal: RejectionCode | None, command: Callable[[], Timeline]) -> bool:
        """Whether the command was accepted, after checking that it was refused exactly when it had to be."""
        before, frozen = self.timeline, self.timeline.model_dump_json()
        code: RejectionCode | None = None
        try:
            after = command()
        except CommandRejected as refused:
            after, code = before, refused.rejection.code
        assert code == refusal
        assert before.model_dump_json() == frozen, "a command changed the value it was given"
        assert after.revision >= before.revision
        assert after.cost.total >= before.cost.total
        assert after.usage.total_tokens >= before.usage.total_tokens
        assert after == before or after.version > before.version
        self.timeline = after
        return refusal is None

    def accepted(self) -> None:
        self.paper.revision += 1

    def may_not(self, expected: int | None) -> RejectionCode | None:
        """Why nothing at all is done: the session has ended, or is not the one that was seen."""
        return "session_ended" if self.paper.reason is not None else self.stale(expected)

    def stale(self, expected: int | None) -> RejectionCode | None:
        return "revision_conflict" if expected not in (None, self.paper.revision) else None

    def is_repeat(self, message_id: str | None, asked: Asked) -> bool:
        """Whether a command was accepted before, under the same id and for the same."""
        return message_id in self.paper.known and self.paper.known[message_id][1] == asked

    def opens(
        self, command: TurnCommand, asked: Asked, refusal: RejectionCode | None, rule: Callable[[str], Timeline]
    ) -> str | None:
        """Give a command that opens a turn: the turn it was offered, or None when it was refused or a repeat."""
        turn_id, before, message_id = self.new_turn(), self.timeline, command.message_id
        repeat = self.is_repeat(message_id, asked)
        if repeat:
            refusal = None
        elif message_id in self.paper.known:
            refusal = "idempotency_mismatch"
        if not self.obeys(refusal, lambda: rule(turn_id)):
            return None
        if repeat:
            assert self.timeline is before, "the same command twice must change nothing"
            return None
        self.accepted()
        if message_id is not None:
            self.paper.known[message_id] = (turn_id, asked)
        return turn_id

    def paper_close(self, turn_id: str, how: str, said: tuple[str, ...], tokens: int, ends: bool) -> None:
        paper = self.paper
        seen = paper.reason is None and paper.seen[-1:] == [turn_id]
        line = paper.lines[turn_id]
        line.status = {"complete": "completed", "fail": "failed", "interrupt": "interrupted"}[how]
        line.reply = "\n".join(said) if said and how != "fail" else None
        line.tokens = tokens
        paper.stopping.discard(turn_id)
        paper.touch(turn_id)
        if not seen:
            return
        self.accepted()
        limit = self.limits.max_cost_usd
        if ends:
            paper.end("end_node")
        elif line.depth + 1 >= self.limits.max_turns:
            paper.end("max_turns")
        elif limit is not None and usd(paper.tokens) >= limit:
            paper.end("max_cost")
        elif paper.queue:
            waiting = paper.queue.pop(0)
            paper.open(waiting.turn_id, waiting.text)

    def revision(self, expected: str) -> int | None:
        return {
            "none": None,
            "right": self.paper.revision,
            "older": self.paper.revision - 1,
            "newer": self.paper.revision + 1,
        }[expected]

    def new_turn(self) -> str:
        self.offered += 1
        return f"t{self.offered - 1}"

    def tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now
