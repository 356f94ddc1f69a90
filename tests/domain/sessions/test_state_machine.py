"""Arbitrary sequences of commands, compared with the reference model of the timeline."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from domain.rejections import CommandRejected, RejectionCode
from domain.sessions.command_handlers import end, open_greeting, rewind, send
from domain.sessions.commands import EndSession, OnBusy, Rewind, SendMessage
from domain.sessions.timeline import Timeline, record_rejection
from domain.sessions.turn_completion import take_unrecorded
from tests.domain.sessions.branch_commands import BranchCommands
from tests.domain.sessions.timeline_machine import CLOSINGS
from tests.support.command_values import MESSAGE_IDS, ODD_TEXTS, PICKS, RARELY, REASONS, REVISIONS, TEXTS, TOKENS, WORDS

ON_BUSY = st.sampled_from([None, "reject", "enqueue", "interrupt", "rollback"])


class SessionMachine(BranchCommands):
    """Does everything that people, models and crashes can do to a session, in any order."""

    @precondition(lambda self: len(self.model.turns) < 2)
    @rule()
    def greet(self) -> None:
        turn_id = self.new_turn()
        rejection: RejectionCode | None = None
        if self.model.reason is not None:
            rejection = "session_ended"
        elif self.model.turns:
            rejection = "validation_error"
        if self.is_accepted(rejection, lambda: open_greeting(self.timeline, turn_id=turn_id, at=self.tick())):
            self.model.greet(turn_id)

    @precondition(lambda self: self.model.reason is None)
    @rule(text=TEXTS)
    def say(self, text: str) -> None:
        self.send(SendMessage(text=text, on_busy="enqueue"))

    @rule(text=ODD_TEXTS, message_id=MESSAGE_IDS, expected=REVISIONS, on_busy=ON_BUSY)
    def say_anything(self, text: str, message_id: str | None, expected: str, on_busy: OnBusy | None) -> None:
        self.send(
            SendMessage(text=text, message_id=message_id, expected_revision=self.revision(expected), on_busy=on_busy)
        )

    @precondition(lambda self: self.model.is_busy and self.model.reason is None)
    @rule(texts=st.lists(TEXTS, min_size=1, max_size=3), on_busy=st.sampled_from(["interrupt", "rollback"]))
    def break_in(self, texts: list[str], on_busy: OnBusy) -> None:
        for text in texts:
            self.send(SendMessage(text=text, on_busy=on_busy))

    @rule(text=TEXTS, message_id=st.sampled_from(["m1", "m2", "m3"]), expected=REVISIONS)
    def say_again(self, text: str, message_id: str, expected: str) -> None:
        expected_revision = self.revision(expected) if message_id in self.model.known else None
        self.send(SendMessage(text=text, message_id=message_id, expected_revision=expected_revision, on_busy="enqueue"))

    @precondition(lambda self: self.model.turns)
    @rule(pick=PICKS, text=TEXTS, on_busy=ON_BUSY, expected=REVISIONS)
    def say_after(self, pick: int, text: str, on_busy: OnBusy | None, expected: str) -> None:
        anywhere = [*self.model.turns, "unknown"]
        after, revision = anywhere[pick % len(anywhere)], self.revision(expected)
        self.send(SendMessage(text=text, on_busy=on_busy, after_turn_id=after, expected_revision=revision))

    def send(self, command: SendMessage) -> None:
        before = self.timeline
        opened = self.opens(command, lambda turn_id: send(before, command, turn_id=turn_id, at=self.tick()))
        if opened is not None:
            self.model.send(command, opened)

    @precondition(lambda self: self.model.reason is None and not self.model.is_busy)
    @rule(texts=st.lists(TEXTS, min_size=1, max_size=3), tokens=TOKENS)
    def exchange(self, texts: list[str], tokens: int) -> None:
        for text in texts:
            if self.model.reason is None:
                self.send(SendMessage(text=text))
                self.close_turn(self.model.visible[-1], "complete", ("Certainly.",), tokens, ends=False)

    @precondition(lambda self: self.model.pending)
    @rule(
        pick=PICKS,
        how=st.sampled_from(sorted(CLOSINGS)),
        said=WORDS,
        tokens=TOKENS,
        ends=RARELY,
    )
    def close(self, pick: int, how: str, said: tuple[str, ...], tokens: int, ends: bool) -> None:
        pending = sorted(self.model.pending)
        self.close_turn(pending[pick % len(pending)], how, said, tokens, ends=ends and how == "complete")

    @precondition(lambda self: self.model.branch and self.model.reason is None)
    @rule(pick=PICKS, before=st.booleans())
    def rewind(self, pick: int, before: bool) -> None:
        self.give(Rewind(turn_id=self.model.branch[pick % len(self.model.branch)], before=before))

    @rule(pick=PICKS, before=RARELY, expected=REVISIONS)
    def rewind_anywhere(self, pick: int, before: bool, expected: str) -> None:
        anywhere = [*self.model.turns, "unknown"]
        turn_id = anywhere[pick % len(anywhere)]
        self.give(Rewind(turn_id=turn_id, before=before, expected_revision=self.revision(expected)))

    @rule(before=RARELY, expected=REVISIONS)
    def clear_cursor(self, before: bool, expected: str) -> None:
        self.give(Rewind(turn_id=None, before=before, expected_revision=self.revision(expected)))

    @rule(reason=REASONS, expected=REVISIONS, really=st.sampled_from([False, False, False, True]))
    def end(self, reason: str, expected: str, really: bool) -> None:
        if not really:  # else most sessions would be over after a few commands
            return
        command = EndSession(reason=reason, expected_revision=self.revision(expected))
        before = self.timeline
        if not self.is_accepted(self.model.rejection_of(command), lambda: end(before, command, at=self.tick())):
            return
        if self.model.reason is not None:
            assert self.timeline is before, "ending again must change nothing"
        self.model.end(reason)

    @rule()
    def note_rejection(self) -> None:
        rejection = CommandRejected("turn_not_found", "There is no such turn.", turn_id="t99").rejection
        before = self.timeline
        assert self.is_accepted(None, lambda: record_rejection(before, "rewind_to", rejection, None, at=self.tick()))
        self.model.note_event()
        noted = sum(len(turn.events) for turn in self.timeline.turns.values())
        assert noted == sum(len(turn.events) for turn in before.turns.values()) + bool(before.turns)

    @rule()
    def take_unrecorded(self) -> None:
        model = self.model
        left, taken = take_unrecorded(self.timeline)
        assert list(taken.turn_ids) == model.unrecorded_turns
        assert [fact.type for fact in taken.facts] == model.unrecorded_facts
        assert [call.id for call in taken.auxiliary_calls] == model.unrecorded_calls
        assert left.unrecorded.is_empty
        assert left.model_copy(update={"unrecorded": taken}) == self.timeline
        self.timeline = left
        model.unrecorded_turns, model.unrecorded_facts, model.unrecorded_calls = [], [], []
        for branch_id in taken.restored_branch_ids:
            self.recorded.pop(branch_id, None)
        for branch in taken.branches:
            self.recorded.setdefault(branch.id, branch)
        assert self.recorded == {branch.id: branch for branch in self.timeline.discarded_branches}

    @rule()
    def move_to_another_process(self) -> None:
        self.timeline = Timeline.model_validate_json(self.timeline.model_dump_json())

    def give(self, command: Rewind) -> None:
        before = self.timeline
        if self.is_accepted(self.model.rejection_of(command), lambda: rewind(before, command, at=self.tick())):
            self.model.rewind(command)


TestAnyOrderOfCommands = SessionMachine.TestCase
# The same examples on every machine; `max_examples` can be raised by hand when the rules are changed.
TestAnyOrderOfCommands.settings = settings(
    max_examples=120, stateful_step_count=40, derandomize=True, deadline=None, database=None
)
