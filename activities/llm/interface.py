"""What is asked of a model, what comes back and what goes wrong: the contract with the edge to the providers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

from domain.agents.tools import OfferedTool
from domain.turns.engine import ModelReply
from domain.turns.turn import Message


@dataclass(frozen=True)
class ModelCall:
    """What a model is asked: instructions, the conversation so far, what is new, and the tools it may call."""

    model: str
    instructions: str
    history: tuple[str, ...]
    """Messages of earlier steps, oldest first, each as the provider edge serialised it."""
    messages: tuple[Message, ...]
    tools: tuple[OfferedTool, ...]
    timeout: float
    """Seconds the whole reply may take."""
    seed: int | None = None
    """Makes models that can be seeded answer the same again."""
    keeps_calls: bool = True
    """Whether the tools that were called are part of the messages to be read again: nothing else will answer them."""


@dataclass(frozen=True)
class RecordCall:
    """What a model is asked to hand in, with the one tool it must call: an object of a JSON schema."""

    model: str
    instructions: str
    history: tuple[str, ...]
    """Messages of earlier steps; of these it reads what was said."""
    asked: str
    """Said last, by the user."""
    tool: str
    description: str
    schema: dict[str, JsonValue]
    timeout: float
    seed: int | None = None


@dataclass(frozen=True)
class ModelAnswer:
    """What came back, and the messages of this call as the provider edge wants to read them again."""

    reply: ModelReply
    messages: str


OnDelta = Callable[[str], None]
"""Is told a piece of a reply's text as it comes."""


def ignore(text: str) -> None:
    """Hear nothing."""


class ModelCaller(Protocol):
    """The edge to the providers: one call, one answer, no retries.

    A call that is cancelled closes its connection at once. It raises `ReplyCancelled` if the provider had been asked.
    """

    async def call(self, call: ModelCall, hear: OnDelta = ignore) -> ModelAnswer:
        """Ask the model; `hear` is told the text piece by piece as it comes. Raises `ProviderFailed`."""
        ...

    async def record(self, call: RecordCall) -> ModelAnswer:
        """Ask the model for structured data: one tool call in the reply. Raises `ProviderFailed`."""
        ...


class ProviderFailed(Exception):
    """A provider did not answer, or not usefully. `retry_after` is in seconds, when the provider named a time."""

    def __init__(self, message: str, *, permanent: bool, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after = retry_after


class ReplyCancelled(asyncio.CancelledError):
    """A call was cancelled after the provider had been asked. `answer` is what was said and spent until then."""

    def __init__(self, answer: ModelAnswer) -> None:
        super().__init__("the model call was cancelled")
        self.answer = answer
