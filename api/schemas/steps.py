"""Response models of steps: the model calls of a turn, with the requests that were sent."""

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, JsonValue

from api.schemas.examples import STEP
from api.schemas.responses import Cost, Representation
from domain.turns.model_request import MessageRole, RequestPurpose, TokenCount

VariableSource = Literal[
    "initial_context", "gathered_context", "agent_default", "fallback", "pre_call_fetch", "built_in"
]


class StepVariable(Representation):
    """A part of the instructions that came from a variable: offsets in UTF-16 code units, and the value's source."""

    start: int
    end: int
    name: str
    source: VariableSource


class StepToolCall(Representation):
    """A tool call of the model."""

    id: str
    name: str
    arguments: dict[str, JsonValue]


class StepMessage(Representation):
    """A message of a request, with the turn that it belongs to. `is_new` is true unless an earlier step had it."""

    role: MessageRole
    content: str
    turn_id: str | None
    is_new: bool
    tool_calls: tuple[StepToolCall, ...]
    tool_call_id: str | None


class StepTool(Representation):
    """A tool that was offered to the model. A transition leads `to` a node."""

    name: str
    kind: Literal["tool", "transition"]
    description: str
    parameters: dict[str, JsonValue]
    to: str | None


class StepContext(Representation):
    """The part of the conversation that a request held: the newest `turns` before the turn, cut at `max_tokens`.

    `turns_left_out` counts those before them, null where it is not known. Both count turns that the model answered.
    `tokens` is the size of the request as it was counted before it was sent: by the figures that the provider reported
    for earlier requests, or by an estimate. A summary of the conversation up to the turn `summary_turn_id` was part of
    the instructions; null without one.
    """

    tokens: int
    max_tokens: int
    counted_by: TokenCount
    turns: int
    turns_left_out: int | None
    summary_turn_id: str | None = None


class StepRequest(Representation):
    """A request to a model, without credentials: instructions, messages, offered tools and settings.

    `context` describes how much of the conversation it held; null if that was not kept.
    """

    instructions: str
    variables: tuple[StepVariable, ...]
    messages: tuple[StepMessage, ...]
    tools: tuple[StepTool, ...]
    settings: dict[str, JsonValue]
    context: StepContext | None = None


class StepReply(Representation):
    """A model's reply. `raw` is the reply as the provider returned it; null if it was not kept."""

    text: str
    tool_calls: tuple[StepToolCall, ...]
    raw: dict[str, JsonValue] | None


class StepUsage(Representation):
    """Tokens of one model call."""

    prompt_tokens: int
    completion_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int


class Step(Representation):
    """One model call of a turn. `turn` calls answer the user, `extraction` calls read variables.

    The request is `exact` when its digest, the SHA-256 of what was sent, equals the one that was kept; otherwise it is
    `rebuilt` from what is stored. `attempts` counts the attempts at the call, including the successful one.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [STEP]})

    index: int
    purpose: RequestPurpose
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
