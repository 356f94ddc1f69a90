"""What a conversation is made of: turns, the words in them, what happened, and where the next turn goes on from."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from domain.durable import FrozenModel
from domain.usage import Cost, Usage

TurnStatus = Literal["pending", "completed", "failed", "interrupted"]
SessionStatus = Literal["idle", "pending_assistant_turn", "rewound", "error", "completed"]
EventType = Literal[
    "node_transition",
    "tool_call_started",
    "tool_call_result",
    "variables_extracted",
    "execution_error",
    "command_refused",
    "session_end",
]


class UserMessage(FrozenModel):
    """What the person said, under the id by which a repeat of it is recognised."""

    text: str
    created_at: datetime
    message_id: str | None = None


class AssistantMessage(FrozenModel):
    """What the agent answered."""

    text: str
    created_at: datetime


class TurnEvent(FrozenModel):
    """Something that happened while a turn was answered."""

    type: EventType
    created_at: datetime
    payload: dict[str, JsonValue] = {}


class UserSaid(FrozenModel):
    """A message for the model: the person's words.

    The `kind` of a message is worked out, and so no default: payloads leave defaults out, and need it to be read.
    """

    kind: Literal["user_said"] = Field(default_factory=lambda _: "user_said")
    text: str


class AgentSaid(FrozenModel):
    """A message for the model: words the agent spoke without a model call, such as a greeting."""

    kind: Literal["agent_said"] = Field(default_factory=lambda _: "agent_said")
    text: str


class ToolReturned(FrozenModel):
    """A message for the model: what came of a tool call it made."""

    kind: Literal["tool_returned"] = Field(default_factory=lambda _: "tool_returned")
    call_id: str
    name: str
    content: str


Message = Annotated[UserSaid | AgentSaid | ToolReturned, Field(discriminator="kind")]


class Checkpoint(FrozenModel):
    """What the next turn continues from.

    The messages of the branch are not repeated here: `anchor_turn_id` names the turn whose saved steps
    (and those of its own anchors) hold them, and `carry` has the few that no step has saved yet.
    `entered` is false only before the first turn, when the start node is still to be entered.
    """

    node_id: str
    entered: bool = True
    gathered_context: dict[str, JsonValue] = {}
    anchor_turn_id: str | None = None
    carry: tuple[Message, ...] = ()


class Turn(FrozenModel):
    """One user message (none for a greeting) and what became of it. `index` counts from the root of the branch."""

    id: str
    parent_id: str | None
    index: int
    status: TurnStatus = "pending"
    created_at: datetime
    user_message: UserMessage | None = None
    assistant_message: AssistantMessage | None = None
    events: tuple[TurnEvent, ...] = ()
    usage: Usage = Usage()
    cost: Cost = Cost()
    node_id: str | None = None
    error: str | None = None
    checkpoint: Checkpoint | None = None
