"""Turns, their messages and events, and checkpoints."""

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
    "recording_referenced",
]


class UserMessage(FrozenModel):
    """The user's message. `message_id` identifies repeats."""

    text: str
    created_at: datetime
    message_id: str | None = None


class AssistantMessage(FrozenModel):
    """The agent's reply."""

    text: str
    created_at: datetime


class ReplyFormat(FrozenModel):
    """The form of a reply: a JSON object, one that follows the JSON schema if there is one.

    It applies at nodes without tools and transitions. `strict` asks the provider to enforce the schema.
    """

    json_schema: dict[str, JsonValue] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class ReplyOptions(FrozenModel):
    """Options of one reply. `context` contains new values of template variables, which later turns keep.

    `client_tools` are the names of the client tools that the client of the message is able to carry out.
    """

    context: dict[str, JsonValue] = {}
    reply_format: ReplyFormat | None = None
    client_tools: tuple[str, ...] = ()


class TurnEvent(FrozenModel):
    """An event of a turn."""

    type: EventType
    created_at: datetime
    payload: dict[str, JsonValue] = {}


class UserSaid(FrozenModel):
    """A message for the model: the user's text.

    `kind` has a default factory instead of a default, because payloads omit defaults but need the discriminator.
    """

    kind: Literal["user_said"] = Field(default_factory=lambda _: "user_said")
    text: str


class AgentSaid(FrozenModel):
    """A message for the model: text of the agent without a model call, such as a greeting."""

    kind: Literal["agent_said"] = Field(default_factory=lambda _: "agent_said")
    text: str


class ToolReturned(FrozenModel):
    """A message for the model: the result of one of its tool calls."""

    kind: Literal["tool_returned"] = Field(default_factory=lambda _: "tool_returned")
    call_id: str
    name: str
    content: str


Message = Annotated[UserSaid | AgentSaid | ToolReturned, Field(discriminator="kind")]


class Checkpoint(FrozenModel):
    """The state from which the next turn continues.

    The messages of the branch are stored with its steps; `after` is the digest of the newest of them (empty while no
    model has been called), and `carry` contains the few that no step has saved yet. `entered` is false only before the
    first turn enters the start node.
    """

    node_id: str
    entered: bool = True
    gathered_context: dict[str, JsonValue] = {}
    after: str = ""
    carry: tuple[Message, ...] = ()


class TurnUsage(Usage):
    """Usage of one turn. `first_word_seconds` is the time from the message to the first word of the reply."""

    first_word_seconds: float | None = None


class Turn(FrozenModel):
    """One user message (None for a greeting) and its reply. `index` counts from the root of the branch.

    `first_word` is the time in seconds from the message to the first word of the reply; None for turns without words.
    An `imported` turn took place elsewhere, and came as the history of a client: it cost nothing.
    """

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
    options: ReplyOptions | None = None
    imported: bool = False
    first_word: float | None = None

    @property
    def error_code(self) -> str | None:
        """The code of the turn's error if it has a specific one, such as `context_too_long`."""
        codes = (event.payload.get("code") for event in self.events if event.type == "execution_error")
        return next((code for code in codes if isinstance(code, str)), None)

    @property
    def turn_usage(self) -> TurnUsage:
        """The usage of the turn, with the time to its first word."""
        return TurnUsage(**dict(self.usage), first_word_seconds=self.first_word)
