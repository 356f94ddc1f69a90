"""What the API shows: the form of every answer, as the contract names it."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, JsonValue, PlainSerializer

from api.schemas.examples import (
    AGENT,
    BRANCH,
    COMPARISON,
    FORKED_FROM,
    LEDGER_ROW,
    SESSION,
    SESSION_SUMMARY,
    TURN,
    USAGE,
)
from domain import usage
from domain.agents.definition import AgentDefinition
from domain.sessions.timeline import Purpose
from domain.turns.turn import AssistantMessage, EventType, SessionStatus, TurnStatus, UserMessage
from domain.usage import ModelUsage

Item = TypeVar("Item")


def plain(amount: Decimal) -> str:
    """An amount without an exponent and without the zeros that come of exact rounding."""
    return format(amount.normalize(), "f") if amount else "0"


Money = Annotated[Decimal, PlainSerializer(plain, return_type=str)]


class Representation(BaseModel):
    """A value as it is shown. It is read from the attributes of a domain value, and never changed."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class Usage(Representation):
    """Tokens used, by `<provider>:<model>`, and seconds: of wall clock, and of models at work on what was bought."""

    llm: dict[str, ModelUsage]
    duration_seconds: float
    model_seconds: float


class Cost(Representation):
    """Money spent, as decimals in strings. Models without a known price are named, not counted as free."""

    currency: Literal["USD"]
    total: Money
    breakdown: dict[str, Money]
    unpriced_models: tuple[str, ...]


class CalculatedCost(Cost):
    """Money spent altogether. `calculated_at` is when nothing was missing from it: turns under way are not in it."""

    calculated_at: datetime

    @classmethod
    def of(cls, cost: usage.Cost, at: datetime) -> Self:
        """A cost as it stood at a time."""
        return cls(**dict(cost), calculated_at=at)


class TurnEvent(Representation):
    """Something that happened while a turn was answered."""

    type: EventType
    created_at: datetime
    payload: dict[str, JsonValue]


class Turn(Representation):
    """One user message (null for the greeting) and the agent's answer. `index` counts from the root of its branch."""

    model_config = ConfigDict(json_schema_extra={"examples": [TURN]})

    id: str
    parent_id: str | None
    index: int
    status: TurnStatus
    created_at: datetime
    user_message: UserMessage | None
    assistant_message: AssistantMessage | None
    events: tuple[TurnEvent, ...]
    usage: Usage
    cost: Cost
    node_id: str | None
    error: str | None


class Branch(Representation):
    """A future that was given up by a rewind: its newest turns, at most 50, oldest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [BRANCH]})

    id: str
    rewound_from_turn_id: str | None
    discarded_at: datetime
    turns: tuple[Turn, ...]


class ComparisonSide(Representation):
    """What one of two branches has of its own: its first turns after the last common one, at most 200, oldest first.

    `turns_after` counts those that follow.
    """

    branch: str
    leaf_turn_id: str | None
    turns: tuple[Turn, ...]
    turns_after: int


class Comparison(Representation):
    """Two branches side by side. `last_common_turn` is null when not even the opening is the same."""

    model_config = ConfigDict(json_schema_extra={"examples": [COMPARISON]})

    common_turns: int
    last_common_turn: Turn | None
    a: ComparisonSide
    b: ComparisonSide
    as_of: datetime


class TemporalLink(Representation):
    """Where the session is found in Temporal. `ui_url` is null when no UI address is set."""

    workflow_id: str
    run_id: str | None
    ui_url: str | None


class Approval(Representation):
    """A tool call that waits for a person until `expires_at`; then it is not made."""

    call_id: str
    turn_id: str
    tool: str
    arguments: dict[str, JsonValue]
    reason: str
    requested_at: datetime
    expires_at: datetime


class ForkedFrom(Representation):
    """The session whose past this one took over, and the turn up to which."""

    model_config = ConfigDict(json_schema_extra={"examples": [FORKED_FROM]})

    session_id: str
    turn_id: str


class SessionSummary(Representation):
    """A session without its turns. `as_of` is when this was true: lists are a moment behind the conversation.

    `disposition` says in a word how it ended; `tags` are those that were gathered as `call_tags`, and that word.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [SESSION_SUMMARY]})

    id: str
    workflow_run_id: int
    agent_id: str
    agent_version: int
    model: str
    name: str
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
    approvals: list[Approval] = []
    forked_from: ForkedFrom | None
    usage: Usage
    cost: CalculatedCost
    created_at: datetime
    updated_at: datetime
    as_of: datetime
    temporal: TemporalLink


class Session(SessionSummary):
    """A session with its visible branch: the newest 200 turns, oldest first.

    `turns_before` counts the older ones; `GET .../turns` pages back to them. `as_of` is when this was true:
    now for a live session, the last time it was recorded when no worker answers.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [SESSION]})

    turns_before: int
    turns: tuple[Turn, ...]
    discarded_branches: tuple[Branch, ...]


class Accepted(Representation):
    """A message that was accepted and is being answered."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"turn_id": "turn_5f0c2a9e41b7", "revision": 4}]})

    turn_id: str
    revision: int


class Agent(Representation):
    """One version of an agent. `warnings` are things that work but deserve a look."""

    model_config = ConfigDict(json_schema_extra={"examples": [AGENT]})

    id: str
    name: str
    version: int
    workflow_id: Annotated[int, Field(validation_alias=AliasChoices("workflow_id", "number"))]
    definition: AgentDefinition
    warnings: tuple[str, ...]
    created_at: datetime


class LedgerRow(Representation):
    """What one turn used and cost, whatever became of the turn, or what was bought beside the turns.

    Then `purpose` says what for, and `turn_id` is an id of its own: `extraction` reads variables after the end,
    `caller` is a simulated caller's line, `judge` a verdict.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [LEDGER_ROW]})

    id: str
    session_id: str
    turn_id: str
    purpose: Purpose
    agent_id: str
    suite_id: str | None
    usage: Usage
    cost: Cost
    created_at: datetime


class OrganizationUsage(Representation):
    """What the organization has used and spent so far."""

    model_config = ConfigDict(json_schema_extra={"examples": [USAGE]})

    turns: int
    usage: Usage
    cost: CalculatedCost


class PageOf(Representation, Generic[Item]):
    """Some items of a list. `next_cursor` asks for the next page; it is null at the end."""

    items: tuple[Item, ...]
    next_cursor: str | None
