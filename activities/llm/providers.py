"""The edge to model providers: any model behind one call, with typed failures and prices."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

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

from activities.llm.interface import ModelAnswer, ModelCall, OnDelta, ProviderFailed, RecordCall, ReplyCancelled, ignore
from activities.llm.messages import as_model_messages, serialised, stored, words_only
from activities.llm.request import ModelRequestInFlight, StreamInterrupted
from activities.llm.usage_estimates import CutResponse
from domain.agents.names import UNPARSED_ARGUMENTS
from domain.agents.tools import OfferedTool
from domain.turns.engine import ModelReply, ToolCall
from domain.usage import Cost, ModelUsage, TokenPrice, Usage, cost_of, rounded_cost, unpriced_cost

RETRYABLE_REJECTIONS = frozenset({408, 409, 425})
"""HTTP statuses below 500 after which the same request may succeed (429 has an error type of its own)."""


class ModelProviders:
    """Calls any model that pydantic-ai knows, and those that the installation brings itself.

    `prices` go before those of genai-prices, by `<provider>:<model>`. `own_models` makes models by their model string.
    """

    def __init__(
        self, *, prices: Mapping[str, TokenPrice], own_models: Mapping[str, Callable[[], Model]] | None = None
    ) -> None:
        self._prices = prices
        self._own_models = own_models or {}
        self._models: dict[str, Model] = {}

    async def call(self, call: ModelCall, hear: OnDelta = ignore) -> ModelAnswer:
        """Ask the model once, streaming. Raises `ProviderFailed`; a reply that breaks off is a failure.

        Cancelled after the provider was asked, it raises `ReplyCancelled` with the words that were said until then.
        """
        new = as_model_messages(call.messages)
        offered = ModelRequestParameters(function_tools=[_offered(tool) for tool in call.tools], allow_text_output=True)
        asking = ModelRequestInFlight(
            [*stored(call.history), *new], call.instructions, offered, call.timeout, call.seed
        )
        try:
            async with _failures_told(call.model, call.timeout):
                model = self._model(call.model)
                response = await asking.streamed(model, hear)
        except asyncio.CancelledError as cancelled:
            if asking.model is None:
                raise
            heard = asking.cut()
            reply = self._cut_reply(asking.model, heard)
            raise ReplyCancelled(
                ModelAnswer(reply, messages=serialised([*new, *words_only([heard.response])]))
            ) from cancelled
        said = [response] if call.keeps_calls else words_only([response])
        return ModelAnswer(reply=self._reply(model, response), messages=serialised([*new, *said]))

    async def record(self, call: RecordCall) -> ModelAnswer:
        """Ask for structured data by a tool that the model must call. Its messages are no part of the conversation.

        Cancelled after the provider was asked, it raises `ReplyCancelled` with what was probably spent.
        """
        asked = ModelRequest(parts=[UserPromptPart(content=call.asked)])
        said = words_only(stored(call.history))
        asking = ModelRequestInFlight([*said, asked], call.instructions, _recording(call), call.timeout, call.seed)
        try:
            async with _failures_told(call.model, call.timeout):
                model = self._model(call.model)
                response = await asking.in_one_piece(model)
        except asyncio.CancelledError as cancelled:
            if asking.model is None:
                raise
            reply = self._cut_reply(asking.model, asking.cut())
            raise ReplyCancelled(ModelAnswer(reply, messages="[]")) from cancelled
        return ModelAnswer(reply=self._reply(model, response), messages="[]")

    def _model(self, name: str) -> Model:
        if name not in self._models:
            make = self._own_models.get(name)
            self._models[name] = make() if make else infer_model(name, provider_factory=_provider_without_retries)
        return self._models[name]

    def load(self, name: str) -> None:
        """Load a model's provider before the first reply needs it.

        Loading takes a second on a quiet machine and many on a busy one, and blocks the worker's heartbeats.
        A model that cannot be loaded is ignored here: the turn that asks for it fails with the reason.
        """
        with suppress(UserError, ImportError, ValueError):
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

    def _cut_reply(self, model: Model, said: CutResponse) -> ModelReply:
        """The reply as far as it was heard. A tool call may be half a call, so none is kept."""
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
async def _failures_told(model: str, seconds: float) -> AsyncIterator[None]:
    """Bound the call in time, and turn whatever goes wrong into a `ProviderFailed` that says if it may pass."""
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


def _offered(tool: OfferedTool) -> ToolDefinition:
    return ToolDefinition(
        name=tool.name,
        description=tool.description,
        parameters_json_schema=dict(tool.parameters),
    )


def _recording(call: RecordCall) -> ModelRequestParameters:
    """The one tool by which a model hands in what it has found."""
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
