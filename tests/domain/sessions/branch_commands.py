"""Rules of the state machine for edit, regenerate, cancel, restore and auxiliary model calls."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from domain.sessions.command_handlers import cancel, edit, regenerate, restore
from domain.sessions.commands import CancelTurn, EditMessage, Regenerate, RestoreBranch
from domain.sessions.timeline import AuxiliaryCall
from domain.sessions.turn_completion import record_auxiliary_call, record_extraction
from domain.turns.engine import ExtractionResult
from tests.domain.sessions.timeline_machine import TimelineMachine
from tests.support.command_values import MESSAGE_IDS, ODD_TEXTS, PICKS, REVISIONS, TEXTS, TOKENS
from tests.support.conversation import spent
from tests.support.reference_timeline import usd


class BranchCommands(TimelineMachine):
    """Edits, regenerates, cancels, restores, and makes auxiliary model calls."""

    @precondition(lambda self: self.model.branch and self.model.reason is None)
    @rule(pick=PICKS, text=st.one_of(st.none(), TEXTS))
    def change(self, pick: int, text: str | None) -> None:
        turn_id = self.model.branch[pick % len(self.model.branch)]
        if text is None or self.model.turns[turn_id].text is None:
            self.regenerate(Regenerate(turn_id=turn_id))
        else:
            self.edit(EditMessage(turn_id=turn_id, text=text))

    @rule(pick=PICKS, text=st.one_of(st.none(), ODD_TEXTS), message_id=MESSAGE_IDS, expected=REVISIONS)
    def change_anything(self, pick: int, text: str | None, message_id: str | None, expected: str) -> None:
        anywhere = [*self.model.turns, "unknown"]
        turn_id, revision = anywhere[pick % len(anywhere)], self.revision(expected)
        if text is None:
            self.regenerate(Regenerate(turn_id=turn_id, message_id=message_id, expected_revision=revision))
        else:
            self.edit(EditMessage(turn_id=turn_id, text=text, message_id=message_id, expected_revision=revision))

    def edit(self, command: EditMessage) -> None:
        before = self.timeline
        opened = self.opens(command, lambda turn_id: edit(before, command, turn_id=turn_id, at=self.tick()))
        if opened is not None:
            self.model.edit(command, opened)

    def regenerate(self, command: Regenerate) -> None:
        before = self.timeline
        opened = self.opens(command, lambda turn_id: regenerate(before, command, turn_id=turn_id, at=self.tick()))
        if opened is not None:
            self.model.regenerate(command, opened)

    @rule(expected=REVISIONS, message_id=st.one_of(st.none(), MESSAGE_IDS))
    def cancel(self, expected: str, message_id: str | None) -> None:
        before = self.timeline
        command = CancelTurn(expected_revision=self.revision(expected), message_id=message_id)
        if not self.is_accepted(self.model.rejection_of(command), lambda: cancel(before, command, at=self.tick())):
            return
        if self.model.visible[-1] in self.model.stopping:
            assert self.timeline is before, "cancelling again must change nothing"
        self.model.cancel()

    @precondition(lambda self: self.model.discarded)
    @rule(pick=PICKS, expected=st.sampled_from(["none", "right", "right", "older"]))
    def restore(self, pick: int, expected: str) -> None:
        place = pick % len(self.model.discarded)
        command = RestoreBranch(
            branch_id=self.timeline.discarded_branches[place].id, expected_revision=self.revision(expected)
        )
        before = self.timeline
        if self.is_accepted(self.model.rejection_of(command), lambda: restore(before, command, at=self.tick())):
            self.model.restore(place)

    @rule(pick=PICKS, expected=REVISIONS)
    def restore_what_is_not_discarded(self, pick: int, expected: str) -> None:
        branch_ids = ["br_unknown", f"br_{self.timeline.leaf_id}", *self.model.turns]
        command = RestoreBranch(branch_id=branch_ids[pick % len(branch_ids)], expected_revision=self.revision(expected))
        before, rejection = self.timeline, self.model.rejection_of(command) or "branch_not_found"
        assert not self.is_accepted(rejection, lambda: restore(before, command, at=self.tick()))

    @rule(tokens=TOKENS)
    def call_a_model_beside_the_turns(self, tokens: int) -> None:
        before, call = self.timeline, self.auxiliary_call(tokens)
        assert self.is_accepted(None, lambda: record_auxiliary_call(before, call, at=self.tick()))

    @precondition(lambda self: self.model.reason is not None)
    @rule(tokens=TOKENS, error=st.sampled_from([None, "The model is away."]))
    def learn(self, tokens: int, error: str | None) -> None:
        before, call = self.timeline, self.auxiliary_call(tokens)
        extraction = ExtractionResult(values={} if error else {"guests": tokens}, error=error)
        assert self.is_accepted(None, lambda: record_extraction(before, call, extraction, at=self.tick()))
        known = before.learned_context or {}
        assert self.timeline.learned_context == {**known, **extraction.values}
        if self.model.head is not None:
            self.model.touch(self.model.head)

    def auxiliary_call(self, tokens: int) -> AuxiliaryCall:
        """An auxiliary model call that used so many tokens."""
        call_id = f"call_{self.new_turn()}"
        self.model.note_auxiliary_call(call_id, tokens)
        usage, cost = spent(tokens, usd(tokens))
        return AuxiliaryCall(
            id=call_id, purpose="extraction", after_turn_id=None, created_at=self.tick(), usage=usage, cost=cost
        )
