"""Any order of commands against a simple model of a session: nothing is lost, changed, unspent or miscounted."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from domain.agent import Limits
from domain.closing import complete, fail, interrupt, take_unrecorded
from domain.commands import EndSession, OnBusy, Rewind, SendMessage
from domain.growth import note_refusal
from domain.refusals import RefusalCode, Refused
from domain.timeline import (
    MAX_LABEL_CHARACTERS,
    MAX_QUEUED_MESSAGES,
    MAX_TEXT_CHARACTERS,
    begin_timeline,
    end,
    open_greeting,
    rewind,
    send,
)
from domain.tree import Timeline
from tests.unit.conversation import BEGINNING, MODEL, answered
from tests.unit.paper import Paper, usd

TOO_LONG = "x" * (MAX_TEXT_CHARACTERS + 1)
TEXTS = st.sampled_from(["hello", "a table for two", "no \x00, Ümlaut 🙂"])
ODD_TEXTS = st.sampled_from(["hello", "a table for two", "", " \n", TOO_LONG])
# Few ids, so that messages are often repeated, with the same text and with another one.
MESSAGE_IDS = st.sampled_from([None, "m1", "m2", "m3", "m" * (MAX_LABEL_CHARACTERS + 1)])
REASONS = st.sampled_from(["user_hangup", "done", "r" * (MAX_LABEL_CHARACTERS + 1)])
PICKS = st.integers(min_value=0, max_value=59)
WORDS = st.lists(st.sampled_from(["Certainly.", "One moment."]), max_size=2).map(tuple)
TOKENS = st.integers(min_value=0, max_value=1_000)
REVISIONS = st.sampled_from(["none", "right", "older", "newer"])
RARELY = st.integers(min_value=0, max_value=11).map(lambda number: number == 7)
"""Hypothesis likes the ends of a range better than its middle."""
CLOSINGS = {"complete": complete, "fail": fail, "interrupt": interrupt}


class SessionMachine(RuleBasedStateMachine):
    """Does what people, models and crashes can do to a session, in any order."""

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
        self.timeline = begin_timeline(at=self.now)
        self.paper = Paper()
        self.offered = 0
        if greeting:
            self.greet()
            self.close(pick=0, how="complete", said=("Good evening.",), tokens=0, ends=False)

    # --- what can happen ------------------------------------------------------------------------

    @precondition(lambda self: len(self.paper.lines) < 2)
    @rule()
    def greet(self) -> None:
        turn_id = self.new_turn()
        refusal: RefusalCode | None = None
        if self.paper.reason is not None:
            refusal = "session_ended"
        elif self.paper.lines:
            refusal = "validation_error"
        if self.obeys(refusal, lambda: open_greeting(self.timeline, turn_id=turn_id, at=self.tick())):
            self.accepted()
            self.paper.open(turn_id, None)

    @precondition(lambda self: self.paper.reason is None)
    @rule(text=TEXTS)
    def say(self, text: str) -> None:
        self.send(SendMessage(text=text, on_busy="enqueue"))

    @rule(
        text=ODD_TEXTS, message_id=MESSAGE_IDS, expected=REVISIONS, on_busy=st.sampled_from([None, "reject", "enqueue"])
    )
    def say_anything(self, text: str, message_id: str | None, expected: str, on_busy: OnBusy | None) -> None:
        self.send(
            SendMessage(text=text, message_id=message_id, expected_revision=self.revision(expected), on_busy=on_busy)
        )

    @rule(text=TEXTS, message_id=st.sampled_from(["m1", "m2", "m3"]), expected=REVISIONS)
    def say_again(self, text: str, message_id: str, expected: str) -> None:
        expected_revision = self.revision(expected) if message_id in self.paper.known else None
        self.send(SendMessage(text=text, message_id=message_id, expected_revision=expected_revision, on_busy="enqueue"))

    def send(self, command: SendMessage) -> None:
        text, message_id = command.text, command.message_id
        turn_id = self.new_turn()
        before = self.timeline
        refusal = self.refusal_of(command)
        if not self.obeys(refusal, lambda: send(before, command, turn_id=turn_id, at=self.tick())):
            return
        if message_id in self.paper.known:
            assert self.timeline is before, "the same message twice must change nothing"
            return
        self.accepted()
        if message_id is not None:
            self.paper.known[message_id] = (turn_id, text)
        if self.paper.is_busy:
            self.paper.queue.append((turn_id, text))
        else:
            self.paper.open(turn_id, text)

    @precondition(lambda self: self.paper.reason is None and not self.paper.is_busy)
    @rule(texts=st.lists(TEXTS, min_size=1, max_size=3), tokens=TOKENS)
    def exchange(self, texts: list[str], tokens: int) -> None:
        for text in texts:
            if self.paper.reason is None:
                self.send(SendMessage(text=text))
                self.close_turn(self.paper.seen[-1], "complete", ("Certainly.",), tokens, ends=False)

    @precondition(lambda self: self.paper.pending)
    @rule(
        pick=PICKS,
        how=st.sampled_from(sorted(CLOSINGS)),
        said=WORDS,
        tokens=TOKENS,
        ends=RARELY,
    )
    def close(self, pick: int, how: str, said: tuple[str, ...], tokens: int, ends: bool) -> None:
        pending = sorted(self.paper.pending)
        self.close_turn(pending[pick % len(pending)], how, said, tokens, ends=ends and how == "complete")

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

    @precondition(lambda self: self.paper.branch and self.paper.reason is None)
    @rule(pick=PICKS, before=st.booleans())
    def rewind(self, pick: int, before: bool) -> None:
        place = pick % len(self.paper.branch)
        self.give(Rewind(turn_id=self.paper.branch[place], before=before), None, shown=place + (not before))

    @rule(pick=PICKS, before=RARELY, expected=REVISIONS)
    def rewind_anywhere(self, pick: int, before: bool, expected: str) -> None:
        anywhere = [*self.paper.lines, "unknown"]
        wanted = anywhere[pick % len(anywhere)]
        on_branch = wanted in self.paper.branch
        self.give(
            Rewind(turn_id=wanted, before=before, expected_revision=self.revision(expected)),
            None if on_branch else "turn_not_found",
            shown=self.paper.branch.index(wanted) + (not before) if on_branch else None,
        )

    @rule(before=RARELY, expected=REVISIONS)
    def clear_cursor(self, before: bool, expected: str) -> None:
        command = Rewind(turn_id=None, before=before, expected_revision=self.revision(expected))
        self.give(command, "validation_error" if before else None, shown=None)

    @rule(reason=REASONS, expected=REVISIONS, really=st.sampled_from([False, False, False, True]))
    def end(self, reason: str, expected: str, really: bool) -> None:
        if not really:  # else most sessions would be over after a few commands
            return
        command = EndSession(reason=reason, expected_revision=self.revision(expected))
        before = self.timeline
        refusal: RefusalCode | None = None
        if self.paper.reason is None:
            too_long: RefusalCode | None = "too_large" if len(reason) > MAX_LABEL_CHARACTERS else None
            refusal = self.stale(command.expected_revision) or too_long
        if not self.obeys(refusal, lambda: end(before, command, at=self.tick())):
            return
        if self.paper.reason is not None:
            assert self.timeline is before, "ending again must change nothing"
            return
        self.accepted()
        self.paper.end(reason)

    @rule()
    def note_refusal(self) -> None:
        refusal = Refused("turn_not_found", "There is no such turn.", turn_id="t99").refusal
        before = self.timeline
        assert self.obeys(None, lambda: note_refusal(before, "rewind_to", refusal, None, at=self.tick()))
        self.paper.note()
        noted = sum(len(turn.events) for turn in self.timeline.turns.values())
        assert noted == sum(len(turn.events) for turn in before.turns.values()) + bool(before.turns)

    @rule()
    def take_unrecorded(self) -> None:
        left, taken = take_unrecorded(self.timeline)
        assert list(taken.turn_ids) == self.paper.untold_turns
        told = len(self.timeline.discarded_branches) - self.paper.untold_branches
        assert taken.branches == self.timeline.discarded_branches[told:]
        assert [fact.type for fact in taken.facts] == self.paper.untold_facts
        assert left.unrecorded.is_empty
        assert left.model_copy(update={"unrecorded": taken}) == self.timeline
        self.timeline = left
        self.paper.untold_turns, self.paper.untold_branches, self.paper.untold_facts = [], 0, []

    @rule()
    def move_to_another_process(self) -> None:
        self.timeline = Timeline.model_validate_json(self.timeline.model_dump_json())

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
    def revision_counts_accepted_changes(self) -> None:
        assert self.timeline.revision == self.paper.revision
        assert self.timeline.version >= self.timeline.revision

    @invariant()
    def spent_is_what_all_closed_turns_spent(self) -> None:
        used = self.timeline.usage.llm.get(MODEL)
        assert (used.total_tokens if used else 0) == self.paper.tokens
        assert self.timeline.cost.total == usd(self.paper.tokens)
        assert self.timeline.cost.total == sum((turn.cost.total for turn in self.timeline.turns.values()), Decimal(0))

    @invariant()
    def status_and_lists_agree(self) -> None:
        assert self.timeline.status == self.paper.status
        assert set(self.timeline.pending) == self.paper.pending
        assert len(self.timeline.pending) == len(self.paper.pending)
        assert [(item.turn_id, item.message.text) for item in self.timeline.queue] == self.paper.queue
        assert self.timeline.is_busy or not self.timeline.queue
        assert {key: known.turn_id for key, known in self.timeline.remembered.items()} == {
            key: turn_id for key, (turn_id, _) in self.paper.known.items()
        }
        assert self.timeline.completion_reason == self.paper.reason

    @invariant()
    def json_says_the_same(self) -> None:
        assert Timeline.model_validate_json(self.timeline.model_dump_json()) == self.timeline

    # --- the model's side ------------------------------------------------------------------------

    def obeys(self, refusal: RefusalCode | None, command: Callable[[], Timeline]) -> bool:
        """Whether the command was accepted, after checking that it was refused exactly when it had to be."""
        before, frozen = self.timeline, self.timeline.model_dump_json()
        code: RefusalCode | None = None
        try:
            after = command()
        except Refused as refused:
            after, code = before, refused.refusal.code
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

    def stale(self, expected: int | None) -> RefusalCode | None:
        return "revision_conflict" if expected not in (None, self.paper.revision) else None

    def refusal_of(self, command: SendMessage) -> RefusalCode | None:
        """Why a message must be refused, or None."""
        paper = self.paper
        if command.message_id in paper.known:
            same = paper.known[command.message_id][1] == command.text
            return None if same else "idempotency_mismatch"
        reasons: list[tuple[RefusalCode, bool]] = [
            ("session_ended", paper.reason is not None),
            ("revision_conflict", self.stale(command.expected_revision) is not None),
            ("validation_error", not command.text.strip()),
            ("too_large", len(command.text) > MAX_TEXT_CHARACTERS),
            ("too_large", len(command.message_id or "") > MAX_LABEL_CHARACTERS),
            ("turn_in_progress", paper.is_busy and command.on_busy != "enqueue"),
            ("queue_full", paper.is_busy and len(paper.queue) >= MAX_QUEUED_MESSAGES),
        ]
        return next((code for code, holds in reasons if holds), None)

    def give(self, command: Rewind, refusal: RefusalCode | None, shown: int | None) -> None:
        """Rewind, and note that so many turns are seen now."""
        before = self.timeline
        first: RefusalCode | None = "session_ended" if self.paper.reason is not None else None
        refusal = first or self.stale(command.expected_revision) or refusal
        if self.obeys(refusal, lambda: rewind(before, command, at=self.tick())):
            self.accepted()
            self.paper.shown = shown
            self.paper.drop_queue()
            self.paper.untold_facts.append("rewound")

    def paper_close(self, turn_id: str, how: str, said: tuple[str, ...], tokens: int, ends: bool) -> None:
        paper = self.paper
        seen = paper.reason is None and paper.seen[-1:] == [turn_id]
        line = paper.lines[turn_id]
        line.status = {"complete": "completed", "fail": "failed", "interrupt": "interrupted"}[how]
        line.reply = "\n".join(said) if said and how != "fail" else None
        line.tokens = tokens
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
            paper.open(*paper.queue.pop(0))

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


TestAnyOrderOfCommands = SessionMachine.TestCase
# The same examples on every machine; `max_examples` can be raised by hand when the rules are changed.
TestAnyOrderOfCommands.settings = settings(
    max_examples=120, stateful_step_count=40, derandomize=True, deadline=None, database=None
)
