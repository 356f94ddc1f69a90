"""Estimates the token usage of a cancelled model call from the text sent and received."""

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
"""A rough average for English; other languages use more tokens for the same number of characters."""


@dataclass(frozen=True)
class PartialResponse:
    """A response as received so far. `estimated` is true when the provider had not reported all of its usage."""

    response: ModelResponse
    estimated: bool


def with_estimated_usage(
    response: ModelResponse, sent: Sequence[ModelMessage], parameters: ModelRequestParameters
) -> PartialResponse:
    """The response with the usage reported so far, completed by an estimate."""
    reported = response.usage
    received_tokens = estimated_tokens(sum(map(_response_part_characters, response.parts)))
    usage = RequestUsage(
        input_tokens=reported.input_tokens or estimated_tokens(_request_characters(sent, parameters)),
        output_tokens=max(reported.output_tokens, received_tokens),
        cache_read_tokens=reported.cache_read_tokens,
        cache_write_tokens=reported.cache_write_tokens,
    )
    estimated = (usage.input_tokens, usage.output_tokens) != (reported.input_tokens, reported.output_tokens)
    return PartialResponse(replace(response, usage=usage), estimated)


def estimated_tokens(characters: int) -> int:
    """The approximate number of tokens in a text of this length, rounded up."""
    return -(-characters // CHARACTERS_PER_TOKEN)


def _request_characters(sent: Sequence[ModelMessage], parameters: ModelRequestParameters) -> int:
    tools = (*parameters.function_tools, *parameters.output_tools)
    tool_characters = sum(
        len(tool.name) + len(tool.description or "") + len(json.dumps(tool.parameters_json_schema)) for tool in tools
    )
    return tool_characters + sum(map(_message_characters, sent))


def _message_characters(message: ModelMessage) -> int:
    if isinstance(message, ModelRequest):
        return len(message.instructions or "") + sum(map(_request_part_characters, message.parts))
    return sum(map(_response_part_characters, message.parts))


def _request_part_characters(part: ModelRequestPart) -> int:
    if isinstance(part, ToolReturnPart):
        return len(part.model_response_str())
    return len(part.content) if isinstance(part, UserPromptPart) and isinstance(part.content, str) else 0


def _response_part_characters(part: ModelResponsePart) -> int:
    if isinstance(part, TextPart | ThinkingPart):
        return len(part.content)
    return len(part.tool_name) + len(part.args_as_json_str()) if isinstance(part, BaseToolCallPart) else 0
