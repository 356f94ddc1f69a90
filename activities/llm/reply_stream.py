"""The interface of reply streaming: the context of a model call, and the publisher of its text."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from activities.llm.interface import OnDelta, ignore_delta
from contracts.sessions import GenerateStepInput, TurnStart
from domain.turns.model_request import saved_messages
from domain.turns.turn import Turn, UserSaid


@dataclass(frozen=True)
class StreamContext:
    """The turn and attempt that a streamed reply belongs to, and the turn's text before it."""

    session_id: str
    turn: Turn
    """The turn at its start."""
    opening: TurnStart
    """The start of the turn, for subscribers."""
    attempt: tuple[int, int]
    """The step of the turn, and the activity's attempt at it."""
    previous_text: str
    """The agent's text in this turn so far."""
    hides_recordings: bool = False
    """True if references to recordings are taken out of the text."""


class ReplyPublisher(Protocol):
    """Publishes the text of a reply to a session's subscribers while the model streams it."""

    def publish(self, context: StreamContext) -> AbstractAsyncContextManager[OnDelta]:
        """A context around a model call; it yields the callback for the call's text."""
        ...

    def has_subscribers(self, session_id: str) -> bool:
        """True if anybody watches this session."""
        ...


class NullPublisher:
    """Publishes nothing, for workers without live streaming."""

    @asynccontextmanager
    async def publish(self, context: StreamContext) -> AsyncIterator[OnDelta]:
        """Yield a callback that does nothing."""
        yield ignore_delta

    def has_subscribers(self, session_id: str) -> bool:
        """Always False."""
        return False


def stream_context_of(
    input: GenerateStepInput,
    opening: TurnStart,
    attempt: int,
    *,
    saved: Sequence[str] = (),
    hides_recordings: bool = False,
) -> StreamContext:
    """The stream context of a step: its turn as it was opened, with the user's message.

    `saved` are the messages of the steps before it. The first step of a turn has the user's message among its own; a
    later one may be the first to be streamed: it takes the message from those of the first step.
    """
    user_text = next((message.text for message in reversed(input.messages) if isinstance(message, UserSaid)), None)
    if user_text is None and 0 < input.step <= len(saved):
        first = reversed(saved_messages(saved[-input.step]))
        user_text = next((message.content for message in first if message.role == "user"), None)
    return StreamContext(
        input.session_id,
        opening.turn(input.turn_id, user_text),
        opening,
        attempt=(input.step, attempt),
        previous_text=input.said,
        hides_recordings=hides_recordings,
    )
