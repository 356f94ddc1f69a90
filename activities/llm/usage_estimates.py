"""What a model call used when it was cut before its provider could say: worked out from what was sent and heard."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic_ai.messages import (
    BaseToolCallPart,
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    TextPart,
    ThinkingPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.usage import RequestUsage

CHARACTERS_PER_TOKEN = 4
"""A rough count, about right for English; other languages use more tokens for the same characters."""


@dataclass(frozen=True)
class CutResponse:
    """A response as far as it came. `estimated` says that its provider had not reported all of its usage."""

    response: ModelResponse
    estimated: bool


def with_estimated_usage(
    response: ModelResponse, asked: Sequence[ModelMessage], parameters: ModelRequestParameters
) -> CutResponse:
    """The response with the usage its provider has reported so far, and an estimate of what that leaves out."""
    reported = response.usage
    heard = tokens_in(sum(map(_spoken_characters, response.parts)))
    usage = RequestUsage(
        input_tokens=reported.input_tokens or tokens_in(_asked_characters(asked, parameters)),
        output_tokens=max(reported.output_tokens, heard),
        cache_read_tokens=reported.cache_read_tokens,
        cache_write_tokens=reported.cache_write_tokens,
    )
    estimated = (usage.input_tokens, usage.output_tokens) != (reported.input_tokens, reported.output_tokens)
    return CutResponse(replace(response, usage=usage), estimated)


def tokens_in(characters: int) -> int:
    """About how many tokens a text of this length is, rounded up."""
    return -(-characters // CHARACTERS_PER_TOKEN)


def _asked_characters(asked: Sequence[ModelMessage], parameters: ModelRequestParameters) -> int:
    tools = (*parameters.function_tools, *parameters.output_tools)
    offered = sum(
        len(tool.name) + len(tool.description or "") + len(json.dumps(tool.parameters_json_schema)) for tool in tools
    )
    return offered + sum(map(_message_characters, asked))


def _message_characters(message: ModelMessage) -> int:
    if isinstance(message, ModelRequest):
        return len(message.instructions or "") + sum(map(_told_characters, message.parts))
    return sum(map(_spoken_characters, message.parts))


def _told_characters(part: ModelRequestPart) -> int:
    if isinstance(part, ToolReturnPart):
        return len(part.model_response_str())
    return len(part.content) if isinstance(part, UserPromptPart) and isinstance(part.content, str) else 0


def _spoken_characters(part: ModelResponsePart) -> int:
    if isinstance(part, TextPart | ThinkingPart):
        return len(part.content)
    return len(part.tool_name) + len(part.args_as_json_str()) if isinstance(part, BaseToolCallPart) else 0
