"""Sessions: turns, branches, waiting tool calls, and the session itself."""

from datetime import datetime
from typing import Literal

from pydantic import JsonValue

from playhead_client.models.response_model import ResponseModel
from playhead_client.models.usage import CalculatedCost, Cost, TurnUsage, Usage

TurnStatus = Literal["pending", "completed", "failed", "interrupted"]
SessionStatus = Literal["idle", "pending_assistant_turn", "rewound", "error", "completed"]
TurnEventType = Literal[
    "node_transition",
    "tool_call_started",
    "tool_call_result",
    "variables_extracted",
    "execution_error",
    "command_refused",
    "session_end",
    "recording_referenced",
]
OnBusy = Literal["reject", "enqueue", "interrupt", "rollback"]
"""Effect of a message on an agent that is still answering.

The message is rejected, waits for its turn, stops the reply and is answered next, or stops it and replaces its turn.
"""
TranscriptFormat = Literal["text", "markdown", "json", "jsonl"]


class UserMessage(ResponseModel):
    """A message of the user. `message_id` identifies repeats of it."""

    text: str
    created_at: datetime
    message_id: str | None = None


class AssistantMessage(ResponseModel):
    """A reply of the agent."""

    text: str
    created_at: datetime


class TurnEvent(ResponseModel):
    """An event that happened while a turn was answered."""

    type: TurnEventType
    created_at: datetime
    payload: dict[str, JsonValue]


class Turn(ResponseModel):
    """One user message (null for the greeting) and the agent's reply. `index` counts from the root of its branch."""

    id: str
    parent_id: str | None
    index: int
    status: TurnStatus
    created_at: datetime
    user_message: UserMessage | None
    assistant_message: AssistantMessage | None
    events: tuple[TurnEvent, ...]
    usage: TurnUsage
    cost: Cost
    node_id: str | None
    error: str | None
    imported: bool = False


class Branch(ResponseModel):
    """A discarded branch: its newest turns, at most 50, oldest first.

    `turn_count`, `cost` and `head_turn_id`, its first turn, are those of the whole branch.
    """

    id: str
    rewound_from_turn_id: str | None
    discarded_at: datetime
    turn_count: int
    cost: Cost
    head_turn_id: str | None
    turns: tuple[Turn, ...]


class TreeTurn(ResponseModel):
    """A turn of a session's tree, without its events. `text` begins its user message, or else its reply.

    `branch` is `active`, `hidden` for turns past the cursor of a rewind, or the id of a discarded branch. A turn is
    `copied` when a fork took it over: it was billed to another session.
    """

    id: str
    parent_id: str | None
    index: int
    status: TurnStatus
    node_id: str | None
    branch: str
    created_at: datetime
    seconds: float
    cost: Cost
    total_tokens: int
    text: str
    copied: bool


class StepVariable(ResponseModel):
    """A part of the instructions that came from a variable: offsets in UTF-16 code units, and the value's source."""

    start: int
    end: int
    name: str
    source: Literal["initial_context", "gathered_context", "agent_default", "fallback", "pre_call_fetch", "built_in"]


class StepToolCall(ResponseModel):
    """A tool call of the model."""

    id: str
    name: str
    arguments: dict[str, JsonValue]


class StepMessage(ResponseModel):
    """A message of a request, with the turn that it belongs to. `is_new` is true unless an earlier step had it."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    turn_id: str | None
    is_new: bool
    tool_calls: tuple[StepToolCall, ...]
    tool_call_id: str | None


class StepTool(ResponseModel):
    """A tool that was offered to the model. A transition leads `to` a node."""

    name: str
    kind: Literal["tool", "transition"]
    description: str
    parameters: dict[str, JsonValue]
    to: str | None


class StepContext(ResponseModel):
    """The part of the conversation that a request held: the newest `turns` before the turn, cut at `max_tokens`.

    `turns_left_out` counts those before them, None where it is not known. Both count turns that the model answered.
    `tokens` is the size of the request as it was counted before it was sent: by the figures that the provider reported
    for earlier requests, or by an estimate. A summary of the conversation up to the turn `summary_turn_id` was part of
    the instructions; None without one.
    """

    tokens: int
    max_tokens: int
    counted_by: Literal["provider", "estimate"]
    turns: int
    turns_left_out: int | None
    summary_turn_id: str | None = None


class StepRequest(ResponseModel):
    """A request to a model, without credentials: instructions, messages, offered tools and settings.

    `context` says how much of the conversation it held; None where that was not kept.
    """

    instructions: str
    variables: tuple[StepVariable, ...]
    messages: tuple[StepMessage, ...]
    tools: tuple[StepTool, ...]
    settings: dict[str, JsonValue]
    context: StepContext | None = None


class StepReply(ResponseModel):
    """A model's reply. `raw` is the reply as the provider gave it; null where it was not kept."""

    text: str
    tool_calls: tuple[StepToolCall, ...]
    raw: dict[str, JsonValue] | None


class StepUsage(ResponseModel):
    """Tokens of one model call."""

    prompt_tokens: int
    completion_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int


class Step(ResponseModel):
    """One model call of a turn. `turn` calls answer the user, `extraction` calls read variables.

    The request is `exact` when its digest equals the one that was kept, otherwise `rebuilt` from what is stored.
    """

    index: int
    purpose: Literal["turn", "extraction"]
    model: str
    node_id: str | None
    request: StepRequest
    fidelity: Literal["exact", "rebuilt"]
    digest: str | None
    reply: StepReply
    usage: StepUsage
    cost: Cost
    started_at: datetime
    first_word_seconds: float | None
    seconds: float
    finish_reason: str | None
    attempts: int
    error: str | None


class ComparisonSide(ResponseModel):
    """The turns that only one of two branches has: the first 200 after the last common one, oldest first.

    `turns_after` counts those that follow.
    """

    branch: str
    leaf_turn_id: str | None
    turns: tuple[Turn, ...]
    turns_after: int


class Comparison(ResponseModel):
    """Two branches side by side. `last_common_turn` is null when not even the greeting is the same."""

    common_turns: int
    last_common_turn: Turn | None
    a: ComparisonSide
    b: ComparisonSide
    as_of: datetime


class TemporalLink(ResponseModel):
    """The workflow in Temporal. `ui_url` is null when no UI address is set."""

    workflow_id: str
    run_id: str | None
    ui_url: str | None


class Approval(ResponseModel):
    """A tool call that waits for a decision until `expires_at`; then it is not made."""

    call_id: str
    turn_id: str
    tool: str
    arguments: dict[str, JsonValue]
    reason: str
    requested_at: datetime
    expires_at: datetime


class ClientCall(ResponseModel):
    """A call of a client tool that waits for its result until `expires_at`. `said` is the reply before the call."""

    call_id: str
    turn_id: str
    tool: str
    arguments: dict[str, JsonValue]
    said: str
    requested_at: datetime
    expires_at: datetime


class ForkedFrom(ResponseModel):
    """The session that this one was forked from, and the last turn it took over."""

    session_id: str
    turn_id: str


class SessionSummary(ResponseModel):
    """A session without its turns, as it was at `as_of`: lists are a moment behind the conversation.

    `disposition` is its outcome in one word; `tags` are the gathered `call_tags` and that word.
    """

    id: str
    workflow_run_id: int
    agent_id: str
    agent_version: int
    agent_name: str
    model: str
    name: str
    suite_id: str | None
    status: SessionStatus
    revision: int
    cursor_turn_id: str | None
    current_node_id: str
    is_completed: bool
    completion_reason: str | None
    disposition: str | None
    tags: tuple[str, ...]
    initial_context: dict[str, JsonValue]
    gathered_context: dict[str, JsonValue]
    annotations: dict[str, JsonValue]
    simulator: dict[str, JsonValue] | None
    approvals: tuple[Approval, ...] = ()
    client_calls: tuple[ClientCall, ...] = ()
    forked_from: ForkedFrom | None
    turn_count: int
    usage: Usage
    cost: CalculatedCost
    created_at: datetime
    updated_at: datetime
    as_of: datetime
    temporal: TemporalLink


class Session(SessionSummary):
    """A session with its visible branch: the newest 200 turns, oldest first.

    `turns_before` counts the older ones; `sessions.turns()` pages back to them. `as_of` is now for a live session, and
    the time of the last record when no worker answers.
    """

    turns_before: int
    turns: tuple[Turn, ...]
    discarded_branches: tuple[Branch, ...]

    @property
    def newest(self) -> Turn | None:
        """The newest visible turn; None when the session was rewound to before its first."""
        return self.turns[-1] if self.turns else None

    @property
    def reply(self) -> str | None:
        """The agent's text in the newest turn; None while that turn is pending, and when it failed."""
        message = self.newest.assistant_message if self.newest else None
        return message.text if message else None

    def turn_of(self, message_id: str) -> Turn | None:
        """The visible turn that a message opened."""
        return next(
            (turn for turn in reversed(self.turns) if turn.user_message and turn.user_message.message_id == message_id),
            None,
        )


class Accepted(ResponseModel):
    """A message that was accepted and is being answered in the turn `turn_id`."""

    turn_id: str
    revision: int
