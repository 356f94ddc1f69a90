"""Arbitrary commands on a live session, with killed workers, compared with the reference model after each.

LIVE_EXAMPLES=200 pytest tests/workflows/session/test_live_machine.py     for a longer run
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
from domain.sessions.commands import (
    CancelTurn,
    EditMessage,
    EndSession,
    OnBusy,
    Regenerate,
    RestoreBranch,
    Rewind,
    SendMessage,
)
from domain.sessions.views import SessionHead
from domain.turns.turn import Turn
from store.database.connection import Database
from tests.support.provider import Gate, ModelProvider
from tests.support.reference_timeline import MAX_QUEUED_MESSAGES, Command
from tests.support.session_stack import QUICK, SessionHandle
from tests.support.waiting import eventually
from tests.workflows.session import live_commands as commands
from tests.workflows.session.live_comparison import difference, differences, require_contexts
from tests.workflows.session.live_fork import fork_and_talk
from tests.workflows.session.live_stack import (
    ControlledModel,
    LiveStack,
    all_of,
    code_of,
    figures_of,
    live_stack,
    outcomes_of,
)
from tests.workflows.session.live_timeline import LiveTimeline

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("LIVE_EXAMPLES", "6"))
STEPS = 30
SOON_MISSED = QUICK.model_copy(update={"heartbeat": 2.0})
PICKS = st.integers(min_value=0, max_value=99)
EXPECTED = st.sampled_from([None, None, 0, -1])
"""The revision a command expects: none, the right one, or the one before."""
ON_BUSY = st.sampled_from([None, "reject", "enqueue", "interrupt", "rollback"])

PROFILE = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    database=None,
    derandomize="LIVE_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # shrinking a failing example would take an hour; its steps are printed
)

Result = TypeVar("Result")


def is_open(machine: "LiveSession") -> bool:
    """True until the session ends: the only precondition of rules.

    Each rule checks the rest itself: Hypothesis must get the same choices when it repeats the same steps, and the
    winner of a race differs.
    """
    return machine.model.reason is None


class LiveSession(RuleBasedStateMachine):
    """All commands of a session, and the death of its worker."""

    stack: LiveStack

    @initialize()
    def open(self) -> None:
        self.model = LiveTimeline()
        self.offered = 0
        self.was_killed = False
        self.asked_to_end = 0
        self.replies = ControlledModel(f"live-{uuid4().hex[:8]}")
        self.stack.provider.add(self.replies)
        self.session: SessionHandle = self.run(self.stack.sessions.open(model=self.replies.string, timing=SOON_MISSED))
        view = self.run(self.session.timeline())
        self.model.greet(view.turns[0].id)
        self.agree()

    # --- saying something ------------------------------------------------------------------------

    @precondition(is_open)
    @rule(on_busy=ON_BUSY, expected=EXPECTED, fate=st.sampled_from(["answered", "answered", "held", "held", "fails"]))
    def say(self, on_busy: OnBusy | None, expected: int | None, fate: str) -> None:
        text = self.new_text(fate)
        command = SendMessage(
            text=text, message_id=f"id of {text}", expected_revision=self.revision(expected), on_busy=on_busy
        )
        result = self.given(command, lambda: self.sent(command))
        if result is not None:
            self.model.send(command, result.turn.id)
        self.agree()

    @precondition(is_open)
    @rule(on_busy=st.sampled_from([None, "interrupt", "rollback"]), fate=st.sampled_from(["answered", "held"]))
    def signal(self, on_busy: OnBusy | None, fate: str) -> None:
        """A signal returns nothing; the same message by update returns its turn."""
        text = self.new_text(fate)
        command = SendMessage(text=text, message_id=f"id of {text}", on_busy=on_busy)
        meant = command.model_copy(update={"on_busy": on_busy or "enqueue"})
        is_rejected = self.model.rejection_of(meant) is not None
        self.run(self.session.handle.signal("user_message", command.model_dump(exclude_none=True, exclude={"wait"})))
        if not is_rejected:
            result = self.run(self.session.say(text, message_id=f"id of {text}", wait=False))
            self.model.send(meant, result.turn.id)
        self.agree()

    @precondition(is_open)
    @rule(pick=PICKS)
    def fork(self, pick: int) -> None:
        """The source of a fork stays as it is, whatever is said in the fork."""
        path = self.model.path_to(self.turn(pick, anywhere=True))
        if not self.model.pending.intersection(path):
            self.run(fork_and_talk(self.session, path))
        self.agree()

    @precondition(is_open)
    @rule(pick=PICKS, same=st.booleans(), times=st.integers(min_value=1, max_value=3))
    def repeat(self, pick: int, same: bool, times: int) -> None:
        """Repeats of a message, also at the same moment: each joins its turn, or is rejected when its text differs."""
        sent = [
            (message_id, turn_id, asked[1])
            for message_id, (turn_id, asked) in self.model.known.items()
            if asked[0] == "send"
        ]
        if not sent:
            return
        message_id, turn_id, text = self.picked(pick, sent)
        repeats = [
            self.session.say(text if same else f"not {text}", message_id=message_id, wait=False) for _ in range(times)
        ]
        for outcome in self.run(outcomes_of(repeats)):
            if not same:
                assert code_of(outcome) == "idempotency_mismatch"
            elif turn_id in self.model.superseded:
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
        result = self.given(command, lambda: commands.edit(self.session, command))
        if result is not None:
            self.model.edit(command, result.turn.id)
        self.agree()

    @precondition(is_open)
    @rule(pick=PICKS, anywhere=st.booleans(), expected=EXPECTED, holds=st.booleans())
    def regenerate(self, pick: int, anywhere: bool, expected: int | None, holds: bool) -> None:
        turn_id, revision = self.turn(pick, anywhere), self.revision(expected)
        text = self.model.turns[turn_id].text
        self.offered += 1
        command = Regenerate(
            turn_id=turn_id, message_id=f"again {self.offered}", expected_revision=revision, wait=False
        )
        accepted = self.model.rejection_of(command) is None
        if holds and accepted and text is not None and text not in self.model.held | self.model.failing:
            self.hold(text)
        result = self.given(command, lambda: commands.regenerate(self.session, command))
        if result is not None:
            self.model.regenerate(command, result.turn.id)
        self.agree()

    # --- moving on the timeline ----------------------------------------------------------------------------

    @precondition(is_open)
    @rule(pick=PICKS, anywhere=st.booleans(), before=st.booleans(), expected=EXPECTED)
    def rewind(self, pick: int, anywhere: bool, before: bool, expected: int | None) -> None:
        turn_id = self.turn(pick, anywhere)
        self.rewound(Rewind(turn_id=turn_id, before=before, expected_revision=self.revision(expected)))

    @precondition(is_open)
    @rule()
    def clear_the_cursor(self) -> None:
        assert self.rewound(Rewind(turn_id=None))

    @precondition(is_open)
    @rule(expected=EXPECTED)
    def cancel(self, expected: int | None) -> None:
        command = CancelTurn(expected_revision=self.revision(expected))
        if self.given(command, lambda: commands.cancel(self.session, command)) is not None:
            self.model.cancel()
        self.agree()

    @precondition(is_open)
    @rule(pick=PICKS, expected=EXPECTED)
    def restore(self, pick: int, expected: int | None) -> None:
        if not self.model.discarded:
            return
        place = pick % len(self.model.discarded)
        view = self.run(self.session.timeline())
        revision = self.revision(expected)
        command = RestoreBranch(branch_id=view.discarded_branches[place].id, expected_revision=revision)
        if self.given(command, lambda: commands.restore(self.session, command)) is not None:
            self.model.restore(place)
        self.agree()

    @precondition(is_open)
    @rule()
    def end(self) -> None:
        """Ends the session the third time: otherwise most sessions would end after a few commands."""
        self.asked_to_end += 1
        if self.asked_to_end == 3:
            assert self.given(EndSession(reason="done"), lambda: self.session.end("done")) is not None
            self.model.end("done")
            self.agree()

    @rule(on_busy=ON_BUSY)
    def come_too_late(self, on_busy: OnBusy | None) -> None:
        if self.model.reason is not None and self.model.pending:  # else its workflow is closed, and the API answers
            command = SendMessage(text=self.new_text("answered"), message_id=f"late {self.offered}", on_busy=on_busy)
            assert self.given(command, lambda: self.sent(command)) is None
            self.agree()

    # --- at the same moment ----------------------------------------------------------------------

    @precondition(is_open)
    @rule(count=st.integers(min_value=2, max_value=5), with_a_rewind=st.booleans())
    def race(self, count: int, with_a_rewind: bool) -> None:
        """Commands that expect the same revision: one wins, and the errors of the others name both revisions."""
        revision = self.model.revision
        texts = [self.new_text("answered") for _ in range(count)]
        sending = [
            SendMessage(text=each, message_id=f"id of {each}", expected_revision=revision, on_busy="rollback")
            for each in texts
        ]
        racing: list[Coroutine[Any, Any, SendMessageResult | SessionHead]] = [self.sent(each) for each in sending]
        first = self.model.branch[0]
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
            self.model.send(sending[winner], won.turn.id)
        else:
            self.model.rewind(Rewind(turn_id=first))
        self.agree()

    @precondition(is_open)
    @rule(count=st.integers(min_value=2, max_value=6))
    def crowd(self, count: int) -> None:
        """Messages that are queued at the same moment: all are accepted, in the order of their revisions."""
        if not self.model.is_busy:
            return
        places_left = MAX_QUEUED_MESSAGES - len(self.model.queue)
        texts = [self.new_text("answered") for _ in range(min(count, places_left))]
        crowd = [SendMessage(text=each, message_id=f"id of {each}", on_busy="enqueue") for each in texts]
        results = self.run(all_of([self.sent(each) for each in crowd]))
        for command, result in sorted(zip(crowd, results, strict=True), key=lambda each: each[1].head.revision):
            self.model.send(command, result.turn.id)
        self.agree()

    # --- what models and workers do --------------------------------------------------------------

    @rule(pick=PICKS)
    def release(self, pick: int) -> None:
        """Release a held reply."""
        pending = [turn.text for turn in self.model.turns.values() if turn.status == "pending"]
        if not pending:
            return
        text = self.picked(pick, pending)
        assert text is not None
        self.model.release(text)
        self.open_gate(text)
        self.agree()

    @rule()
    def kill_the_worker(self) -> None:
        """Once in a session: it takes seconds until another worker runs, which repeats every model call."""
        if self.was_killed or not self.model.pending:
            return
        self.was_killed = True
        self.run(self.stack.worker.kill())
        for text in self.model.held:
            self.replies.gates[text] = Gate()
        self.run(self.stack.worker.start())
        self.agree()

    def teardown(self) -> None:
        """At the end everything is answered, billed once and recorded, as the model says."""
        if not hasattr(self, "session"):
            return
        for text in list(self.model.held):
            self.model.release(text)
            self.open_gate(text)
        if self.model.reason is None:
            self.agree()
            self.run(self.session.end("done"))
            self.model.end("done")
        result = self.run(self.session.handle.result())
        assert (result.revision, result.turns) == (self.model.revision, len(self.model.turns))
        ledger = self.run(self.session.billed(len(self.model.turns)))
        assert {row.turn_id for row in ledger} == set(self.model.turns)
        if self.model.head:
            self.require_same(self.run(self.session.stored_turns(self.model.head)), self.model.visible)
        stored = {(each.rewound_from_turn_id, each.leaf_turn_id) for each in self.run(self.session.stored_branches())}
        assert stored == {(after, own[-1]) for after, own in self.model.discarded}
        require_contexts(self.replies.journal, self.model)

    # --- agreement -------------------------------------------------------------------------------

    def agree(self) -> None:
        """Wait until the session is as the model says. Raises AssertionError with the differences when it never is."""
        for text in [self.model.turns[each].text for each in self.model.pending]:
            if text in self.model.held:
                self.run(self.replies.gates[text].reached())
        last: list[str] = []

        async def is_same() -> bool:
            nonlocal last
            last = differences(await self.session.timeline(), self.model)
            return not last

        try:
            self.run(eventually(is_same, within=15.0))
        except AssertionError:
            raise AssertionError("the session and the model disagree:\n" + "\n".join(last)) from None

    def require_same(self, turns: list[Turn], ids: list[str]) -> None:
        assert [turn.id for turn in turns] == ids
        assert [wrong for turn in turns if (wrong := difference(turn, self.model))] == []

    # --- parts of the rules ----------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.stack.run(work)

    def given(self, command: Command, give: Callable[[], Coroutine[Any, Any, Result]]) -> Result | None:
        """The result of a command; None when it is rejected, as the model says it must be."""
        expected = self.model.rejection_of(command)
        [outcome] = self.run(outcomes_of([give()]))
        if expected is None:
            assert not isinstance(outcome, BaseException), f"rejected with {outcome!r}"
            return outcome
        assert code_of(outcome) == expected
        return None

    def sent(self, command: SendMessage) -> Coroutine[Any, Any, SendMessageResult]:
        return self.session.say(
            command.text,
            message_id=command.message_id,
            expected_revision=command.expected_revision,
            on_busy=command.on_busy,
            wait=False,
        )

    def rewound(self, command: Rewind) -> bool:
        """Send a rewind. Returns True when it was accepted."""
        result = self.given(
            command,
            lambda: self.session.rewind(
                command.turn_id, before=command.before, expected_revision=command.expected_revision
            ),
        )
        if result is not None:
            self.model.rewind(command)
        self.agree()
        return result is not None

    def new_text(self, fate: str) -> str:
        """A text that was not sent before; its reply comes, is held back, or fails."""
        self.offered += 1
        text = f"Message {self.offered}, of which a half is long enough"
        if fate == "held":
            self.hold(text)
        if fate == "fails":
            self.replies.failing.add(text)
            self.model.failing.add(text)
        return text

    def hold(self, text: str) -> None:
        """Hold back the reply to a text from now on."""
        self.model.held.add(text)
        self.replies.gates[text] = Gate()

    def open_gate(self, text: str) -> None:
        self.stack.loop.call_soon_threadsafe(self.replies.gates.pop(text).open)

    def turn(self, pick: int, anywhere: bool) -> str:
        return self.picked(pick, list(self.model.turns) if anywhere else self.model.branch)

    def picked(self, pick: int, choices: list[Result]) -> Result:
        return choices[pick % len(choices)]

    def revision(self, expected: int | None) -> int | None:
        return None if expected is None else self.model.revision + expected


@pytest.mark.timeout(3_600)
async def test_any_order_of_commands(database: Database, provider: ModelProvider) -> None:
    async with live_stack(database, provider) as stack:
        await asyncio.to_thread(
            run_state_machine_as_test, type("LiveSession", (LiveSession,), {"stack": stack}), settings=PROFILE
        )
