"""One request to a model: the conversation sent, the response so far, and its usage when it is cancelled."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

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
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings

from activities.llm.messages import repair_response, request_messages
from activities.llm.usage_estimates import PartialResponse, with_estimated_usage
from domain.turns.turn import ReplyFormat


class StreamInterrupted(Exception):
    """A streamed reply ended before it was complete."""


@dataclass
class ModelRequestInFlight:
    """A request and its response so far. `model` is None until the request is sent."""

    conversation: Sequence[ModelMessage]
    instructions: str
    parameters: ModelRequestParameters
    timeout: float
    """Seconds without data from the provider after which the request fails."""
    seed: int | None = None
    model: Model | None = None
    reply_format: ReplyFormat | None = None
    _sent: list[ModelMessage] = field(default_factory=list)
    _stream: StreamedResponse | None = None

    async def stream(self, model: Model, on_delta: Callable[[str], None]) -> ModelResponse:
        """Stream a reply and return it complete. Raises `StreamInterrupted` and the errors of pydantic-ai.

        `on_delta` receives the text while it streams. The connection is closed at the end, also after an error.
        """
        self._start(model)
        async with model_request_stream(
            model,
            self._sent,
            model_settings=self._settings,
            model_request_parameters=with_reply_format(self.parameters, self.reply_format, model),
        ) as stream:
            self._stream = stream
            async for event in stream:
                if text := _text_of(event):
                    on_delta(text)
        response = stream.get()
        if _is_incomplete(model, response):
            raise StreamInterrupted
        return repair_response(response)

    async def complete(self, model: Model) -> ModelResponse:
        """Request a reply without streaming. Raises the errors of pydantic-ai."""
        self._start(model)
        response = await model_request(
            model,
            self._sent,
            model_settings=self._settings,
            model_request_parameters=self.parameters,
        )
        return repair_response(response)

    def partial_response(self) -> PartialResponse:
        """The response so far. Usage that the provider has not reported yet is estimated."""
        assert self.model is not None, "no request was sent"
        response = (
            ModelResponse(parts=[], model_name=self.model.model_name, provider_name=self.model.system)
            if self._stream is None
            else repair_response(self._stream.get())
        )
        return with_estimated_usage(response, self._sent, self.parameters)

    @property
    def _settings(self) -> ModelSettings:
        settings = ModelSettings(timeout=self.timeout)
        return settings if self.seed is None else ModelSettings(**settings, seed=self.seed)

    def _start(self, model: Model) -> None:
        """Mark the request as sent: from here on the provider may charge for it."""
        self.model = model
        self._sent = request_messages(self.conversation, self.instructions)


def with_reply_format(
    parameters: ModelRequestParameters, reply_format: ReplyFormat | None, model: Model
) -> ModelRequestParameters:
    """The parameters with the form of the reply.

    The provider enforces it if it can; otherwise the instructions ask for it.
    """
    if reply_format is None:
        return parameters
    schema = reply_format.json_schema
    if schema is None:
        output = OutputObjectDefinition(json_schema={"type": "object"})
    else:
        output = OutputObjectDefinition(
            json_schema=schema,
            name=reply_format.name,
            description=reply_format.description,
            strict=bool(reply_format.strict),
        )
    is_enforced = schema is not None and model.profile.get("supports_json_schema_output", False)
    return replace(parameters, output_mode="native" if is_enforced else "prompted", output_object=output)


def _text_of(event: ModelResponseStreamEvent) -> str:
    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
        return event.part.content
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        return event.delta.content_delta
    return ""


def _is_incomplete(model: Model, response: ModelResponse) -> bool:
    """True when the stream ended without a finish reason, which pydantic-ai reports as a complete response.

    For OpenAI's chat protocol pydantic-ai fills in "stop"; the provider's own finish reason is in its details.
    """
    if response.finish_reason != "stop" or not _is_openai_chat(model):
        return response.finish_reason is None
    return "finish_reason" not in (response.provider_details or {})


def _is_openai_chat(model: Model) -> bool:
    # Not imported: OpenAI's SDK takes a second to load, and it is loaded already if the model is one of its own.
    openai = sys.modules.get("pydantic_ai.models.openai")
    return openai is not None and isinstance(model, openai.OpenAIChatModel)
