"""Any order of commands against a simple model of a session: nothing is lost, changed, unspent or miscounted."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from domain.rejections import CommandRejected, RejectionCode
from domain.sessions.command_handlers import (
    MAX_LABEL_CHARACTERS,
    MAX_QUEUED_MESSAGES,
    MAX_TEXT_CHARACTERS,
    end,
    open_greeting,
    rewind,
    send,
)
from domain.sessions.commands import EndSession, OnBusy, Rewind, SendMessage
from domain.sessions.timeline import Timeline, record_rejection
from domain.sessions.turn_completion import take_unrecorded
from tests.domain.sessions.machine_commands import OtherWays
from tests.domain.sessions.session_and_model import CLOSINGS
from tests.support.command_values import MESSAGE_IDS, ODD_TEXTS, PICKS, RARELY, REASONS, REVISIONS, TEXTS, TOKENS, WORDS
from tests.support.session_model import Waiting

ON_BUSY = st.sampled_from([None, "reject", "enqueue", "interrupt", "rollback"])


class SessionMachine(OtherWays):
    """Does what people, models and crashes can do to a session, in any order."""

    @precondition(lambda self: len(self.paper.lines) < 2)
    @rule()
    def greet(self) -> None:
        turn_id = self.new_turn()
        refusal: RejectionCode | None = None
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

    @rule(text=ODD_TEXTS, message_id=MESSAGE_IDS, expected=REVISIONS, on_busy=ON_BUSY)
    def say_anything(self, text: str, message_id: str | None, expected: str, on_busy: OnBusy | None) -> None:
        self.send(
            SendMessage(text=text, message_id=message_id, expected_revision=self.revision(expected), on_busy=on_busy)
        )

    @precondition(lambda self: self.paper.is_busy and self.paper.reason is None)
    @rule(texts=st.lists(TEXTS, min_size=1, max_size=3), on_busy=st.sampled_from(["interrupt", "rollback"]))
    def break_in(self, texts: list[str], on_busy: OnBusy) -> None:
        for text in texts:
            self.send(SendMessage(text=text, on_busy=on_busy))

    @rule(text=TEXTS, message_id=st.sampled_from(["m1", "m2", "m3"]), expected=REVISIONS)
    def say_again(self, text: str, message_id: str, expected: str) -> None:
        expected_revision = self.revision(expected) if message_id in self.paper.known else None
        self.send(SendMessage(text=text, message_id=message_id, expected_revision=expected_revision, on_busy="enqueue"))

    def send(self, command: SendMessage) -> None:
        paper, text, before = self.paper, command.text, self.timeline
        opened = self.opens(
            command,
            ("send", text),
            self.refusal_of(command),
            lambda turn_id: send(before, command, turn_id=turn_id, at=self.tick()),
        )
        if opened is None:
            return
        if not paper.is_busy:
            paper.open(opened, text)
        elif command.on_busy == "rollback":
            paper.stop(paper.seen[-1])
            paper.shown = len(paper.seen) - 1
            paper.open(opened, text)
        else:
            if command.on_busy == "interrupt":
                paper.stop(paper.seen[-1])
            paper.wait(Waiting(opened, text, interrupts=command.on_busy == "interrupt"))

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
        refusal: RejectionCode | None = None
        if self.paper.reason is None:
            too_long: RejectionCode | None = "too_large" if len(reason) > MAX_LABEL_CHARACTERS else None
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
        refusal = CommandRejected("turn_not_found", "There is no such turn.", turn_id="t99").rejection
        before = self.timeline
        assert self.obeys(None, lambda: record_rejection(before, "rewind_to", refusal, None, at=self.tick()))
        self.paper.note()
        noted = sum(len(turn.events) for turn in self.timeline.turns.values())
        assert noted == sum(len(turn.events) for turn in before.turns.values()) + bool(before.turns)

    @rule()
    def take_unrecorded(self) -> None:
        paper = self.paper
        left, told = take_unrecorded(self.timeline)
        assert list(told.turn_ids) == paper.untold_turns
        assert [fact.type for fact in told.facts] == paper.untold_facts
        assert [aside.id for aside in told.asides] == paper.untold_asides
        assert left.unrecorded.is_empty
        assert left.model_copy(update={"unrecorded": told}) == self.timeline
        self.timeline = left
        paper.untold_turns, paper.untold_facts, paper.untold_asides = [], [], []
        for branch_id in told.restored_branch_ids:
            self.recorded.pop(branch_id, None)
        for branch in told.branches:
            self.recorded.setdefault(branch.id, branch)
        assert self.recorded == {branch.id: branch for branch in self.timeline.discarded_branches}

    @rule()
    def move_to_another_process(self) -> None:
        self.timeline = Timeline.model_validate_json(self.timeline.model_dump_json())

    # --- what the rules say on paper -------------------------------------------------------------

    def refusal_of(self, command: SendMessage) -> RejectionCode | None:
        """Why a message must be refused, or None."""
        paper = self.paper
        reasons: list[tuple[RejectionCode, bool]] = [
            ("validation_error", not command.text.strip()),
            ("too_large", len(command.text) > MAX_TEXT_CHARACTERS),
            ("too_large", len(command.message_id or "") > MAX_LABEL_CHARACTERS),
            ("turn_in_progress", paper.is_busy and command.on_busy in (None, "reject")),
            ("queue_full", paper.is_busy and command.on_busy != "rollback" and len(paper.queue) >= MAX_QUEUED_MESSAGES),
        ]
        return self.may_not(command.expected_revision) or next((code for code, holds in reasons if holds), None)

    def give(self, command: Rewind, refusal: RejectionCode | None, shown: int | None) -> None:
        """Rewind, and note that so many turns are seen now."""
        before = self.timeline
        refusal = self.may_not(command.expected_revision) or refusal
        if self.obeys(refusal, lambda: rewind(before, command, at=self.tick())):
            self.accepted()
            self.paper.shown = shown
            self.paper.drop_queue()
            self.paper.untold_facts.append("rewound")


TestAnyOrderOfCommands = SessionMachine.TestCase
# The same examples on every machine; `max_examples` can be raised by hand when the rules are changed.
TestAnyOrderOfCommands.settings = settings(
    max_examples=120, stateful_step_count=40, derandomize=True, deadline=None, database=None
)
