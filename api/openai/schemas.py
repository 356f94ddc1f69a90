"""The JSON of OpenAI's chat protocol: what its clients send, and what they are answered."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SerializerFunctionWrapHandler, model_serializer

from api.openai.examples import CHUNK, COMPLETION, MODEL, REQUEST
from api.schemas.requests import Phrase, Text, Values

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
FinishReason = Literal["stop", "length"]

UNUSED: Final = frozenset(
    {
        "frequency_penalty",
        "max_completion_tokens",
        "max_tokens",
        "parallel_tool_calls",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "safety_identifier",
        "seed",
        "service_tier",
        "store",
        "temperature",
        "top_p",
        "user",
        "verbosity",
    }
)
"""Parameters that are taken and not used: how the model is asked is the agent's business."""


class _Given(BaseModel):
    """Fields that are not known are kept, to be looked at one by one."""

    model_config = ConfigDict(frozen=True, extra="allow")


class ContentPart(_Given):
    """A part of a message. Only text is taken."""

    type: str
    text: Text | None = None


class ChatMessage(_Given):
    """A message of the conversation as the client knows it."""

    role: Role
    content: Text | list[ContentPart] | None = None


class StreamOptions(_Given):
    """What a stream tells besides the reply."""

    include_usage: bool = False


class ChatRequest(_Given):
    """What an OpenAI client sends. Parameters that would change what a session does are refused, others not used."""

    model_config = ConfigDict(json_schema_extra={"examples": [REQUEST]})

    model: Annotated[Phrase, Field(description="An agent's name or id, and `@version` where another than the latest.")]
    messages: Annotated[
        list[ChatMessage],
        Field(description="The last user message is said; what stands before it must be what the session knows."),
    ]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    metadata: Annotated[
        dict[str, Text] | None,
        Field(description="`session_id` names the session. The rest is kept in the annotations of a new session."),
    ] = None
    initial_context: Annotated[
        Values | None, Field(description="Not OpenAI's: values for the agent's templates, for a new session.")
    ] = None

    @property
    def tells_usage(self) -> bool:
        """Whether a stream of the reply ends with what it took."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def others(self) -> dict[str, JsonValue]:
        """The parameters that have no field here."""
        return self.model_extra or {}


class PromptDetails(BaseModel):
    """How many of the prompt's tokens came from a cache."""

    cached_tokens: int


class CompletionUsage(BaseModel):
    """Tokens of this turn, over all of its model calls."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails


class Reply(BaseModel):
    """What the agent said."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    """The one reply. `finish_reason` is `length` when it was interrupted."""

    index: Literal[0] = 0
    message: Reply
    finish_reason: FinishReason
    logprobs: None = None


class TurnMetadata(BaseModel):
    """Where the reply stands in Playhead. Values are text, as everywhere in OpenAI's metadata."""

    session_id: str
    turn_id: str
    node_id: str
    status: str


class ChatCompletion(BaseModel):
    """A reply. `session_id` (also in the header `X-Session-Id`) names the session from now on."""

    model_config = ConfigDict(json_schema_extra={"examples": [COMPLETION]})

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[Choice]
    usage: CompletionUsage
    session_id: str
    metadata: TurnMetadata


class Delta(BaseModel):
    """A piece of the reply; the first says whose it is, and the last has nothing."""

    role: Literal["assistant"] | None = None
    content: str | None = None

    @model_serializer(mode="wrap")
    def _without_nothing(self, serialize: SerializerFunctionWrapHandler) -> dict[str, str]:
        return {name: value for name, value in serialize(self).items() if value is not None}


class ChunkChoice(BaseModel):
    """A piece of the one reply, and at its end why it ended."""

    index: Literal[0] = 0
    delta: Delta
    finish_reason: FinishReason | None = None
    logprobs: None = None


class ChatCompletionChunk(BaseModel):
    """An event of a streamed reply."""

    model_config = ConfigDict(json_schema_extra={"examples": [CHUNK]})

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]
    usage: CompletionUsage | None = None
    session_id: str


class Model(BaseModel):
    """An agent as a model."""

    model_config = ConfigDict(json_schema_extra={"examples": [MODEL]})

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["playhead"] = "playhead"


class ModelList(BaseModel):
    """Every agent of the organization."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"object": "list", "data": [MODEL]}]})

    object: Literal["list"] = "list"
    data: list[Model]
