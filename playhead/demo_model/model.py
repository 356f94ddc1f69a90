"""The offline demo model as a pydantic-ai model: requests, streams, usage and price."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from time import monotonic
from typing import Any

from pydantic import JsonValue
from pydantic_ai import RunContext
from pydantic_ai.messages import (
    InstructionPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ModelResponseStreamEvent,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RequestUsage

from domain.sessions.caller_prompt import HANG_UP_TOOL
from domain.suites.verdicts import VERDICT_TOOL
from domain.turns.model_request import OPENING_CUE
from domain.usage import TokenPrice
from playhead.demo_model.caller import next_message, parse_caller_prompt
from playhead.demo_model.dialogue import Conversation, DemoReply, answer
from playhead.demo_model.judge import judge
from playhead.demo_model.prompt_parser import Offer
from playhead.demo_model.slot_filling import Line
from playhead.demo_model.variables import extract_variables

DEMO_MARK = "[demo model] "
"""Prefix of every text of the demo model, so that nobody takes it for a real model."""
DEMO_SYSTEM = "demo"
DEMO_NAME = "scripted"
DEMO_USAGE_KEY = f"{DEMO_SYSTEM}:{DEMO_NAME}"
"""The name of the demo model in usage, costs and prices."""
DEMO_PRICE = TokenPrice(input=Decimal(0), output=Decimal(0))
"""The default price: zero."""
MAX_HISTORY_MESSAGES = 80
"""Upper bound on the messages of the history that are read, from its end."""
MAX_CALLER_HISTORY_MESSAGES = 400
"""The same for a simulated user, which needs all its earlier questions."""
MIN_PAUSE_SECONDS = 0.05
"""Pause between two pieces of a streamed reply; subscribers get at most one frame in that time."""

_CHARACTERS_PER_TOKEN = 4
_HANGS_UP = ToolCallPart(HANG_UP_TOOL.name, args={"reason": "everything is said"}, tool_call_id="demo_hang_up")
_CALL_ID = re.compile(r"demo_(\d{1,9})")


def demo_model(*, delay_seconds: float = 0.0) -> Model:
    """The offline demo model, for requests and for streams.

    `delay_seconds` is the duration of a text reply: before it, or spread over its words when streamed.
    Transitions take no time, so that a turn has one delay however many nodes it passes.
    Raises ValueError for a delay below zero.
    """
    if delay_seconds < 0:
        raise ValueError(f"The delay of the demo model is {delay_seconds} s; it must be 0 or more.")
    return DemoModel(delay_seconds)


class DemoModel(FunctionModel):
    """Answers by rules from the node's prompt. Its name in usage and prices is `demo:scripted`."""

    def __init__(self, delay_seconds: float) -> None:
        self._delay_seconds = delay_seconds
        super().__init__(self._respond, model_name=DEMO_NAME)

    @property
    def system(self) -> str:
        """The provider's name in usage keys."""
        return DEMO_SYSTEM

    async def _respond(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        reply = _reply_to(messages, info.instructions or "", info.model_request_parameters, _seed(info.model_settings))
        if self._delay_seconds and isinstance(reply.part, TextPart):
            await asyncio.sleep(self._delay_seconds)
        return ModelResponse(
            parts=[reply.part],
            usage=reply.usage,
            model_name=DEMO_NAME,
            provider_name=DEMO_SYSTEM,
            finish_reason="stop" if isinstance(reply.part, TextPart) else "tool_call",
        )

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """Stream the reply that `request` returns: word by word over the delay, or in one piece without a delay."""
        settings, parameters = self.prepare_request(model_settings, model_request_parameters)
        reply = _reply_to(messages, _instructions(messages, parameters), parameters, _seed(settings))
        yield _DemoStream(model_request_parameters=parameters, reply=reply, delay_seconds=self._delay_seconds)


@dataclass(frozen=True)
class _Reply:
    part: TextPart | ToolCallPart
    usage: RequestUsage


@dataclass
class _DemoStream(StreamedResponse):
    """A streamed reply. Its usage grows with the text, so that an interrupted stream is not charged in full."""

    reply: _Reply
    delay_seconds: float
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self._usage = RequestUsage(input_tokens=self.reply.usage.input_tokens)

    async def _get_event_iterator(self) -> AsyncIterator[ModelResponseStreamEvent]:
        part = self.reply.part
        if isinstance(part, ToolCallPart):
            yield self._parts_manager.handle_tool_call_part(
                vendor_part_id=0, tool_name=part.tool_name, args=part.args, tool_call_id=part.tool_call_id
            )
            self._usage = self.reply.usage
            self.finish_reason = "tool_call"
            return
        said = ""
        chunks = _chunks(part.content, self.delay_seconds)
        began = monotonic()
        for number, chunk in enumerate(chunks, start=1):
            # Relative to the start time, because single pauses last a little too long and would add up.
            await _until(began + self.delay_seconds * number / len(chunks))
            said += chunk
            self._usage = RequestUsage(input_tokens=self.reply.usage.input_tokens, output_tokens=_tokens(said))
            for event in self._parts_manager.handle_text_delta(vendor_part_id="content", content=chunk):
                yield event
        self.finish_reason = "stop"

    async def close_stream(self) -> None:
        """Does nothing: there is no connection to close."""

    @property
    def model_name(self) -> str:
        return DEMO_NAME

    @property
    def provider_name(self) -> str:
        return DEMO_SYSTEM

    @property
    def provider_url(self) -> None:
        return None

    @property
    def timestamp(self) -> datetime:
        return self.started_at


def _reply_to(
    messages: Sequence[ModelMessage], instructions: str, parameters: ModelRequestParameters, seed: int
) -> _Reply:
    """The reply in the role of the request: judge or extractor, simulated user, or agent."""
    if parameters.output_tools:
        return _structured(parameters.output_tools[0], messages, instructions)
    caller = parse_caller_prompt(instructions)
    if caller is not None:
        lines = _conversation(messages[-MAX_CALLER_HISTORY_MESSAGES:]).lines
        text = next_message(caller, lines, may_hang_up=bool(parameters.function_tools), seed=seed)
        read = len(instructions) + _characters(messages[:-MAX_CALLER_HISTORY_MESSAGES])
        return _reply(TextPart(f"{DEMO_MARK}{text}") if text else _HANGS_UP, read, lines)
    tail = messages[-MAX_HISTORY_MESSAGES:]
    offers = tuple(
        Offer(tool=tool.name, when=tool.description or tool.name.replace("_", " "))
        for tool in parameters.function_tools
        if not tool.parameters_json_schema.get("properties")
    )
    conversation = _conversation(tail)
    read = len(instructions) + sum(len(offer.tool) + len(offer.when) for offer in offers)
    read += _characters(messages[:-MAX_HISTORY_MESSAGES])
    return _reply(_part(answer(instructions, offers, conversation), tail), read, conversation.lines)


def _reply(part: TextPart | ToolCallPart, characters_read: int, lines: Sequence[Line]) -> _Reply:
    read = characters_read + sum(len(line.text) for line in lines)
    written = part.content if isinstance(part, TextPart) else part.tool_name
    return _Reply(part, RequestUsage(input_tokens=read // _CHARACTERS_PER_TOKEN + 1, output_tokens=_tokens(written)))


def _characters(unread: Sequence[ModelMessage]) -> int:
    """The characters of messages that the rules do not look at: a provider counts everything it receives."""
    return sum(len(line.text) for line in _conversation(unread).lines)


def _structured(tool: ToolDefinition, messages: Sequence[ModelMessage], instructions: str) -> _Reply:
    """The answer to a request for structured output: verdicts, or the values of variables."""
    lines = _conversation(messages[-MAX_HISTORY_MESSAGES:]).lines
    if tool.name == VERDICT_TOOL:
        found: Mapping[str, JsonValue] = judge(instructions, lines[-1].text if lines else "")
    else:
        found = extract_variables(tool.parameters_json_schema, lines)
    read = sum(len(line.text) for line in lines) + _characters(messages[:-MAX_HISTORY_MESSAGES])
    usage = RequestUsage(input_tokens=read // _CHARACTERS_PER_TOKEN + 1, output_tokens=_tokens(str(found)))
    return _Reply(ToolCallPart(tool.name, args=dict(found), tool_call_id="demo_record"), usage)


def _seed(settings: ModelSettings | None) -> int:
    return (settings or {}).get("seed", 0)


def _part(decided: DemoReply, tail: Sequence[ModelMessage]) -> TextPart | ToolCallPart:
    if decided.tool is None:
        return TextPart(f"{DEMO_MARK}{decided.text or ''}")
    # Numbered after the newest call of the history: unique in it, and the same for the same history.
    newest = max((_number_of(call) for message in tail for call in _calls(message)), default=0)
    return ToolCallPart(decided.tool, args={}, tool_call_id=f"demo_{newest + 1}")


def _calls(message: ModelMessage) -> list[ToolCallPart]:
    return [part for part in message.parts if isinstance(part, ToolCallPart)]


def _number_of(call: ToolCallPart) -> int:
    match = _CALL_ID.fullmatch(call.tool_call_id)
    return int(match[1]) if match else 0


def _conversation(tail: Sequence[ModelMessage]) -> Conversation:
    """The history as a conversation. Every tool return is a transition, since the demo model calls no other tools."""
    lines: list[Line] = []
    entered_at = transitions_taken = 0
    for message in tail:
        for part in message.parts:
            if isinstance(part, TextPart) and part.content:
                lines.append(Line(by_model=True, text=part.content.replace(DEMO_MARK, "")))
            elif isinstance(part, UserPromptPart):
                text = _text_of(part)
                if text == OPENING_CUE:  # the placeholder before the user's first message
                    continue
                lines.append(Line(by_model=False, text=text.replace(DEMO_MARK, "")))
                transitions_taken = 0
            elif isinstance(part, ToolReturnPart):
                entered_at = len(lines)
                transitions_taken += 1
    return Conversation(tuple(lines), entered_at, transitions_taken)


def _text_of(part: UserPromptPart) -> str:
    if isinstance(part.content, str):
        return part.content
    return " ".join(content for content in part.content if isinstance(content, str))


def _instructions(messages: Sequence[ModelMessage], parameters: ModelRequestParameters) -> str:
    if parameters.instruction_parts:
        return InstructionPart.join(parameters.instruction_parts) or ""
    given = (each.instructions for each in reversed(messages) if isinstance(each, ModelRequest))
    return next((each for each in given if each is not None), "")


def _chunks(text: str, seconds: float) -> list[str]:
    """Split a text into pieces of whole words to stream over the given seconds."""
    words = re.findall(r"\s*\S+\s*", text) or [text]
    pieces = max(1, min(len(words), int(seconds / MIN_PAUSE_SECONDS)))
    bounds = [len(words) * number // pieces for number in range(pieces + 1)]
    return ["".join(words[start:end]) for start, end in pairwise(bounds)]


async def _until(moment: float) -> None:
    left = moment - monotonic()
    if left > 0:
        await asyncio.sleep(left)


def _tokens(text: str) -> int:
    """An estimate: about four characters per token in English."""
    return -(-len(text) // _CHARACTERS_PER_TOKEN)
