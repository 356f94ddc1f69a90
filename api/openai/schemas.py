"""JSON of OpenAI's chat protocol: request and response models."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SerializerFunctionWrapHandler, model_serializer

from api.openai.examples import CHUNK, COMPLETION, MODEL, REQUEST
from api.schemas.requests import AnyJson, Items, Phrase, Text, Values
from domain.sessions.commands import OnBusy

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
FinishReason = Literal["stop", "length", "tool_calls", "function_call"]


class _RequestModel(BaseModel):
    """Unknown fields are kept, to be checked one by one."""

    model_config = ConfigDict(frozen=True, extra="allow")


class ContentPart(_RequestModel):
    """A part of a message. Only text is supported."""

    type: str
    text: Text | None = None


class ChatMessage(_RequestModel):
    """A message of the conversation as the client sends it."""

    role: Role
    content: Text | Items[ContentPart] | None = None


class StreamOptions(_RequestModel):
    """Options of a streamed reply."""

    include_usage: bool | None = None


class ChatRequest(_RequestModel):
    """A chat completion request. Unknown fields are ignored; parameters that cannot be honoured are errors."""

    model_config = ConfigDict(json_schema_extra={"examples": [REQUEST]})

    model: Annotated[
        Phrase, Field(description="The agent's name or id; `@version` selects a version other than the latest.")
    ]
    messages: Annotated[
        Items[ChatMessage],
        Field(description="The last user messages are sent; the messages before them name a place in a session."),
    ]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    metadata: Annotated[
        AnyJson,
        Field(description="`session_id` names the session. The rest is kept in the annotations of a new session."),
    ] = None
    response_format: Annotated[
        AnyJson, Field(description="`json_object` and `json_schema` are kept at nodes without tools and transitions.")
    ] = None
    initial_context: Annotated[
        Values | None, Field(description="Extension: values for the agent's templates, for a new session.")
    ] = None

    on_busy: Annotated[
        OnBusy | None,
        Field(description="Extension: effect of the message on a reply that is pending."),
    ] = None

    @property
    def include_usage(self) -> bool:
        """True when a streamed reply ends with its usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def annotations(self) -> dict[str, JsonValue]:
        """The annotations of a new session: the members of `metadata`, or `metadata` itself if it is not an object."""
        if not isinstance(self.metadata, dict):
            return {} if self.metadata is None else {"metadata": self.metadata}
        return {name: value for name, value in self.metadata.items() if name not in ("session_id", "chat_id")}

    @property
    def others(self) -> dict[str, JsonValue]:
        """The parameters without a field in this model."""
        return self.model_extra or {}


class PromptDetails(BaseModel):
    """Prompt tokens that were read from a cache."""

    cached_tokens: int


class CompletionUsage(BaseModel):
    """Tokens of the turn, summed over its model calls."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails


class ClientFunction(BaseModel):
    """A call of a function; `arguments` is JSON."""

    name: str
    arguments: str


class FunctionToolCall(BaseModel):
    """A call of a client tool, for the client to carry out. Its result is sent with its `id` in the next request."""

    id: str
    type: Literal["function"] = "function"
    function: ClientFunction


class FunctionCall(ClientFunction):
    """A call of a function in the older form. Its `id` (not part of OpenAI's protocol) identifies its result."""

    id: str


class Reply(BaseModel):
    """The agent's reply. Beside `tool_calls` or a `function_call`, `content` is the text before them, or null."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    tool_calls: tuple[FunctionToolCall, ...] | None = None
    function_call: FunctionCall | None = None

    @model_serializer(mode="wrap")
    def _without_absent_calls(self, serialize: SerializerFunctionWrapHandler) -> dict[str, JsonValue]:
        calls, fields = ("tool_calls", "function_call"), serialize(self).items()
        return {name: value for name, value in fields if name not in calls or value is not None}


class Choice(BaseModel):
    """The only choice. `finish_reason` is `length` when it was interrupted, `tool_calls` (`function_call` in the
    older form) when it waits for results."""

    index: Literal[0] = 0
    message: Reply
    finish_reason: FinishReason
    logprobs: None = None


class TurnMetadata(BaseModel):
    """Ids of the reply in Playhead. Values are strings, as in all of OpenAI's metadata."""

    session_id: str
    turn_id: str
    node_id: str
    status: str


class ChatCompletion(BaseModel):
    """A reply. `session_id` (also in the header `X-Session-Id`) names the session of further requests."""

    model_config = ConfigDict(json_schema_extra={"examples": [COMPLETION]})

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[Choice]
    usage: CompletionUsage
    session_id: str
    metadata: TurnMetadata


class ToolCallDelta(FunctionToolCall):
    """A call of a client tool as a whole, at its place among those of the reply."""

    index: int


class Delta(BaseModel):
    """A part of the reply: the role in the first chunk, then text, then calls of client tools, nothing in the last."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    tool_calls: tuple[ToolCallDelta, ...] | None = None
    function_call: FunctionCall | None = None

    @model_serializer(mode="wrap")
    def _without_none(self, serialize: SerializerFunctionWrapHandler) -> dict[str, JsonValue]:
        return {name: value for name, value in serialize(self).items() if value is not None}


class ChunkChoice(BaseModel):
    """The one choice of a chunk; the last has the finish reason."""

    index: Literal[0] = 0
    delta: Delta
    finish_reason: FinishReason | None = None
    logprobs: None = None


class ChatCompletionChunk(BaseModel):
    """A chunk of a streamed reply."""

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
    """All agents of the organization."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"object": "list", "data": [MODEL]}]})

    object: Literal["list"] = "list"
    data: list[Model]
