"""Any commands in any order against a live session, with workers killed in between: a sheet of paper agrees after each.

LIVE_EXAMPLES=200 pytest tests/workflows/session/test_live_machine.py     for a longer look
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from contracts.sessions import SendMessageResult
from domain.sessions.commands import CancelTurn, EditMessage, OnBusy, Regenerate, RestoreBranch, SendMessage
from domain.sessions.views import SessionHead
from domain.turns.turn import Turn
from store.database.connection import Database
from tests.support.provider import Gate, ModelProvider
from tests.support.session_stack import QUICK, SessionHandle
from tests.support.waiting import eventually
from tests.workflows.session import live_commands as commands
from tests.workflows.session.live_comparison import difference, differences, require_contexts
from tests.workflows.session.live_fork import fork_and_talk
from tests.workflows.session.live_model import No, Sheet
from tests.workflows.session.live_stack import (
    ControlledModel,
    LiveStack,
    all_of,
    code_of,
    figures_of,
    live_stack,
    outcomes_of,
)

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("LIVE_EXAMPLES", "6"))
STEPS = 30
SOON_MISSED = QUICK.model_copy(update={"heartbeat": 2.0})
PICKS = st.integers(min_value=0, max_value=99)
EXPECTED = st.sampled_from([None, None, 0, -1])
"""What a command expects of the revision: nothing, the right one, or the one before."""
ON_BUSY = st.sampled_from([None, "reject", "enqueue", "interrupt", "rollback"])

PROFILE = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    database=None,
    derandomize="LIVE_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # making a failing example smaller would take an hour; its steps are printed
)

Result = TypeVar("Result")


def is_open(machine: "LiveSession") -> bool:
    """The one condition of rules. What else a rule needs it looks for itself, for Hypothesis wants to be offered the
    same choices when it begins alike again, and who wins a race differs."""
    return not machine.sheet.ended


class LiveSession(RuleBasedStateMachine):
    """Everything that can be asked of a session, and what can happen to its worker."""

    stack: LiveStack

    @initialize()
    def open(self) -> None:
        self.sheet = Sheet()
        self.offered = 0
        self.was_killed = False
        self.asked_to_end = 0
        self.model = ControlledModel(f"live-{uuid4().hex[:8]}")
        self.stack.provider.add(self.model)
        self.session: SessionHandle = self.run(self.stack.sessions.open(model=self.model.string, timing=SOON_MISSED))
        view = self.run(self.session.timeline())
        self.sheet.open_greeting(view.turns[0].id)
        self.agree()

    # --- saying something ------------------------------------------------------------------------

    @precondition(is_open)
    @rule(on_busy=ON_BUSY, expected=EXPECTED, fate=st.sampled_from(["answered", "answered", "held", "held", "fails"]))
    def say(self, on_busy: OnBusy | None, expected: int | None, fate: str) -> None:
        text, revision = self.new_text(fate), self.revision(expected)
        told = self.told(
            lambda: self.sheet.check_say(revision, on_busy),
            lambda: self.session.say(
                text, message_id=f"id of {text}", expected_revision=revision, on_busy=on_busy, wait=False
            ),
        )
        if told is not None:
            self.sheet.known[f"id of {text}"] = (told.turn.id, text)
            self.sheet.say(told.turn.id, text, on_busy)
        self.agree()

    @precondition(is_open)
    @rule(on_busy=st.sampled_from([None, "interrupt", "rollback"]), fate=st.sampled_from(["answered", "held"]))
    def signal(self, on_busy: OnBusy | None, fate: str) -> None:
        """A signal says no more than that it was heard; the same message by update tells its turn."""
        text = self.new_text(fate)
        command = SendMessage(text=text, message_id=f"id of {text}", on_busy=on_busy)
        try:
            self.sheet.check_say(None, on_busy or "enqueue")
            refused = False
        except No:
            refused = True
        self.run(self.session.handle.signal("user_message", command.model_dump(exclude_none=True, exclude={"wait"})))
        if not refused:
            told = self.run(self.session.say(text, message_id=f"id of {text}", wait=False))
            self.sheet.known[f"id of {text}"] = (told.turn.id, text)
            self.sheet.say(told.turn.id, text, on_busy or "enqueue")
        self.agree()

    @precondition(is_open)
    @rule(pick=PICKS)
    def fork(self, pick: int) -> None:
        """The source of a fork stays as it is, whatever is said in the fork."""
        path = self.sheet.path(self.turn(pick, anywhere=True))
        if all(self.sheet.entries[each].status != "pending" for each in path):
            self.run(fork_and_talk(self.session, path))
        self.agree()

    @precondition(is_open)
    @rule(pick=PICKS, same=st.booleans(), times=st.integers(min_value=1, max_value=3))
    def repeat(self, pick: int, same: bool, times: int) -> None:
        """A message once more, also at the same moment: it joins its turn, or is found to say something else."""
        if not self.sheet.known:
            return
        message_id, (turn_id, text) = self.picked(pick, list(self.sheet.known.items()))
        repeats = [
            self.session.say(text if same else f"not {text}", message_id=message_id, wait=False) for _ in range(times)
        ]
        for outcome in self.run(outcomes_of(repeats)):
            if not same:
                assert code_of(outcome) == "idempotency_mismatch"
            elif turn_id in self.sheet.superseded:
                assert code_of(outcome) == "superseded"
            else:
                assert isinstance(outcome, SendMessageResult), outcome
                assert outcome.turn.id == turn_id
        self.agree()

    @precondition(is_open)
    @rule(pick=PICKS, anywhere=st.booleans(), expected=EXPECTED, fate=st.sampled_from(["answered", "held", "fails"]))
    def edit(self, pick: int, anywhere: bool, expected: int | None, fate: str) -> None:
        turn_id, text, revision = self.turn(pick, anywhere), self.new_text(fate), self.revision(expected)
        command = EditMessage(
            turn_id=turn_id, text=text, message_id=f"edit {text}", expected_revision=revision, wait=False
        )
        told = self.told(lambda: self.sheet.check_edit(revision, turn_id), lambda: commands.edit(self.session, command))
        if told is not None:
            self.sheet.replace(turn_id, told.turn.id, text)
        self.agree()

    @precondition(is_open)
    @rule(pick=PICKS, anywhere=st.booleans(), expected=EXPECTED, holds=st.booleans())
    def regenerate(self, pick: int, anywhere: bool, expected: int | None, holds: bool) -> None:
        turn_id, revision = self.turn(pick, anywhere), self.revision(expected)
        text = self.sheet.entries[turn_id].text
        self.offered += 1
        command = Regenerate(
            turn_id=turn_id, message_id=f"again {self.offered}", expected_revision=revision, wait=False
        )
        accepted = turn_id in self.sheet.active and revision in (None, self.sheet.revision)
        if holds and accepted and text is not None and text not in self.sheet.held | self.sheet.failing:
            self.hold(text)
        told = self.told(
            lambda: self.sheet.check_active(revision, turn_id), lambda: commands.regenerate(self.session, command)
        )
        if told is not None:
            self.sheet.replace(turn_id, told.turn.id, text)
        self.agree()

    # --- moving about ----------------------------------------------------------------------------

    @precondition(is_open)
    @rule(pick=PICKS, anywhere=st.booleans(), before=st.booleans(), expected=EXPECTED)
    def rewind(self, pick: int, anywhere: bool, before: bool, expected: int | None) -> None:
        turn_id, revision = self.turn(pick, anywhere), self.revision(expected)
        told = self.told(
            lambda: self.sheet.check_active(revision, turn_id),
            lambda: self.session.rewind(turn_id, before=before, expected_revision=revision),
        )
        if told is not None:
            self.sheet.rewind(turn_id, before=before)
        self.agree()

    @precondition(is_open)
    @rule()
    def clear_the_cursor(self) -> None:
        self.told(lambda: None, lambda: self.session.rewind(None))
        self.sheet.rewind(None, before=False)
        self.agree()

    @precondition(is_open)
    @rule(expected=EXPECTED)
    def cancel(self, expected: int | None) -> None:
        revision = self.revision(expected)
        command = CancelTurn(expected_revision=revision)
        told = self.told(lambda: self.sheet.check_cancel(revision), lambda: commands.cancel(self.session, command))
        if told is not None:
            self.sheet.cancel()
        self.agree()

    @precondition(is_open)
    @rule(pick=PICKS, expected=EXPECTED)
    def restore(self, pick: int, expected: int | None) -> None:
        if not self.sheet.given_up:
            return
        place = pick % len(self.sheet.given_up)
        view = self.run(self.session.timeline())
        revision = self.revision(expected)
        command = RestoreBranch(branch_id=view.discarded_branches[place].id, expected_revision=revision)
        told = self.told(lambda: self.sheet.require(revision), lambda: commands.restore(self.session, command))
        if told is not None:
            self.sheet.restore(place)
        self.agree()

    @precondition(is_open)
    @rule()
    def end(self) -> None:
        """The third time it is really meant: else most sessions would be over after a few commands."""
        self.asked_to_end += 1
        if self.asked_to_end == 3:
            self.told(lambda: None, lambda: self.session.end("done"))
            self.sheet.end("done")
            self.agree()

    @rule(on_busy=ON_BUSY)
    def come_too_late(self, on_busy: OnBusy | None) -> None:
        if self.sheet.ended and self.sheet.pending:  # else its workflow is closed, and the API answers
            text = self.new_text("answered")
            self.told(
                lambda: self.sheet.check_say(None, on_busy), lambda: self.session.say(text, on_busy=on_busy, wait=False)
            )
            self.agree()

    # --- at the same moment ----------------------------------------------------------------------

    @precondition(is_open)
    @rule(count=st.integers(min_value=2, max_value=5), with_a_rewind=st.booleans())
    def race(self, count: int, with_a_rewind: bool) -> None:
        """Commands that expect the same revision: one wins, and the others are told both numbers."""
        revision = self.sheet.revision
        texts = [self.new_text("answered") for _ in range(count)]
        racing: list[Coroutine[Any, Any, SendMessageResult | SessionHead]] = [
            self.session.say(
                each, message_id=f"id of {each}", expected_revision=revision, on_busy="rollback", wait=False
            )
            for each in texts
        ]
        first = self.sheet.active[0]
        if with_a_rewind:
            racing.append(self.session.rewind(first, expected_revision=revision))
        outcomes = self.run(outcomes_of(racing))
        [winner] = [place for place, outcome in enumerate(outcomes) if not isinstance(outcome, BaseException)]
        for place, outcome in enumerate(outcomes):
            if place != winner:
                figures = figures_of(outcome, "revision_conflict")
                assert figures["expected_revision"] == revision
                assert figures["actual_revision"] > revision
        won = outcomes[winner]
        if isinstance(won, SendMessageResult):
            self.sheet.known[f"id of {texts[winner]}"] = (won.turn.id, texts[winner])
            self.sheet.say(won.turn.id, texts[winner], "rollback")
        else:
            self.sheet.rewind(first, before=False)
        self.agree()

    @precondition(is_open)
    @rule(count=st.integers(min_value=2, max_value=6))
    def crowd(self, count: int) -> None:
        """Messages that are put in the queue together: all of them, in the order of their revisions."""
        if not self.sheet.is_busy:
            return
        room_left = 20 - len(self.sheet.queue)
        texts = [self.new_text("answered") for _ in range(min(count, room_left))]
        crowding = [self.session.say(each, message_id=f"id of {each}", on_busy="enqueue", wait=False) for each in texts]
        told = self.run(all_of(crowding))
        for text, result in sorted(zip(texts, told, strict=True), key=lambda each: each[1].head.revision):
            self.sheet.known[f"id of {text}"] = (result.turn.id, text)
            self.sheet.say(result.turn.id, text, "enqueue")
        self.agree()

    # --- what models and workers do --------------------------------------------------------------

    @rule(pick=PICKS)
    def let_go(self, pick: int) -> None:
        if not self.sheet.pending:
            return
        text = self.picked(pick, self.sheet.pending).text
        assert text is not None
        self.sheet.let_go(text)
        self.open_gate(text)
        self.agree()

    @rule()
    def kill_the_worker(self) -> None:
        """Once in a session, for it takes seconds until another worker is there: which asks for every reply again."""
        if self.was_killed or not self.sheet.pending:
            return
        self.was_killed = True
        self.run(self.stack.worker.kill())
        for text in self.sheet.held:
            self.model.gates[text] = Gate()
        self.run(self.stack.worker.start())
        self.agree()

    def teardown(self) -> None:
        """At the end everything is answered, billed once and recorded, as the sheet has it."""
        if not hasattr(self, "session"):
            return
        for text in list(self.sheet.held):
            self.sheet.let_go(text)
            self.open_gate(text)
        if not self.sheet.ended:
            self.agree()
            self.run(self.session.end("done"))
            self.sheet.end("done")
        result = self.run(self.session.handle.result())
        assert (result.revision, result.turns) == (self.sheet.revision, len(self.sheet.entries))
        ledger = self.run(self.session.billed(len(self.sheet.entries)))
        assert {row.turn_id for row in ledger} == set(self.sheet.entries)
        if self.sheet.head:
            self.require_same(self.run(self.session.stored_turns(self.sheet.head)), self.sheet.seen)
        stored = {(each.rewound_from_turn_id, each.leaf_turn_id) for each in self.run(self.session.stored_branches())}
        assert stored == set(self.sheet.given_up)
        require_contexts(self.model.journal, self.sheet)

    # --- agreement -------------------------------------------------------------------------------

    def agree(self) -> None:
        """Wait until the session is as the sheet says. Raises AssertionError with what differs when it never is."""
        for entry in self.sheet.pending:
            if entry.text in self.sheet.held:
                self.run(self.model.gates[entry.text].reached())
        last: list[str] = []

        async def is_same() -> bool:
            nonlocal last
            last = differences(await self.session.timeline(), self.sheet)
            return not last

        try:
            self.run(eventually(is_same, within=15.0))
        except AssertionError:
            raise AssertionError("the session and the sheet disagree:\n" + "\n".join(last)) from None

    def require_same(self, turns: list[Turn], ids: list[str]) -> None:
        assert [turn.id for turn in turns] == ids
        assert [wrong for turn in turns if (wrong := difference(turn, self.sheet))] == []

    # --- small change ----------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.stack.run(work)

    def told(self, check: Callable[[], None], ask: Callable[[], Coroutine[Any, Any, Result]]) -> Result | None:
        """What a command gives; nothing when it is refused, which must be as the sheet says."""
        wanted: str | None = None
        try:
            check()
        except No as no:
            wanted = no.code
        [outcome] = self.run(outcomes_of([ask()]))
        if wanted is None:
            assert not isinstance(outcome, BaseException), f"refused with {outcome!r}"
            return outcome
        assert code_of(outcome) == wanted
        return None

    def new_text(self, fate: str) -> str:
        """Words that nobody has said before, and what becomes of them."""
        self.offered += 1
        text = f"Message {self.offered}, of which a half is long enough"
        if fate == "held":
            self.hold(text)
        if fate == "fails":
            self.model.failing.add(text)
            self.sheet.failing.add(text)
        return text

    def hold(self, text: str) -> None:
        """Hold the reply to a text back, from now on."""
        self.sheet.held.add(text)
        self.model.gates[text] = Gate()

    def open_gate(self, text: str) -> None:
        self.stack.loop.call_soon_threadsafe(self.model.gates.pop(text).open)

    def turn(self, pick: int, anywhere: bool) -> str:
        return self.picked(pick, list(self.sheet.entries) if anywhere else self.sheet.active)

    def picked(self, pick: int, choices: list[Result]) -> Result:
        return choices[pick % len(choices)]

    def revision(self, expected: int | None) -> int | None:
        return None if expected is None else self.sheet.revision + expected


@pytest.mark.timeout(3_600)
async def test_any_order_of_commands(database: Database, provider: ModelProvider) -> None:
    async with live_stack(database, provider) as stack:
        await asyncio.to_thread(
            run_state_machine_as_test, type("LiveSession", (LiveSession,), {"stack": stack}), settings=PROFILE
        )
