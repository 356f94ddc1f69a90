"""One request to a model: what is asked, what has been heard so far, and what it used when it was cut."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.settings import ModelSettings

from activities.llm.messages import sendable, whole
from activities.llm.usage_estimates import CutResponse, with_estimated_usage


class StreamInterrupted(Exception):
    """A reply ended before it was complete."""


@dataclass
class ModelRequestInFlight:
    """A request, and what came of it until now. `model` is none as long as nothing has been asked."""

    conversation: Sequence[ModelMessage]
    instructions: str
    parameters: ModelRequestParameters
    timeout: float
    """Seconds the provider may be silent."""
    seed: int | None = None
    model: Model | None = None
    _sent: list[ModelMessage] = field(default_factory=list)
    _stream: StreamedResponse | None = None

    async def streamed(self, model: Model, hear: Callable[[str], None]) -> ModelResponse:
        """Stream a reply and return it whole. Raises `StreamInterrupted` and the errors of pydantic-ai.

        `hear` is told its text as it comes. However it ends, the connection is closed then.
        """
        self._note(model)
        async with model_request_stream(
            model,
            self._sent,
            model_settings=self._settings,
            model_request_parameters=self.parameters,
        ) as stream:
            self._stream = stream
            async for event in stream:
                if text := _text_in(event):
                    hear(text)
        response = stream.get()
        if _broke_off(model, response):
            raise StreamInterrupted
        return whole(response)

    async def in_one_piece(self, model: Model) -> ModelResponse:
        """Ask for a reply as a whole. Raises what pydantic-ai raises."""
        self._note(model)
        response = await model_request(
            model,
            self._sent,
            model_settings=self._settings,
            model_request_parameters=self.parameters,
        )
        return whole(response)

    def cut(self) -> CutResponse:
        """What has been heard so far. What the provider has not told of its usage yet is estimated."""
        assert self.model is not None, "nothing was asked"
        response = (
            ModelResponse(parts=[], model_name=self.model.model_name, provider_name=self.model.system)
            if self._stream is None
            else whole(self._stream.get())
        )
        return with_estimated_usage(response, self._sent, self.parameters)

    @property
    def _settings(self) -> ModelSettings:
        settings = ModelSettings(timeout=self.timeout)
        return settings if self.seed is None else ModelSettings(**settings, seed=self.seed)

    def _note(self, model: Model) -> None:
        """From here on the provider may charge for the request."""
        self.model = model
        self._sent = sendable(self.conversation, self.instructions)


def _text_in(event: ModelResponseStreamEvent) -> str:
    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
        return event.part.content
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        return event.delta.content_delta
    return ""


def _broke_off(model: Model, response: ModelResponse) -> bool:
    """Whether the stream ended without a finish reason: it was cut, though pydantic-ai reports it as complete.

    For OpenAI's chat protocol pydantic-ai fills in "stop"; what the provider itself said stands in its details.
    """
    if response.finish_reason != "stop" or not _speaks_openai_chat(model):
        return response.finish_reason is None
    return "finish_reason" not in (response.provider_details or {})


def _speaks_openai_chat(model: Model) -> bool:
    # Looked up, not imported: OpenAI's SDK takes a second to load, and a model of it has loaded it.
    openai = sys.modules.get("pydantic_ai.models.openai")
    return openai is not None and isinstance(model, openai.OpenAIChatModel)
