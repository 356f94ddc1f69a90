"""Calls model providers through pydantic-ai, with typed errors and prices."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from cachetools import LRUCache
from pydantic import JsonValue
from pydantic_ai.exceptions import (
    ContentFilterError,
    ModelAPIError,
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
from pydantic_ai.tools import ToolDefinition

from activities.llm.interface import (
    ModelAnswer,
    ModelCall,
    OnDelta,
    ProviderFailed,
    RecordCall,
    ReplyCancelled,
    ignore_delta,
)
from activities.llm.messages import deserialize, serialize, text_only, to_model_messages
from activities.llm.request import ModelRequestInFlight, StreamInterrupted
from activities.llm.usage_estimates import PartialResponse
from domain.agents.names import UNPARSED_ARGUMENTS
from domain.agents.tools import OfferedTool
from domain.turns.engine import ModelReply, ToolCall
from domain.usage import Cost, ModelUsage, TokenPrice, Usage, cost_of, rounded_cost, unpriced_cost

RETRYABLE_REJECTIONS = frozenset({408, 409, 425})
"""Retryable HTTP statuses below 500, except 429, which pydantic-ai raises as an error type of its own."""
MAX_LOADED_MODELS = 100
"""Models kept loaded by a worker; organizations choose their names."""


class ModelProviders:
    """Calls any model that pydantic-ai supports, and the installation's own.

    `prices`, by `<provider>:<model>`, override those of genai-prices. `own_models` maps model names to factories.
    """

    def __init__(
        self, *, prices: Mapping[str, TokenPrice], own_models: Mapping[str, Callable[[], Model]] | None = None
    ) -> None:
        self._prices = prices
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
        request = ModelRequestInFlight(conversation, call.instructions, parameters, call.timeout, call.seed)
        try:
            async with _provider_errors(call.model, call.timeout):
                model = self._model(call.model)
                response = await request.stream(model, on_delta)
        except asyncio.CancelledError as cancelled:
            if request.model is None:
                raise
            partial = request.partial_response()
            reply = self._partial_reply(request.model, partial)
            messages = serialize([*new, *text_only([partial.response])])
            raise ReplyCancelled(ModelAnswer(reply, messages=messages)) from cancelled
        kept = [response] if call.keep_tool_calls else text_only([response])
        return ModelAnswer(reply=self._reply(model, response), messages=serialize([*new, *kept]))

    async def record(self, call: RecordCall) -> ModelAnswer:
        """Call the model for structured output. Its messages are not part of the conversation.

        A call that is cancelled after its request was sent raises `ReplyCancelled` with the estimated usage.
        """
        prompt = ModelRequest(parts=[UserPromptPart(content=call.asked)])
        conversation = [*text_only(deserialize(call.history)), prompt]
        parameters = _output_parameters(call)
        request = ModelRequestInFlight(conversation, call.instructions, parameters, call.timeout, call.seed)
        try:
            async with _provider_errors(call.model, call.timeout):
                model = self._model(call.model)
                response = await request.complete(model)
        except asyncio.CancelledError as cancelled:
            if request.model is None:
                raise
            reply = self._partial_reply(request.model, request.partial_response())
            raise ReplyCancelled(ModelAnswer(reply, messages="[]")) from cancelled
        return ModelAnswer(reply=self._reply(model, response), messages="[]")

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

    def _partial_reply(self, model: Model, said: PartialResponse) -> ModelReply:
        """The reply so far, without tool calls: they may be incomplete."""
        return self._reply(model, said.response).model_copy(
            update={"tool_calls": (), "interrupted": True, "estimated": said.estimated}
        )

    def _cost(self, key: str, used: ModelUsage, response: ModelResponse) -> Cost:
        own = self._prices.get(key)
        if own is not None:
            return cost_of(key, used, own)
        try:
            return rounded_cost(key, response.cost().total_price)
        except (LookupError, ValueError):
            return unpriced_cost(key)


@asynccontextmanager
async def _provider_errors(model: str, seconds: float) -> AsyncIterator[None]:
    """Limit the call's time, and convert every error to a permanent or retryable `ProviderFailed`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except ProviderFailed:
        raise
    except StreamInterrupted as error:
        raise ProviderFailed(f"The reply of {model} broke off before its end.", permanent=False) from error
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


def _provider_without_retries(name: str) -> Provider[object]:
    """A provider whose SDK does not retry: Temporal does, visibly."""
    provider: Provider[object] = infer_provider(name)
    client = provider.client
    if hasattr(client, "max_retries"):
        client.max_retries = 0
    return provider


def _is_permanent(error: ModelAPIError) -> bool:
    if isinstance(error, ModelRequestRejectedError):
        return not (isinstance(error, ModelHTTPError) and error.status_code in RETRYABLE_REJECTIONS)
    return isinstance(error, ModelQuotaExceededError)
