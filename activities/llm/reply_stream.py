"""What a model call needs to know of those who may watch its reply."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from activities.llm.interface import OnDelta, ignore
from contracts.sessions import GenerateStepInput, TurnStart
from domain.turns.turn import Turn, UserMessage, UserSaid


@dataclass(frozen=True)
class StreamContext:
    """A model call for those who watch: whose words they hear, and what was said before."""

    session_id: str
    turn: Turn
    """The turn as it began."""
    take: tuple[int, int]
    """The step of the turn, and the attempt at it."""
    said: str
    """The agent's text in this turn so far."""


class ReplyPublisher(Protocol):
    """Tells those who watch a session what the model says, while it says it."""

    def narrate(self, script: StreamContext) -> AbstractAsyncContextManager[OnDelta]:
        """Around a model call: the function that is to hear its words."""
        ...

    def is_heard(self, session_id: str) -> bool:
        """Whether anybody watches this session."""
        ...


class NullPublisher:
    """The narrator of a worker whose sessions nobody can watch."""

    @asynccontextmanager
    async def narrate(self, script: StreamContext) -> AsyncIterator[OnDelta]:
        """Tell nobody anything."""
        yield ignore

    def is_heard(self, session_id: str) -> bool:
        """Never."""
        return False


def stream_context_of(input: GenerateStepInput, opening: TurnStart, attempt: int) -> StreamContext:
    """What there is to know of a step and of the turn it belongs to."""
    words = next((message.text for message in reversed(input.messages) if isinstance(message, UserSaid)), None)
    user_message = None
    if opening.said_at is not None and words is not None:
        user_message = UserMessage(text=words, created_at=opening.said_at, message_id=opening.message_id)
    turn = Turn(
        id=input.turn_id,
        parent_id=opening.parent_id,
        index=opening.index,
        created_at=opening.created_at,
        user_message=user_message,
    )
    return StreamContext(input.session_id, turn, take=(input.step, attempt), said=input.said)
