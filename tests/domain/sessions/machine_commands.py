"""The rules of the state machine that take a session another way than onwards, or come after its end."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from domain.rejections import RejectionCode
from domain.sessions.command_handlers import (
    MAX_LABEL_CHARACTERS,
    MAX_TEXT_CHARACTERS,
    cancel,
    edit,
    regenerate,
    restore,
)
from domain.sessions.commands import CancelTurn, EditMessage, Regenerate, RestoreBranch
from domain.sessions.timeline import AuxiliaryCall
from domain.sessions.turn_completion import record_auxiliary_call, record_extraction
from domain.turns.engine import ExtractionResult
from tests.domain.sessions.session_and_model import SessionOnPaper
from tests.support.command_values import MESSAGE_IDS, ODD_TEXTS, PICKS, REVISIONS, TEXTS, TOKENS
from tests.support.conversation import spent
from tests.support.session_model import usd


class OtherWays(SessionOnPaper):
    """Edits, regenerates, cancels, restores, and buys what is no turn."""

    @precondition(lambda self: self.paper.branch and self.paper.reason is None)
    @rule(pick=PICKS, text=st.one_of(st.none(), TEXTS))
    def change(self, pick: int, text: str | None) -> None:
        turn_id = self.paper.branch[pick % len(self.paper.branch)]
        if text is None or self.paper.lines[turn_id].text is None:
            self.regenerate(Regenerate(turn_id=turn_id))
        else:
            self.edit(EditMessage(turn_id=turn_id, text=text))

    @rule(pick=PICKS, text=st.one_of(st.none(), ODD_TEXTS), message_id=MESSAGE_IDS, expected=REVISIONS)
    def change_anything(self, pick: int, text: str | None, message_id: str | None, expected: str) -> None:
        anywhere = [*self.paper.lines, "unknown"]
        turn_id, revision = anywhere[pick % len(anywhere)], self.revision(expected)
        if text is None:
            self.regenerate(Regenerate(turn_id=turn_id, message_id=message_id, expected_revision=revision))
        else:
            self.edit(EditMessage(turn_id=turn_id, text=text, message_id=message_id, expected_revision=revision))

    def edit(self, command: EditMessage) -> None:
        paper, before = self.paper, self.timeline
        is_active = command.turn_id in paper.branch
        reasons: list[tuple[RejectionCode, bool]] = [
            ("turn_not_found", not is_active),
            ("validation_error", is_active and paper.lines[command.turn_id].text is None),
            ("validation_error", not command.text.strip()),
            ("too_large", len(command.text) > MAX_TEXT_CHARACTERS),
            ("too_large", len(command.message_id or "") > MAX_LABEL_CHARACTERS),
        ]
        refusal = self.may_not(command.expected_revision) or next((code for code, holds in reasons if holds), None)
        asked = ("edit", command.turn_id, command.text)
        opened = self.opens(
            command, asked, refusal, lambda turn_id: edit(before, command, turn_id=turn_id, at=self.tick())
        )
        if opened is not None:
            paper.open_in_place_of(command.turn_id, opened, command.text)

    def regenerate(self, command: Regenerate) -> None:
        paper, before = self.paper, self.timeline
        reasons: list[tuple[RejectionCode, bool]] = [
            ("turn_not_found", command.turn_id not in paper.branch),
            ("too_large", len(command.message_id or "") > MAX_LABEL_CHARACTERS),
        ]
        refusal = self.may_not(command.expected_revision) or next((code for code, holds in reasons if holds), None)
        opened = self.opens(
            command,
            ("regenerate", command.turn_id),
            refusal,
            lambda turn_id: regenerate(before, command, turn_id=turn_id, at=self.tick()),
        )
        if opened is not None:
            paper.open_in_place_of(command.turn_id, opened, paper.lines[command.turn_id].text)

    @rule(expected=REVISIONS)
    def cancel(self, expected: str) -> None:
        paper, before = self.paper, self.timeline
        command = CancelTurn(expected_revision=self.revision(expected))
        refusal = self.may_not(command.expected_revision) or (None if paper.is_busy else "turn_not_pending")
        if not self.obeys(refusal, lambda: cancel(before, command, at=self.tick())):
            return
        if paper.seen[-1] in paper.stopping:
            assert self.timeline is before, "cancelling again must change nothing"
            return
        self.accepted()
        paper.stop(paper.seen[-1])

    @precondition(lambda self: self.paper.given_up)
    @rule(pick=PICKS, expected=st.sampled_from(["none", "right", "right", "older"]))
    def restore(self, pick: int, expected: str) -> None:
        place = pick % len(self.paper.given_up)
        command = RestoreBranch(
            branch_id=self.timeline.discarded_branches[place].id, expected_revision=self.revision(expected)
        )
        before = self.timeline
        if self.obeys(self.may_not(command.expected_revision), lambda: restore(before, command, at=self.tick())):
            self.accepted()
            self.paper.restore(place)
            self.paper.untold_facts.append("branch_restored")

    @rule(pick=PICKS, expected=REVISIONS)
    def restore_what_is_not_discarded(self, pick: int, expected: str) -> None:
        branch_ids = ["br_unknown", f"br_{self.timeline.leaf_id}", *self.paper.lines]
        command = RestoreBranch(branch_id=branch_ids[pick % len(branch_ids)], expected_revision=self.revision(expected))
        before, refusal = self.timeline, self.may_not(self.revision(expected)) or "branch_not_found"
        assert not self.obeys(refusal, lambda: restore(before, command, at=self.tick()))

    @rule(tokens=TOKENS)
    def buy_beside_the_turns(self, tokens: int) -> None:
        before, aside = self.timeline, self.aside(tokens)
        assert self.obeys(None, lambda: record_auxiliary_call(before, aside, at=self.tick()))

    @precondition(lambda self: self.paper.reason is not None)
    @rule(tokens=TOKENS, error=st.sampled_from([None, "The model is away."]))
    def learn(self, tokens: int, error: str | None) -> None:
        before, aside = self.timeline, self.aside(tokens)
        extraction = ExtractionResult(values={} if error else {"guests": tokens}, error=error)
        assert self.obeys(None, lambda: record_extraction(before, aside, extraction, at=self.tick()))
        known = before.learned_context or {}
        assert self.timeline.learned_context == {**known, **extraction.values}
        if self.paper.seen:
            self.paper.touch(self.paper.seen[-1])

    def aside(self, tokens: int) -> AuxiliaryCall:
        """Work that used so many tokens, noted down."""
        aside_id = f"aside_{self.new_turn()}"
        self.paper.beside += tokens
        self.paper.untold_asides.append(aside_id)
        usage, cost = spent(tokens, usd(tokens))
        return AuxiliaryCall(
            id=aside_id, purpose="extraction", after_turn_id=None, created_at=self.tick(), usage=usage, cost=cost
        )
