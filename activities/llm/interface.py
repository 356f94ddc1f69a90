"""The interface of model providers: calls, replies and errors."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

from domain.agents.tools import OfferedTool
from domain.turns.engine import ModelReply
from domain.turns.model_request import RequestFrame
from domain.turns.turn import Message, ReplyFormat


@dataclass(frozen=True)
class ModelCall:
    """A model call: instructions, the conversation so far, the new messages, and the tools that may be called."""

    model: str
    instructions: str
    history: tuple[str, ...]
    """Messages of earlier steps, oldest first, each as `ModelAnswer.messages` had it."""
    messages: tuple[Message, ...]
    tools: tuple[OfferedTool, ...]
    timeout: float
    """Seconds for the whole reply."""
    seed: int | None = None
    """Sampling seed, for models that support one."""
    keep_tool_calls: bool = True
    """False leaves tool calls out of the saved messages, when no tool results will follow them."""
    reply_format: ReplyFormat | None = None
    """Form of the reply; only for calls without tools."""


@dataclass(frozen=True)
class RecordCall:
    """A call for structured output: the model must call one tool, whose arguments follow a JSON schema."""

    model: str
    instructions: str
    history: tuple[str, ...]
    """Messages of earlier steps; only their text is sent."""
    asked: str
    """The final user message."""
    tool: str
    description: str
    schema: dict[str, JsonValue]
    timeout: float
    seed: int | None = None


@dataclass(frozen=True)
class ModelAnswer:
    """A model's reply, and the messages of this call serialized for later calls.

    `frame` is the request without its messages, `new` the number of those in `messages` that were sent.
    """

    reply: ModelReply
    messages: str
    frame: RequestFrame | None = None
    new: int = 0


OnDelta = Callable[[str], None]
"""Called with each piece of a reply's text as it arrives."""


def ignore_delta(text: str) -> None:
    """Do nothing."""


class ModelCaller(Protocol):
    """Calls model providers, without retries.

    A cancelled call closes its connection at once, and raises `ReplyCancelled` if the request had been sent.
    """

    async def call(self, call: ModelCall, on_delta: OnDelta = ignore_delta) -> ModelAnswer:
        """Call the model; `on_delta` receives the text while it streams. Raises `ProviderFailed`."""
        ...

    async def record(self, call: RecordCall) -> ModelAnswer:
        """Call the model for structured output: one tool call in the reply. Raises `ProviderFailed`."""
        ...

    async def count_tokens(self, call: ModelCall) -> int | None:
        """The tokens of a request, counted by the provider; None if it cannot count."""
        ...

    def context_window(self, model: str) -> int | None:
        """The tokens that a model can read and write in one call; None if they are not known."""
        ...


class ProviderFailed(Exception):
    """A failed model call: no reply, or an unusable one. `retry_after` is the provider's, in seconds.

    `too_long` is true if the request was rejected because it exceeds the model's context window.
    """

    def __init__(
        self, message: str, *, permanent: bool, retry_after: float | None = None, too_long: bool = False
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after = retry_after
        self.too_long = too_long


class ReplyCancelled(asyncio.CancelledError):
    """A call was cancelled after its request was sent. `answer` holds the partial reply and its usage."""

    def __init__(self, answer: ModelAnswer) -> None:
        super().__init__("the model call was cancelled")
        self.answer = answer
