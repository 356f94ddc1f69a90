"""The edge to model providers: Playhead's messages in and out of pydantic-ai, typed failures, prices."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import lru_cache

from pydantic import JsonValue
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.exceptions import (
    ContentFilterError,
    ModelAPIError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelRequestRejectedError,
    UserError,
)
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
from pydantic_ai.models import Model, ModelRequestParameters, infer_model
from pydantic_ai.providers import Provider, infer_provider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from activities.demo import demo_model
from activities.model import ExtractionCall, ModelAnswer, ModelCall, ProviderFailed
from domain.agent_names import UNPARSED
from domain.agent_tools import OfferedTool
from domain.engine import ModelReply, ToolCall
from domain.extraction import EXTRACTION_INSTRUCTIONS, RECORD_TOOL
from domain.turns import AgentSaid, Message, ToolReturned, UserSaid
from domain.usage import Cost, ModelUsage, TokenPrice, Usage, cost_of, priced, unpriced

DEMO = "demo"
"""The model string of the offline scripted model."""
EXTRACTION_CUE = "(The conversation pauses here. Record the variables now.)"
"""Goes after a conversation from which variables are read: providers insist that a user speaks last."""
OPENING_CUE = "(The conversation begins. The user has not said anything yet.)"
"""Goes before a conversation that the agent opens: several providers insist that a user speaks first."""
RETRYABLE_REJECTIONS = frozenset({408, 409, 425})
"""HTTP statuses below 500 after which the same request may succeed (429 has an error type of its own)."""
FREE = TokenPrice(input=Decimal(0), output=Decimal(0))


class ModelProviders:
    """Calls any model that pydantic-ai knows, and the offline demo model.

    `prices` go before those of genai-prices, by `<provider>:<model>`.
    """

    def __init__(self, *, prices: Mapping[str, TokenPrice], demo_delay_seconds: float = 0.0) -> None:
        self._prices = prices
        self._demo_delay_seconds = demo_delay_seconds
        self._models: dict[str, Model] = {}

    async def call(self, call: ModelCall) -> ModelAnswer:
        """Ask the model once, streaming. Raises `ProviderFailed`; a reply that breaks off is a failure."""
        new = _as_model_messages(call.messages)
        async with _failures_told(call.model, call.timeout):
            model = self._model(call.model)
            response = _whole(await _ask(model, call, new))
        return ModelAnswer(
            reply=self._reply(model, response),
            messages=ModelMessagesTypeAdapter.dump_json([*new, response]).decode(),
        )

    async def extract(self, call: ExtractionCall) -> ModelAnswer:
        """Ask for structured data by a tool that the model must call. Its messages are no part of the conversation."""
        async with _failures_told(call.model, call.timeout):
            model = self._model(call.model)
            response = _whole(await _ask_for_data(model, call))
        return ModelAnswer(reply=self._reply(model, response), messages="[]")

    def _model(self, name: str) -> Model:
        if name not in self._models:
            if name == DEMO:
                self._models[name] = demo_model(delay_seconds=self._demo_delay_seconds)
            else:
                self._models[name] = infer_model(name, provider_factory=_provider_without_retries)
        return self._models[name]

    def _reply(self, model: Model, response: ModelResponse) -> ModelReply:
        key = f"{model.system}:{model.model_name}"
        used = ModelUsage(
            prompt_tokens=response.usage.input_tokens,
            completion_tokens=response.usage.output_tokens,
            total_tokens=response.usage.input_tokens + response.usage.output_tokens,
            cache_read_input_tokens=response.usage.cache_read_tokens,
            cache_creation_input_tokens=response.usage.cache_write_tokens,
            requests=1,
        )
        return ModelReply(
            text="".join(part.content for part in response.parts if isinstance(part, TextPart)).strip(),
            tool_calls=tuple(_tool_call(part) for part in response.parts if isinstance(part, ToolCallPart)),
            usage=Usage(llm={key: used}),
            cost=self._cost(key, used, response),
        )

    def _cost(self, key: str, used: ModelUsage, response: ModelResponse) -> Cost:
        own = self._prices.get(key) or (FREE if key.startswith(f"{DEMO}:") else None)
        if own is not None:
            return cost_of(key, used, own)
        try:
            return priced(key, response.cost().total_price)
        except (LookupError, ValueError):
            return unpriced(key)


@asynccontextmanager
async def _failures_told(model: str, seconds: float) -> AsyncIterator[None]:
    """Bound the call in time, and turn whatever goes wrong into a `ProviderFailed` that says if it may pass."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except ProviderFailed:
        raise
    except TimeoutError as error:
        raise ProviderFailed(
            f"The model {model} did not answer within {seconds:g} seconds.", permanent=False
        ) from error
    except ModelAPIError as error:
        raise ProviderFailed(str(error), permanent=_is_permanent(error), retry_after=error.retry_after) from error
    except (UserError, ImportError, ContentFilterError) as error:
        raise ProviderFailed(str(error), permanent=True) from error
    except Exception as error:
        raise ProviderFailed(f"{type(error).__name__}: {error}", permanent=False) from error


async def _ask_for_data(model: Model, call: ExtractionCall) -> ModelResponse:
    said = _words_only([message for step in call.history for message in _stored(step)])
    asked = ModelRequest(parts=[UserPromptPart(content=EXTRACTION_CUE)])
    return await model_request(
        model,
        _sendable([*said, asked], EXTRACTION_INSTRUCTIONS, opens_with_cue=model.system != DEMO),
        model_settings=ModelSettings(timeout=call.timeout),
        model_request_parameters=ModelRequestParameters(
            output_mode="tool",
            output_tools=[
                ToolDefinition(
                    name=RECORD_TOOL,
                    description="Record what was found in the conversation.",
                    parameters_json_schema=call.schema,
                    kind="output",
                )
            ],
            allow_text_output=False,
        ),
    )


def _words_only(messages: Sequence[ModelMessage]) -> list[ModelMessage]:
    """What was said, without the calls of tools and what came of them: some of those are still unanswered."""
    said: list[ModelMessage] = []
    for message in messages:
        if isinstance(message, ModelRequest):
            prompts = [part for part in message.parts if isinstance(part, UserPromptPart)]
            said.append(ModelRequest(parts=prompts))
        else:
            said.append(ModelResponse(parts=[part for part in message.parts if isinstance(part, TextPart)]))
    return said


async def _ask(model: Model, call: ModelCall, new: Sequence[ModelMessage]) -> ModelResponse:
    earlier = [message for step in call.history for message in _stored(step)]
    async with model_request_stream(
        model,
        _sendable([*earlier, *new], call.instructions, opens_with_cue=model.system != DEMO),
        model_settings=ModelSettings(timeout=call.timeout),
        model_request_parameters=ModelRequestParameters(
            function_tools=[_offered(tool) for tool in call.tools], allow_text_output=True
        ),
    ) as stream:
        async for _ in stream:
            pass
    response = stream.get()
    if _broke_off(model, response):
        raise ProviderFailed(f"The reply of {call.model} broke off before its end.", permanent=False)
    return response


def _broke_off(model: Model, response: ModelResponse) -> bool:
    """Whether the stream ended without a finish reason: it was cut, though pydantic-ai reports it as complete.

    For OpenAI's chat protocol pydantic-ai fills in "stop"; what the provider itself said stands in its details.
    """
    if response.finish_reason != "stop" or model.system == DEMO:
        return response.finish_reason is None
    return _speaks_openai_chat(type(model)) and "finish_reason" not in (response.provider_details or {})


@lru_cache
def _speaks_openai_chat(kind: type[Model]) -> bool:
    # Loads OpenAI's SDK: a second that a worker with the demo model does not spend.
    from pydantic_ai.models.openai import OpenAIChatModel  # noqa: PLC0415

    return issubclass(kind, OpenAIChatModel)


@lru_cache(maxsize=8192)
def _stored(messages: str) -> tuple[ModelMessage, ...]:
    """Messages of an earlier step. Parsed once: a conversation is read again at every one of its turns."""
    return tuple(ModelMessagesTypeAdapter.validate_json(messages))


def _as_model_messages(messages: Sequence[Message]) -> list[ModelMessage]:
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


def _sendable(messages: list[ModelMessage], instructions: str, *, opens_with_cue: bool) -> list[ModelMessage]:
    """The whole conversation as providers accept it: no empty replies, a user first, the instructions last."""
    kept = [message for message in messages if message.parts]
    if opens_with_cue and (not kept or isinstance(kept[0], ModelResponse)):
        kept.insert(0, ModelRequest(parts=[UserPromptPart(content=OPENING_CUE)]))
    last = kept[-1] if kept else None
    if isinstance(last, ModelRequest):
        return [*kept[:-1], ModelRequest(parts=last.parts, instructions=instructions)]
    return [*kept, ModelRequest(parts=[], instructions=instructions)]


def _offered(tool: OfferedTool) -> ToolDefinition:
    return ToolDefinition(
        name=tool.name,
        description=tool.description,
        parameters_json_schema=dict(tool.parameters),
    )


def _tool_call(part: ToolCallPart) -> ToolCall:
    try:
        arguments: dict[str, JsonValue] = part.args_as_dict(raise_if_invalid=True)
    except (ValueError, AssertionError):
        arguments = {UNPARSED: str(part.args)}
    return ToolCall(id=part.tool_call_id, name=part.tool_name, arguments=arguments)


def _whole(response: ModelResponse) -> ModelResponse:
    """The reply without halves of characters, which neither the store nor Temporal can hold.

    Some providers cut their stream in the middle of a character; where both halves came, they are joined.
    """
    for part in response.parts:
        if isinstance(part, TextPart | ThinkingPart):
            part.content = _whole_text(part.content)
        elif isinstance(part, ToolCallPart) and isinstance(part.args, str):
            part.args = _whole_text(part.args)
    return response


def _whole_text(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _provider_without_retries(name: str) -> Provider[object]:
    """A provider whose SDK tries once: Temporal retries, where it can be seen."""
    provider: Provider[object] = infer_provider(name)
    client = provider.client
    if hasattr(client, "max_retries"):
        client.max_retries = 0
    return provider


def _is_permanent(error: ModelAPIError) -> bool:
    if isinstance(error, ModelRequestRejectedError):
        return not (isinstance(error, ModelHTTPError) and error.status_code in RETRYABLE_REJECTIONS)
    return isinstance(error, ModelQuotaExceededError)
