"""Calls model providers through pydantic-ai, with typed errors and prices."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TypeGuard

from cachetools import LRUCache
from pydantic import JsonValue
from pydantic_ai.exceptions import (
    ContentFilterError,
    ModelAPIError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelRequestRejectedError,
    UserError,
)
from pydantic_ai.messages import (
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, infer_model
from pydantic_ai.providers import Provider, infer_provider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from activities.llm.error_texts import ErrorTexts
from activities.llm.interface import (
    ModelAnswer,
    ModelCall,
    OnDelta,
    ProviderFailed,
    RecordCall,
    ReplyCancelled,
    ignore_delta,
)
from activities.llm.messages import deserialize, request_messages, serialize, text_only, to_model_messages
from activities.llm.openai_requests import send_conversations_as_they_are
from activities.llm.request import ModelRequestInFlight, StreamInterrupted
from activities.llm.usage_estimates import PartialResponse
from domain.agents.names import UNPARSED_ARGUMENTS
from domain.agents.tools import OfferedTool
from domain.turns.engine import ModelReply, ToolCall
from domain.usage import Cost, ModelUsage, TokenPrice, Usage, cost_of, rounded_cost, unpriced_cost

if TYPE_CHECKING:
    from openai import AsyncOpenAI

log = logging.getLogger(__name__)

RETRYABLE_REJECTIONS = frozenset({408, 409, 425})
"""Retryable HTTP statuses below 500, except 429, which pydantic-ai raises as an error type of its own."""
MAX_COUNTING_SECONDS = 5.0
"""Longest wait for a provider's count of tokens; without it they are estimated."""
MAX_LOADED_MODELS = 100
"""Models kept loaded by a worker; organizations choose their names."""


class ModelProviders:
    """Calls any model that pydantic-ai supports, and the installation's own.

    `prices` override those of genai-prices, by the model string of an agent or by the name of the model in its usage,
    which may differ: `openai-chat:clerk` appears there as `openai:clerk`. `own_models` maps model names to factories.
    `credentials` are secrets that no error text may contain, beside those of the environment.
    """

    def __init__(
        self,
        *,
        prices: Mapping[str, TokenPrice],
        own_models: Mapping[str, Callable[[], Model]] | None = None,
        credentials: Collection[str] = (),
    ) -> None:
        self._prices = prices
        self._error_texts = ErrorTexts(credentials)
        self._own_models = own_models or {}
        self._models: LRUCache[str, Model] = LRUCache(MAX_LOADED_MODELS)

    async def call(self, call: ModelCall, on_delta: OnDelta = ignore_delta) -> ModelAnswer:
        """Call the model once, streaming. Raises `ProviderFailed`, also for an incomplete reply.

        A call that is cancelled after its request was sent raises `ReplyCancelled` with the text so far.
        """
        new = to_model_messages(call.messages)
        tools = [_tool_definition(tool) for tool in call.tools]
        parameters = ModelRequestParameters(function_tools=tools, allow_text_output=True)
        conversation = [*deserialize(call.history), *new]
        request = ModelRequestInFlight(
            conversation, call.instructions, parameters, call.timeout, call.seed, reply_format=call.reply_format
        )
        try:
            model, response = await self._answered(call, lambda model: request.stream(model, on_delta))
        except asyncio.CancelledError as cancelled:
            if request.model is None:
                raise
            partial = request.partial_response()
            reply = self._partial_reply(call.model, request.model, partial)
            messages = serialize([*new, *text_only([partial.response])])
            raise ReplyCancelled(ModelAnswer(reply, messages=messages)) from cancelled
        kept = [response] if call.keep_tool_calls else text_only([response])
        return ModelAnswer(reply=self._reply(call.model, model, response), messages=serialize([*new, *kept]))

    async def record(self, call: RecordCall) -> ModelAnswer:
        """Call the model for structured output. Its messages are not part of the conversation.

        A call that is cancelled after its request was sent raises `ReplyCancelled` with the estimated usage.
        """
        prompt = ModelRequest(parts=[UserPromptPart(content=call.asked)])
        conversation = [*text_only(deserialize(call.history)), prompt]
        parameters = _output_parameters(call)
        request = ModelRequestInFlight(conversation, call.instructions, parameters, call.timeout, call.seed)
        try:
            model, response = await self._answered(call, request.complete)
        except asyncio.CancelledError as cancelled:
            if request.model is None:
                raise
            reply = self._partial_reply(call.model, request.model, request.partial_response())
            raise ReplyCancelled(ModelAnswer(reply, messages="[]")) from cancelled
        return ModelAnswer(reply=self._reply(call.model, model, response), messages="[]")

    async def count_tokens(self, call: ModelCall) -> int | None:
        """The tokens of a request, counted by the provider; None if it cannot count or does not answer."""
        conversation = [*deserialize(call.history), *to_model_messages(call.messages)]
        parameters = ModelRequestParameters(
            function_tools=[_tool_definition(tool) for tool in call.tools], allow_text_output=True
        )
        messages = request_messages(conversation, call.instructions)
        try:
            async with asyncio.timeout(min(call.timeout, MAX_COUNTING_SECONDS)):
                usage = await self._model(call.model).count_tokens(messages, ModelSettings(), parameters)
        except NotImplementedError:  # pydantic-ai has no other sign of a provider that cannot count
            return None
        except Exception as error:
            log.warning("the tokens of a request to %s could not be counted: %s", call.model, type(error).__name__)
            return None
        return usage.input_tokens or None

    def context_window(self, model: str) -> int | None:
        """The tokens that a model can read and write in one call; None if they are not known."""
        try:
            return self._model(model).context_window
        except (UserError, ImportError, ValueError, OSError):
            return None  # the call itself fails with the reason

    async def _answered(
        self, call: ModelCall | RecordCall, ask: Callable[[Model], Awaitable[ModelResponse]]
    ) -> tuple[Model, ModelResponse]:
        """Request a response, with a timeout. Every error becomes a permanent or retryable `ProviderFailed`.

        It has no cause: Temporal would write the full text of the provider's error to the history.
        """
        try:
            async with asyncio.timeout(call.timeout):
                model = self._model(call.model)
                return model, await ask(model)
        except Exception as error:
            failure = self._failure(call, error)
        raise failure

    def _failure(self, call: ModelCall | RecordCall, error: Exception) -> ProviderFailed:
        """An error as a failed call, without secrets in its text. The operator's log gets what is left out."""
        match error:
            case ProviderFailed():
                return error
            case StreamInterrupted():
                return ProviderFailed(f"The reply of {call.model} broke off before its end.", permanent=False)
            case TimeoutError():
                text = f"The model {call.model} did not answer within {call.timeout:g} seconds."
                return ProviderFailed(text, permanent=False)
        text = self._error_texts.for_callers(str(error))
        log.warning(
            "the call of %s failed with %s: %s", call.model, type(error).__name__, self._error_texts.for_log(str(error))
        )
        match error:
            case ModelAPIError():
                return _rejection(call.model, error, text)
            case UserError() | ImportError() | ContentFilterError():
                text = text or f"The model {call.model} cannot be used: this installation is not set up for it."
                return ProviderFailed(text, permanent=True)
        text = text or f"The call of {call.model} failed."
        return ProviderFailed(f"{type(error).__name__}: {text}", permanent=False)

    def _model(self, name: str) -> Model:
        model = self._models.get(name)
        if model is None:
            factory = self._own_models.get(name)
            model = factory() if factory else infer_model(name, provider_factory=_provider_without_retries)
            self._models[name] = model
        return model

    def load(self, name: str) -> None:
        """Import a model's provider before the first call.

        The import takes a second or more and blocks the worker's heartbeats. A model that cannot be loaded is
        ignored here: the turn that needs it fails with the reason.
        """
        with suppress(UserError, ImportError, ValueError, OSError):
            self._model(name)

    def _reply(self, name: str, model: Model, response: ModelResponse) -> ModelReply:
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
            cost=self._cost(name, key, used, response),
        )

    def _partial_reply(self, name: str, model: Model, said: PartialResponse) -> ModelReply:
        """The reply so far, without tool calls: they may be incomplete."""
        return self._reply(name, model, said.response).model_copy(
            update={"tool_calls": (), "interrupted": True, "estimated": said.estimated}
        )

    def _cost(self, name: str, key: str, used: ModelUsage, response: ModelResponse) -> Cost:
        own = self._prices.get(name) or self._prices.get(key)
        if own is not None:
            return cost_of(key, used, own)
        try:
            return rounded_cost(key, response.cost().total_price)
        except (LookupError, ValueError):
            return unpriced_cost(key)


def _tool_definition(tool: OfferedTool) -> ToolDefinition:
    return ToolDefinition(
        name=tool.name,
        description=tool.description,
        parameters_json_schema=dict(tool.parameters),
    )


def _output_parameters(call: RecordCall) -> ModelRequestParameters:
    """Request parameters with the one tool that the model must call."""
    tool = ToolDefinition(
        name=call.tool, description=call.description, parameters_json_schema=call.schema, kind="output"
    )
    return ModelRequestParameters(output_mode="tool", output_tools=[tool], allow_text_output=False)


def _tool_call(part: ToolCallPart) -> ToolCall:
    try:
        arguments: dict[str, JsonValue] = part.args_as_dict(raise_if_invalid=True)
    except (ValueError, AssertionError):
        arguments = {UNPARSED_ARGUMENTS: str(part.args)}
    return ToolCall(id=part.tool_call_id, name=part.tool_name, arguments=arguments)


def _rejection(model: str, error: ModelAPIError, text: str) -> ProviderFailed:
    if isinstance(error, ModelContextWindowExceededError):
        return ProviderFailed(_too_long(model, text), permanent=True, too_long=True)
    status = f" with status {error.status_code}" if isinstance(error, ModelHTTPError) else ""
    text = text or f"The provider of {model} rejected the request{status}."
    return ProviderFailed(text, permanent=_is_permanent(error), retry_after=error.retry_after)


def _too_long(model: str, said: str) -> str:
    """The error text for a request that is too long for the model, with the provider's own text."""
    text = f"The request is too long for the context window of {model}, even without earlier turns."
    advice = "Shorten the message, the prompt or the results of tools."
    return f"{text} {advice} The provider said: {said}" if said else f"{text} {advice}"


def _provider_without_retries(name: str) -> Provider[object]:
    """A provider whose SDK does not retry: Temporal does, visibly."""
    provider: Provider[object] = infer_provider(name)
    client = provider.client
    if hasattr(client, "max_retries"):
        client.max_retries = 0
    if _is_openai(client):
        send_conversations_as_they_are(client)
    return provider


def _is_openai(client: object) -> "TypeGuard[AsyncOpenAI]":
    """True for the client of OpenAI, which other providers use too; it is not imported for any of the rest."""
    module = sys.modules.get("openai")
    return module is not None and isinstance(client, module.AsyncOpenAI)


def _is_permanent(error: ModelAPIError) -> bool:
    if isinstance(error, ModelRequestRejectedError):
        return not (isinstance(error, ModelHTTPError) and error.status_code in RETRYABLE_REJECTIONS)
    return isinstance(error, ModelQuotaExceededError)
