"""The conversation as model providers take it: Playhead's messages in and out of pydantic-ai's form."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from domain.turns.turn import AgentSaid, Message, ToolReturned, UserSaid

OPENING_CUE = "(The conversation begins. The user has not said anything yet.)"
"""Goes before a conversation that the agent opens: several providers insist that a user speaks first."""


def stored(steps: Iterable[str]) -> list[ModelMessage]:
    """The messages of earlier steps, from the form in which they were saved."""
    return [message for step in steps for message in _parsed(step)]


def serialised(messages: Sequence[ModelMessage]) -> str:
    """Messages in the form in which they are saved."""
    return ModelMessagesTypeAdapter.dump_json(list(messages)).decode()


def as_model_messages(messages: Sequence[Message]) -> list[ModelMessage]:
    """What is new since the last step: neighbours of one side share one message."""
    found: list[ModelMessage] = []
    asked: list[ModelRequestPart] = []
    for message in messages:
        match message:
            case UserSaid():
                asked.append(UserPromptPart(content=message.text))
            case ToolReturned():
                asked.append(
                    ToolReturnPart(tool_name=message.name, content=message.content, tool_call_id=message.call_id)
                )
            case AgentSaid():
                if asked:
                    found.append(ModelRequest(parts=asked))
                    asked = []
                found.append(ModelResponse(parts=[TextPart(content=message.text)]))
    if asked:
        found.append(ModelRequest(parts=asked))
    return found


def sendable(messages: Sequence[ModelMessage], instructions: str) -> list[ModelMessage]:
    """The whole conversation as providers accept it: no empty replies, a user first, the instructions last."""
    kept = [message for message in messages if message.parts]
    if not kept or isinstance(kept[0], ModelResponse):
        kept.insert(0, ModelRequest(parts=[UserPromptPart(content=OPENING_CUE)]))
    last = kept[-1] if kept else None
    if isinstance(last, ModelRequest):
        return [*kept[:-1], ModelRequest(parts=last.parts, instructions=instructions)]
    return [*kept, ModelRequest(parts=[], instructions=instructions)]


def words_only(messages: Sequence[ModelMessage]) -> list[ModelMessage]:
    """What was said, without the calls of tools and what came of them: some of those are still unanswered."""
    said: list[ModelMessage] = []
    for message in messages:
        if isinstance(message, ModelRequest):
            prompts = [part for part in message.parts if isinstance(part, UserPromptPart)]
            said.append(ModelRequest(parts=prompts))
        else:
            said.append(ModelResponse(parts=[part for part in message.parts if isinstance(part, TextPart)]))
    return [message for message in said if message.parts]


def whole(response: ModelResponse) -> ModelResponse:
    """The reply without halves of characters, which neither the store nor Temporal can hold.

    Some providers cut their stream in the middle of a character; where both halves came, they are joined.
    """
    for part in response.parts:
        if isinstance(part, TextPart | ThinkingPart):
            part.content = whole_text(part.content)
        elif isinstance(part, ToolCallPart) and isinstance(part.args, str):
            part.args = whole_text(part.args)
    return response


def whole_text(text: str) -> str:
    """The text with halves of characters joined where both are there, and replaced where one is missing."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@lru_cache(maxsize=8192)
def _parsed(messages: str) -> tuple[ModelMessage, ...]:
    """Messages of an earlier step. Parsed once: a conversation is read again at every one of its turns."""
    return tuple(ModelMessagesTypeAdapter.validate_json(messages))
