"""A conversation built message by message: a timeline, a ticking clock and numbered turns."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from domain.agents.definition import Limits
from domain.rejections import CommandRejected, Rejection
from domain.sessions.command_handlers import (
    cancel,
    edit,
    end,
    fork,
    new_timeline,
    open_greeting,
    regenerate,
    restore,
    rewind,
    send,
)
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
from domain.sessions.timeline import DiscardedBranch, Timeline
from domain.sessions.turn_completion import complete, fail, interrupt
from domain.turns.engine import TurnOutcome, TurnProgress
from domain.turns.turn import Turn, TurnEvent
from domain.usage import Cost, ModelUsage, Usage, rounded_cost

MODEL = "test:model"
BEGINNING = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def spent(tokens: int, usd: Decimal) -> tuple[Usage, Cost]:
    """The usage and the cost of one model call."""
    used = ModelUsage(completion_tokens=tokens, total_tokens=tokens, requests=1)
    return Usage(llm={MODEL: used}), rounded_cost(MODEL, usd)


def answered(
    turn_id: str,
    *said: str,
    tokens: int = 10,
    usd: str = "0.01",
    outcome: TurnOutcome | None = "answered",
    node_id: str = "greet",
    error: str | None = None,
    events: tuple[TurnEvent, ...] = (),
) -> TurnProgress:
    """A turn as the engine leaves it after one model call that used so many tokens and cost so much."""
    usage, cost = spent(tokens, Decimal(usd))
    return TurnProgress(
        turn_id=turn_id,
        node_id=node_id,
        said=said,
        events=events,
        usage=usage,
        cost=cost,
        steps=1,
        outcome=outcome,
        error=error,
    )


def rejection_of(refused: pytest.ExceptionInfo[CommandRejected]) -> Rejection:
    return refused.value.rejection


def kinds(turn: Turn) -> list[str]:
    """The types of a turn's events, in their order."""
    return [event.type for event in turn.events]


class Conversation:
    """Applies commands to its timeline one second apart; turns are numbered t0, t1, t2 and so on."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.now = BEGINNING
        self.timeline: Timeline = new_timeline(at=self.now)
        self._turns = 0

    def tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def greeted(self, text: str = "Good evening.") -> "Conversation":
        """The same conversation, opened by the agent."""
        self.open()
        self.answer(text)
        return self

    def forked_from(self, source: "Conversation") -> "Conversation":
        """The same conversation, continued from the visible turns of another one."""
        past = list(source.timeline.visible_turns())[::-1]
        self.now, self._turns = source.now, source._turns
        self.timeline = fork(past, "ses_source", at=self.tick())
        return self

    def open(self) -> str:
        """Open the greeting; returns the id of its turn."""
        turn_id = self._new_turn()
        self.timeline = open_greeting(self.timeline, turn_id=turn_id, at=self.tick())
        return turn_id

    def say(
        self,
        text: str,
        *,
        message_id: str | None = None,
        expected_revision: int | None = None,
        on_busy: OnBusy | None = None,
        after: str | None = None,
    ) -> str:
        """Send a message; returns the turn id that was offered for it."""
        turn_id = self._new_turn()
        command = SendMessage(
            text=text,
            message_id=message_id,
            expected_revision=expected_revision,
            on_busy=on_busy,
            after_turn_id=after,
        )
        self.timeline = send(self.timeline, command, turn_id=turn_id, at=self.tick())
        return turn_id

    def answer(self, text: str = "Certainly.", *, turn_id: str | None = None, outcome: TurnOutcome = "answered") -> str:
        """Answer a pending turn, by default the newest visible one; returns its id."""
        asked = turn_id or self.head.id
        progress = answered(asked, *([text] if text else []), outcome=outcome)
        self.timeline = complete(self.timeline, progress, self.limits, at=self.tick())
        return asked

    def exchange(self, text: str, reply: str = "Certainly.") -> str:
        """Send a message and answer it; returns the id of the turn."""
        turn_id = self.say(text)
        return self.answer(reply, turn_id=turn_id)

    def fail(self, error: str = "The model is away.", *, turn_id: str | None = None) -> None:
        progress = answered(turn_id or self.head.id, outcome="failed", error=error)
        self.timeline = fail(self.timeline, progress, self.limits, at=self.tick())

    def interrupt(self, *said: str, turn_id: str | None = None) -> None:
        progress = answered(turn_id or self.head.id, *said, outcome=None)
        self.timeline = interrupt(self.timeline, progress, self.limits, at=self.tick())

    def edit(
        self, turn_id: str, text: str, *, message_id: str | None = None, expected_revision: int | None = None
    ) -> str:
        """Edit the message of a turn; returns the turn id that was offered for it."""
        offered = self._new_turn()
        command = EditMessage(turn_id=turn_id, text=text, message_id=message_id, expected_revision=expected_revision)
        self.timeline = edit(self.timeline, command, turn_id=offered, at=self.tick())
        return offered

    def regenerate(self, turn_id: str, *, message_id: str | None = None, expected_revision: int | None = None) -> str:
        """Regenerate the reply of a turn; returns the turn id that was offered for it."""
        offered = self._new_turn()
        command = Regenerate(turn_id=turn_id, message_id=message_id, expected_revision=expected_revision)
        self.timeline = regenerate(self.timeline, command, turn_id=offered, at=self.tick())
        return offered

    def cancel(self, *, expected_revision: int | None = None) -> None:
        command = CancelTurn(expected_revision=expected_revision)
        self.timeline = cancel(self.timeline, command, at=self.tick())

    def restore(self, branch_id: str, *, expected_revision: int | None = None) -> None:
        command = RestoreBranch(branch_id=branch_id, expected_revision=expected_revision)
        self.timeline = restore(self.timeline, command, at=self.tick())

    def rewind(self, turn_id: str | None, *, before: bool = False, expected_revision: int | None = None) -> None:
        command = Rewind(turn_id=turn_id, before=before, expected_revision=expected_revision)
        self.timeline = rewind(self.timeline, command, at=self.tick())

    def end(self, reason: str = "user_hangup", *, expected_revision: int | None = None) -> None:
        command = EndSession(reason=reason, expected_revision=expected_revision)
        self.timeline = end(self.timeline, command, at=self.tick())

    @property
    def head(self) -> Turn:
        """The newest visible turn."""
        head = self.timeline.head
        assert head is not None, "nothing is seen of this conversation yet"
        return head

    @property
    def visible(self) -> list[str]:
        """The ids of the visible turns, oldest first."""
        return [turn.id for turn in self.timeline.visible_turns()][::-1]

    @property
    def discarded(self) -> dict[str, tuple[str | None, list[str]]]:
        """The discarded branches: for each the turn it begins after and its own turns, oldest first."""
        return {
            branch.id: (branch.rewound_from_turn_id, [turn.id for turn in self.timeline.turns_of(branch)])
            for branch in self.timeline.discarded_branches
        }

    def branch_of(self, leaf_turn_id: str) -> DiscardedBranch:
        """The discarded branch that ends with a turn."""
        (branch,) = (each for each in self.timeline.discarded_branches if each.leaf_turn_id == leaf_turn_id)
        return branch

    def _new_turn(self) -> str:
        turn_id = f"t{self._turns}"
        self._turns += 1
        return turn_id
