"""Recovery as activities: they claim a session, read its record in the store, and restore what the record has lost."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from temporalio import activity

from activities.heartbeats import heartbeats
from contracts.recovery import (
    ClaimSessionInput,
    ClaimSessionResult,
    ReadRecordInput,
    ReadRecordResult,
    RestoredTurn,
    RestoreTurnsInput,
    RestoreTurnsResult,
)
from domain.turns.engine import ModelReply
from domain.turns.turn import Message, Turn, UserSaid

if TYPE_CHECKING:
    from store.sessions.recovery import RecoveryStore
    from streaming.messages import Subscribers


SerializeStep = Callable[[Sequence[Message], ModelReply], str]
"""Writes the messages of one model call and its reply in the form in which the store keeps them."""


class RecoveryActivities:
    """Compares sessions with their records, and puts back what the store has lost. All are idempotent."""

    def __init__(
        self,
        store: "RecoveryStore",
        *,
        serialize_step: SerializeStep,
        subscribers: "Subscribers | None" = None,
    ) -> None:
        self._store = store
        self._serialize_step = serialize_step
        self._subscribers = subscribers

    @activity.defn
    async def claim_session(self, input: ClaimSessionInput) -> ClaimSessionResult:
        """Check that no other execution has begun the session, and that it was not erased."""
        rejection = await self._store.rejection_of(input.organization_id, input.session_id, input.first_run_id)
        return ClaimSessionResult(rejection=rejection)

    @activity.defn
    async def read_record(self, input: ReadRecordInput) -> ReadRecordResult:
        """Read what the store has recorded of a session."""
        async with heartbeats():
            record = await self._store.record(input.organization_id, input.session_id, input.known_turn_ids)
        return ReadRecordResult(record=record)

    @activity.defn
    async def restore_turns(self, input: RestoreTurnsInput) -> RestoreTurnsResult:
        """Put back turns, the model calls behind them and their ledger rows, if the store no longer has them.

        The workflow has only the texts of a lost turn: its model calls are restored as one, with text, usage and cost.
        Its tool calls are not restored.
        """
        turn_messages = [self._serialize_step(_messages_before(each), _reply_of(each.turn)) for each in input.turns]
        step_messages = [self._serialize_step(each.call.messages, each.reply) for each in input.steps]
        async with heartbeats():
            restored = await self._store.restore(input, turn_messages=turn_messages, step_messages=step_messages)
        if self._subscribers is not None:
            self._subscribers.log_appended(input.session_id)
        return RestoreTurnsResult(restored=restored)


def _messages_before(restored: RestoredTurn) -> tuple[Message, ...]:
    """The messages that the turn added before its reply, with those since the newest model call."""
    message = restored.turn.user_message
    return (*restored.carry, *((UserSaid(text=message.text),) if message else ()))


def _reply_of(turn: Turn) -> ModelReply:
    answer = turn.assistant_message
    return ModelReply(text=answer.text if answer else "", usage=turn.usage, cost=turn.cost)
