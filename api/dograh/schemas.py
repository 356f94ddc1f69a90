"""JSON of dograh's text chat: request and response models."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    RootModel,
    StringConstraints,
)

from api.dograh import examples
from api.schemas.requests import Text, Values, storable
from domain.dograh.run_log import FeedbackType, Stamp
from domain.turns.turn import EventType, SessionStatus

TESTER: dict[str, JsonValue] = {"source": "workflow_editor", "modality": "text"}
"""The default tester: a person who tries an agent in the editor."""


def _with_tester(given: object) -> object:
    """Annotations always include the tester."""
    if given is None:
        return {"tester": TESTER}
    return {"tester": TESTER, **given} if isinstance(given, dict) else given


Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200), AfterValidator(storable)]
Annotations = Annotated[Values, BeforeValidator(_with_tester, json_schema_input_type=dict[str, Any] | None)]


class _Body(BaseModel):
    """Unknown fields are ignored, as dograh does."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class CreateBody(_Body):
    """A text chat to create. Context and annotations may have at most 64 KiB each."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.CREATE]})

    name: Name | None = None
    initial_context: Values | None = None
    annotations: Annotations = Field(default=None, validate_default=True)


class MessageBody(_Body):
    """A message to send."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.MESSAGE]})

    text: Annotated[str, StringConstraints(min_length=1), AfterValidator(storable)]
    expected_revision: int | None = None


class TextSessionRewind(_Body):
    """The turn to rewind to; null means no rewind."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.REWIND]})

    cursor_turn_id: Text | None = None
    expected_revision: int | None = None


class TextSessionEnd(_Body):
    """The end of a text chat."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.END]})

    expected_revision: int | None = None


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Said(_Answer):
    """A message or a reply."""

    text: str
    created_at: Stamp


class Event(_Answer):
    """An event of a turn."""

    type: EventType
    created_at: Stamp
    payload: dict[str, JsonValue]


class TokenUsage(_Answer):
    """Tokens used with one model."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int


class UsageInfo(_Answer):
    """Usage. Text chats use no speech, so `tts` and `stt` are always empty."""

    llm: dict[str, TokenUsage]
    tts: dict[str, float] = {}
    stt: dict[str, float] = {}
    call_duration_seconds: int


class NoUsage(_Answer):
    """The usage of a pending turn: an empty object."""


class UserOrAssistantMessage(_Answer):
    """A message or a reply as sent to models."""

    role: Literal["user", "assistant"]
    content: str


class CalledFunction(_Answer):
    """The function of a tool call; `arguments` is JSON."""

    name: str
    arguments: str


class MessageToolCall(_Answer):
    """A tool call of the model."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class CallMessage(_Answer):
    """A message with a tool call of the model."""

    role: Literal["assistant"] = "assistant"
    content: None = None
    tool_calls: tuple[MessageToolCall, ...]


class ResultMessage(_Answer):
    """The result of a tool call, as sent to the model."""

    role: Literal["tool"] = "tool"
    tool_call_id: str
    content: str


Message = UserOrAssistantMessage | CallMessage | ResultMessage


class Checkpoint(_Answer):
    """State that the next turn continues from. `messages` is the whole conversation so far."""

    version: Literal[1] = 1
    anchor_turn_id: str | None
    current_node_id: str | None
    messages: tuple[Message, ...]
    gathered_context: dict[str, JsonValue]
    tool_state: dict[str, JsonValue] = {}


class CheckpointAfterTurn(Checkpoint):
    """State that the turn after this one continues from. `messages` are only those that this turn added, so that the
    conversation is not repeated for every turn."""


class OpenTurn(_Answer):
    """A pending or failed turn."""

    id: str
    status: Literal["pending", "completed", "failed"]
    created_at: Stamp
    user_message: Said | None
    assistant_message: Said | None
    events: tuple[Event, ...]
    usage: UsageInfo | NoUsage


class CompletedTurn(OpenTurn):
    """A completed turn."""

    checkpoint_after_turn: CheckpointAfterTurn


class DiscardedFuture(_Answer):
    """Turns that were discarded by a rewind."""

    rewound_from_turn_id: str | None
    discarded_at: Stamp
    turns: tuple[CompletedTurn | OpenTurn, ...]


class Simulator(_Answer):
    """The simulated user: on or off, and its configuration."""

    enabled: bool
    config: dict[str, JsonValue]


class SessionData(_Answer):
    """The conversation. After a rewind `turns` includes those past the cursor until the next message is sent."""

    version: Literal[1] = 1
    status: SessionStatus
    cursor_turn_id: str | None
    turns: tuple[CompletedTurn | OpenTurn, ...]
    discarded_future: tuple[DiscardedFuture, ...]
    simulator: Simulator


class _Run(_Answer):
    name: str
    mode: Literal["textchat"] = "textchat"
    state: Literal["running", "completed"]
    is_completed: bool
    initial_context: dict[str, JsonValue]
    gathered_context: dict[str, JsonValue]
    annotations: dict[str, JsonValue]
    created_at: datetime


class TextSession(_Run):
    """A text chat with its whole conversation."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.TEXT_SESSION]})

    workflow_run_id: int
    workflow_id: int
    revision: int
    session_data: SessionData
    checkpoint: Checkpoint
    updated_at: datetime


class StreamedTurn(_Answer):
    """The start of a streamed turn."""

    turn_id: str
    created_at: Stamp


class StreamedText(_Answer):
    """Text that is added to the reply, or that replaces the reply so far."""

    turn_id: str
    text: str


class StreamedError(_Answer):
    """The end of a stream whose turn failed, as the plain route answers it."""

    detail: str
    status_code: int


class CostInfo(_Answer):
    """Cost of the text chat in US dollars; `/v1` has exact decimals. Models without a known price are listed."""

    cost_breakdown: dict[str, float]
    total_cost_usd: float
    unpriced_models: tuple[str, ...]
    calculated_at: Stamp
    call_duration_seconds: int


class FeedbackEntry(_Answer):
    """An entry of the run log."""

    type: FeedbackType
    timestamp: Stamp
    turn: int
    payload: dict[str, JsonValue]


class NodeEntry(FeedbackEntry):
    """An entry of the run log for a node that was entered."""

    node_id: str
    node_name: str


class Logs(_Answer):
    """The run log: events of the visible branch in time order."""

    realtime_feedback_events: tuple[NodeEntry | FeedbackEntry, ...]


class Run(_Run):
    """A text chat as a run. `definition_id` is the version of the agent."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.RUN]})

    id: int
    workflow_id: int
    definition_id: int
    call_type: Literal["outbound"] = "outbound"
    transcript_url: None = None
    recording_url: None = None
    usage_info: UsageInfo
    cost_info: CostInfo
    logs: Logs


class RunSummary(_Answer):
    """A run in a list, as of its last settlement."""

    id: int
    workflow_id: int
    name: str
    mode: Literal["textchat"] = "textchat"
    state: Literal["running", "completed"]
    is_completed: bool
    created_at: datetime
    definition_id: int
    call_type: Literal["outbound"] = "outbound"
    initial_context: dict[str, JsonValue]
    gathered_context: dict[str, JsonValue]
    usage_info: UsageInfo
    cost_info: CostInfo
    transcript_url: None = None
    recording_url: None = None


class RunPage(_Answer):
    """A page of the runs of a workflow, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.RUN_PAGE]})

    runs: tuple[RunSummary, ...]
    total_count: int
    page: int
    limit: int
    total_pages: int
    applied_filters: tuple[dict[str, Any], ...] | None = None


class WorkflowSummary(_Answer):
    """An agent in the list of workflows. `total_runs` counts its sessions."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.WORKFLOW_SUMMARY]})

    id: int
    name: str
    status: Literal["active"] = "active"
    created_at: datetime
    total_runs: int
    folder_id: None = None
    workflow_uuid: str


class WorkflowList(RootModel[tuple[WorkflowSummary, ...]]):
    """The agents of an organization."""


class Workflow(_Answer):
    """An agent as a workflow. `current_definition_id` and `version_number` are its version."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.WORKFLOW]})

    id: int
    name: str
    status: Literal["active"] = "active"
    created_at: datetime
    workflow_definition: dict[str, JsonValue]
    current_definition_id: int
    template_context_variables: dict[str, JsonValue]
    workflow_configurations: dict[str, JsonValue]
    version_number: int
    version_status: Literal["published"] = "published"
    workflow_uuid: str
