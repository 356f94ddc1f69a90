"""JSON of OpenAI's Responses API: request and response models, and the events of a stream."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from api.openai.responses_api.examples import DELETED, REQUEST, RESPONSE
from api.openai.schemas import TurnMetadata
from api.schemas.requests import AnyJson, Items, Phrase, Text, Values, storable_value

ResponseStatus = Literal["in_progress", "completed", "incomplete", "failed"]


class _RequestModel(BaseModel):
    """Unknown fields are kept, to be named in the response."""

    model_config = ConfigDict(frozen=True, extra="allow")


class InputPart(_RequestModel):
    """A part of a message. Only text is supported."""

    type: str
    text: Text | None = None


class InputItem(_RequestModel):
    """An item of the input: a message, or an item that a client kept from an earlier response."""

    type: Annotated[str, BeforeValidator(lambda given: "message" if given is None else given)] = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: Text | Items[InputPart] | None = None
    id: Text | None = None
    call_id: Text | None = None
    output: Annotated[JsonValue, AfterValidator(storable_value)] = None


class NamedConversation(_RequestModel):
    """A conversation by its id."""

    id: Phrase


class TextOptions(_RequestModel):
    """Options of the text of a response."""

    format: AnyJson = None


class ResponseRequest(_RequestModel):
    """A request for a response. Unknown fields are ignored; parameters that cannot be honoured are errors."""

    model_config = ConfigDict(json_schema_extra={"examples": [REQUEST]})

    model: Annotated[
        Phrase, Field(description="The agent's name or id; `@version` selects a version other than the latest.")
    ]
    input: Annotated[
        Text | Items[InputItem],
        Field(description="The last user message is sent; the messages before it must match the session."),
    ] = ""
    instructions: Annotated[Text | None, Field(description="A system message: the variable `system_message`.")] = None
    previous_response_id: Annotated[
        Text | None, Field(description="The response to continue from. If it is not the newest, a branch begins.")
    ] = None
    conversation: Annotated[
        Phrase | NamedConversation | None,
        Field(description="The session by its id, or by an id of the client: an unknown one opens a session."),
    ] = None
    stream: bool | None = None
    text: TextOptions | None = None
    metadata: Annotated[
        AnyJson,
        Field(description="`session_id` names the session. The rest is kept in the annotations of a new session."),
    ] = None
    initial_context: Annotated[
        Values | None, Field(description="Extension: values for the agent's templates, for a new session.")
    ] = None

    @property
    def conversation_id(self) -> str | None:
        """The id in `conversation`."""
        return self.conversation.id if isinstance(self.conversation, NamedConversation) else self.conversation

    @property
    def others(self) -> dict[str, JsonValue]:
        """The parameters without a field in this model."""
        return self.model_extra or {}


class OutputText(BaseModel):
    """Text of the agent."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: tuple[()] = ()
    logprobs: tuple[()] = ()


class OutputMessage(BaseModel):
    """The agent's message. An interrupted one is `incomplete`."""

    id: str
    type: Literal["message"] = "message"
    status: Literal["in_progress", "completed", "incomplete"]
    role: Literal["assistant"] = "assistant"
    content: tuple[OutputText, ...]


class FunctionCallItem(BaseModel):
    """A call of a client tool, for the client to carry out.

    Its result is a `function_call_output` with the same `call_id`.
    """

    id: str
    type: Literal["function_call"] = "function_call"
    status: Literal["in_progress", "completed"] = "completed"
    call_id: str
    name: str
    arguments: str


OutputItem = OutputMessage | FunctionCallItem


class InputTokensDetails(BaseModel):
    """Input tokens that were read from a cache, or written to it."""

    cached_tokens: int
    cache_write_tokens: int


class OutputTokensDetails(BaseModel):
    """Output tokens of reasoning, which are not counted separately."""

    reasoning_tokens: int = 0


class ResponseUsage(BaseModel):
    """Tokens of the turn, summed over its model calls."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails = OutputTokensDetails()
    total_tokens: int


class ResponseFailure(BaseModel):
    """The error of a turn that failed."""

    code: Literal["server_error"] = "server_error"
    message: str


class ConversationReference(BaseModel):
    """The session of a response."""

    id: str


class AgentResponse(BaseModel):
    """A turn as a response. `session_id` (also in the header `X-Session-Id`) names its session.

    An interrupted turn is `incomplete`. The fields without a meaning here have constant values.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [RESPONSE]})

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: ResponseStatus
    background: Literal[False] = False
    conversation: ConversationReference
    error: ResponseFailure | None = None
    incomplete_details: None = None
    instructions: None = None
    max_output_tokens: None = None
    metadata: TurnMetadata
    model: str
    output: tuple[OutputItem, ...] = ()
    parallel_tool_calls: Literal[True] = True
    previous_response_id: str | None = None
    session_id: str
    store: Literal[True] = True
    temperature: None = None
    text: dict[str, Any] = {"format": {"type": "text"}}
    tool_choice: Literal["auto"] = "auto"
    tools: tuple[()] = ()
    top_p: None = None
    truncation: Literal["disabled"] = "disabled"
    usage: ResponseUsage | None = None


class DeletedResponse(BaseModel):
    """A response that was deleted together with its session."""

    model_config = ConfigDict(json_schema_extra={"examples": [DELETED]})

    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


class LifecycleEvent(BaseModel):
    """The state of the response."""

    type: Literal[
        "response.created", "response.in_progress", "response.completed", "response.incomplete", "response.failed"
    ]
    sequence_number: int
    response: AgentResponse


class OutputItemEvent(BaseModel):
    """The start or the end of the message, or of a call."""

    type: Literal["response.output_item.added", "response.output_item.done"]
    sequence_number: int
    output_index: int = 0
    item: OutputItem


class FunctionArgumentsDeltaEvent(BaseModel):
    """The arguments of a call, all at once."""

    type: Literal["response.function_call_arguments.delta"] = "response.function_call_arguments.delta"
    sequence_number: int
    item_id: str
    output_index: int
    delta: str


class FunctionArgumentsDoneEvent(BaseModel):
    """The whole arguments of a call."""

    type: Literal["response.function_call_arguments.done"] = "response.function_call_arguments.done"
    sequence_number: int
    item_id: str
    output_index: int
    name: str
    arguments: str


class ContentPartEvent(BaseModel):
    """The start or the end of the message's text."""

    type: Literal["response.content_part.added", "response.content_part.done"]
    sequence_number: int
    item_id: str
    output_index: int = 0
    content_index: int = 0
    part: OutputText


class TextDeltaEvent(BaseModel):
    """A piece of the text."""

    type: Literal["response.output_text.delta"] = "response.output_text.delta"
    sequence_number: int
    item_id: str
    output_index: int = 0
    content_index: int = 0
    delta: str
    logprobs: tuple[()] = ()


class TextDoneEvent(BaseModel):
    """The whole text."""

    type: Literal["response.output_text.done"] = "response.output_text.done"
    sequence_number: int
    item_id: str
    output_index: int = 0
    content_index: int = 0
    text: str
    logprobs: tuple[()] = ()


ResponseEvent = (
    LifecycleEvent
    | OutputItemEvent
    | ContentPartEvent
    | TextDeltaEvent
    | TextDoneEvent
    | FunctionArgumentsDeltaEvent
    | FunctionArgumentsDoneEvent
)
