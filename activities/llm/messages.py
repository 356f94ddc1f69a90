"""Converts messages between Playhead's types and pydantic-ai's."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from domain.turns.engine import ModelReply
from domain.turns.model_request import OPENING_CUE
from domain.turns.turn import AgentSaid, Message, ToolReturned, UserSaid


def deserialize(steps: Iterable[str]) -> list[ModelMessage]:
    """The messages of earlier steps, from their saved JSON."""
    return [message for step in steps for message in _deserialize_step(step)]


def serialize(messages: Sequence[ModelMessage]) -> str:
    """Messages as JSON, to be saved."""
    return ModelMessagesTypeAdapter.dump_json(list(messages)).decode()


def to_model_messages(messages: Sequence[Message]) -> list[ModelMessage]:
    """The new messages of a step; consecutive ones for the model become parts of one request."""
    converted: list[ModelMessage] = []
    parts: list[ModelRequestPart] = []
    for message in messages:
        match message:
            case UserSaid():
                parts.append(UserPromptPart(content=message.text))
            case ToolReturned():
                parts.append(
                    ToolReturnPart(tool_name=message.name, content=message.content, tool_call_id=message.call_id)
                )
            case AgentSaid():
                if parts:
                    converted.append(ModelRequest(parts=parts))
                    parts = []
                converted.append(ModelResponse(parts=[TextPart(content=message.text)]))
    if parts:
        converted.append(ModelRequest(parts=parts))
    return converted


def serialized_step(messages: Sequence[Message], reply: ModelReply) -> str:
    """The saved form of a step that was put together from its messages and reply, without the provider's response."""
    parts: list[ModelResponsePart] = [TextPart(content=reply.text)] if reply.text else []
    parts += [ToolCallPart(call.name, args=dict(call.arguments), tool_call_id=call.id) for call in reply.tool_calls]
    return serialize([*to_model_messages(messages), *([ModelResponse(parts=parts)] if parts else [])])


def request_messages(messages: Sequence[ModelMessage], instructions: str) -> list[ModelMessage]:
    """The conversation as providers accept it: no empty messages, a user message first, the instructions last."""
    kept = [message for message in messages if message.parts]
    if not kept or isinstance(kept[0], ModelResponse):
        kept.insert(0, ModelRequest(parts=[UserPromptPart(content=OPENING_CUE)]))
    last = kept[-1] if kept else None
    if isinstance(last, ModelRequest):
        return [*kept[:-1], ModelRequest(parts=last.parts, instructions=instructions)]
    return [*kept, ModelRequest(parts=[], instructions=instructions)]


def text_only(messages: Sequence[ModelMessage]) -> list[ModelMessage]:
    """The messages without tool calls and tool results: some calls may have no result yet."""
    kept: list[ModelMessage] = []
    for message in messages:
        if isinstance(message, ModelRequest):
            prompts = [part for part in message.parts if isinstance(part, UserPromptPart)]
            kept.append(ModelRequest(parts=prompts))
        else:
            kept.append(ModelResponse(parts=[part for part in message.parts if isinstance(part, TextPart)]))
    return [message for message in kept if message.parts]


def repair_response(response: ModelResponse) -> ModelResponse:
    """The reply without lone surrogates, which neither the store nor Temporal can hold.

    Some providers split their stream inside a surrogate pair; complete pairs are joined.
    """
    for part in response.parts:
        if isinstance(part, TextPart | ThinkingPart):
            part.content = repair_text(part.content)
        elif isinstance(part, ToolCallPart) and isinstance(part.args, str):
            part.args = repair_text(part.args)
    return response


def repair_text(text: str) -> str:
    """The text with surrogate pairs joined and lone surrogates replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@lru_cache(maxsize=8192)
def _deserialize_step(messages: str) -> tuple[ModelMessage, ...]:
    """The messages of one step, cached: every turn reads the whole conversation again."""
    return tuple(ModelMessagesTypeAdapter.validate_json(messages))
