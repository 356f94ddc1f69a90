"""Response models of the API."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, JsonValue, PlainSerializer

from api.schemas.examples import (
    ABOUT,
    AGENT,
    AGENT_DRY_RUN,
    AGENT_VERSION,
    BRANCH,
    COMPARISON,
    DOCUMENT,
    EVENT_TICKET,
    FORKED_FROM,
    LEDGER_ROW,
    SESSION,
    SESSION_SUMMARY,
    TREE_TURN,
    TURN,
    USAGE,
)
from domain import usage
from domain.agents.definition import AgentDefinition
from domain.agents.document_files import DocumentFormat
from domain.sessions.timeline import Purpose
from domain.turns.turn import AssistantMessage, EventType, SessionStatus, TurnStatus, UserMessage
from domain.usage import ModelUsage

Item = TypeVar("Item")


def plain(amount: Decimal) -> str:
    """An amount without an exponent and without trailing zeros."""
    return format(amount.normalize(), "f") if amount else "0"


Money = Annotated[Decimal, PlainSerializer(plain, return_type=str)]


class Representation(BaseModel):
    """Immutable response model, built from the attributes of a domain value."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class Usage(Representation):
    """Usage: tokens by `<provider>:<model>`, wall clock seconds, and seconds of billed model calls."""

    llm: dict[str, ModelUsage]
    duration_seconds: float
    model_seconds: float


class TurnUsage(Usage):
    """Usage of a turn. `first_word_seconds` is the time from the message to the first word of the reply; null while
    there is none."""

    first_word_seconds: float | None = None


class Cost(Representation):
    """Cost, as decimals in strings. Models without a known price are listed, not counted as free."""

    currency: Literal["USD"]
    total: Money
    breakdown: dict[str, Money]
    unpriced_models: tuple[str, ...]


class CalculatedCost(Cost):
    """Total cost as of `calculated_at`. Pending turns are not included."""

    calculated_at: datetime

    @classmethod
    def of(cls, cost: usage.Cost, at: datetime) -> Self:
        """A cost as of a time."""
        return cls(**dict(cost), calculated_at=at)


class TurnEvent(Representation):
    """An event of a turn."""

    type: EventType
    created_at: datetime
    payload: dict[str, JsonValue]


class Turn(Representation):
    """One user message (null for the greeting) and the agent's answer. `index` counts from the root of its branch.

    An `imported` turn comes from the history that a chat client sent: it cost nothing.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [TURN]})

    id: str
    parent_id: str | None
    index: int
    status: TurnStatus
    created_at: datetime
    user_message: UserMessage | None
    assistant_message: AssistantMessage | None
    events: tuple[TurnEvent, ...]
    usage: Annotated[TurnUsage, Field(validation_alias=AliasChoices("turn_usage", "usage"))]
    cost: Cost
    node_id: str | None
    error: str | None
    imported: bool = False


class Branch(Representation):
    """A branch that was discarded by a rewind, with its newest turns, at most 50, oldest first.

    `turn_count`, `cost` and `head_turn_id`, its first turn, are those of the whole branch, without the turns that it
    shares with others.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [BRANCH]})

    id: str
    rewound_from_turn_id: str | None
    discarded_at: datetime
    turn_count: int
    cost: Cost
    head_turn_id: str | None
    turns: tuple[Turn, ...]


class EventTicket(Representation):
    """A ticket for the event stream of one session, in place of an API key."""

    model_config = ConfigDict(json_schema_extra={"examples": [EVENT_TICKET]})

    ticket: str
    expires_at: datetime


class TreeTurn(Representation):
    """A turn of a session's tree, without its events. `text` is the beginning of the user's message, else of the reply.

    `branch` is `active`, `hidden` for turns past the cursor of a rewind, or the id of a discarded branch. A turn is
    `copied` when a fork took it over: it was billed to another session.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [TREE_TURN]})

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


class ComparisonSide(Representation):
    """One side of a comparison: the first turns after the last common one, at most 200, oldest first.

    `turns_after` counts the turns after those.
    """

    branch: str
    leaf_turn_id: str | None
    turns: tuple[Turn, ...]
    turns_after: int


class Comparison(Representation):
    """Comparison of two branches. `last_common_turn` is null when they share no turn."""

    model_config = ConfigDict(json_schema_extra={"examples": [COMPARISON]})

    common_turns: int
    last_common_turn: Turn | None
    a: ComparisonSide
    b: ComparisonSide
    as_of: datetime


class TemporalLink(Representation):
    """Workflow of the session in Temporal. `ui_url` is null when no URL of the Temporal UI is configured."""

    workflow_id: str
    run_id: str | None
    ui_url: str | None


class Approval(Representation):
    """A tool call that needs a decision by a person until `expires_at`; after that it is not made."""

    call_id: str
    turn_id: str
    tool: str
    arguments: dict[str, JsonValue]
    reason: str
    requested_at: datetime
    expires_at: datetime


class ClientCall(Representation):
    """A call of a client tool that waits for its result until `expires_at`. `said` is the reply before the call."""

    call_id: str
    turn_id: str
    tool: str
    arguments: dict[str, JsonValue]
    said: str
    requested_at: datetime
    expires_at: datetime


class ForkedFrom(Representation):
    """Source of a fork: the session, and the last turn that was taken from it."""

    model_config = ConfigDict(json_schema_extra={"examples": [FORKED_FROM]})

    session_id: str
    turn_id: str


class SessionSummary(Representation):
    """A session without its turns. `as_of` is the time of its data: lists are a moment behind the conversation.

    `disposition` is its outcome in one word; `tags` are the gathered `call_tags` and the disposition. `turn_count`
    counts the turns of the visible branch.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [SESSION_SUMMARY]})

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
    approvals: list[Approval] = []
    client_calls: list[ClientCall] = []
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

    `turns_before` counts the older ones; `GET .../turns` pages back to them. `as_of` is the time of
    its data: now for a live session, the time of its last record when no worker answers.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [SESSION]})

    turns_before: int
    turns: tuple[Turn, ...]
    discarded_branches: tuple[Branch, ...]


class Accepted(Representation):
    """A message that was accepted, with the turn that will answer it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"turn_id": "turn_5f0c2a9e41b7", "revision": 4}]})

    turn_id: str
    revision: int


class Agent(Representation):
    """One version of an agent. `warnings` list parts of the definition that are valid but probably unintended."""

    model_config = ConfigDict(json_schema_extra={"examples": [AGENT]})

    id: str
    name: str
    version: int
    workflow_id: Annotated[int, Field(validation_alias=AliasChoices("workflow_id", "number"))]
    definition: AgentDefinition
    warnings: tuple[str, ...]
    created_at: datetime


class AgentVersionSummary(Representation):
    """One version of an agent in the list of its versions: `warnings` counts those of the definition."""

    model_config = ConfigDict(json_schema_extra={"examples": [AGENT_VERSION]})

    version: int
    created_at: datetime
    node_count: int
    warnings: int


class Document(Representation):
    """A document that agents can search, without its text. `sha256` is that of the file.

    `names` are those under which it is the newest upload. `pages` is null unless the format has pages. `passages`
    counts the parts that a search can find.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [DOCUMENT]})

    sha256: str
    names: tuple[str, ...]
    format: DocumentFormat
    bytes: int
    characters: int
    pages: int | None
    passages: int
    created_at: datetime


class AgentDryRun(Representation):
    """The result of a dry run: the definition was checked and not stored.

    `version` is the version that it would become; when nothing `changed`, the newest one, which equals it.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [AGENT_DRY_RUN]})

    name: str
    version: int
    changed: bool
    warnings: tuple[str, ...]
    definition: AgentDefinition


class LedgerRow(Representation):
    """Usage and cost of one turn, whether it completed or not, or of an auxiliary model call.

    `purpose` is `turn`, or for auxiliary calls, whose `turn_id` is an id of their own: `extraction` of variables
    after the end, `caller` (a message of a simulated user), `judge` (a verdict), or `summary` of earlier turns.
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


class UsageRow(Representation):
    """Usage and cost of one day, agent, model or purpose. Members are null unless `by` names them.

    By `model`, a turn counts for each model that it used, and the charge for seconds is the model `duration`.
    """

    day: date | None
    agent_id: str | None
    agent_name: str | None
    model: str | None
    purpose: Purpose | None
    turns: int
    prompt_tokens: int
    completion_tokens: int
    cost: Cost


class OrganizationUsage(Representation):
    """Usage and cost of the organization, in total or in the requested range, divided into `rows`."""

    model_config = ConfigDict(json_schema_extra={"examples": [USAGE]})

    turns: int
    usage: Usage
    cost: CalculatedCost
    rows: tuple[UsageRow, ...]


class Quota(Representation):
    """The monthly spending limit of an organization, and its spending in that month."""

    limit: Money
    spent: Money
    currency: Literal["USD"]
    month: str


class About(Representation):
    """The installation as its caller sees it: if `keyless`, calls from this machine need no key.

    `spent` is what the organization has spent in this calendar month (UTC), without models whose price is not known.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [ABOUT]})

    version: str
    organization: str
    keyless: bool
    models: tuple[str, ...]
    default_model: str
    month: str
    spent: Money
    quota: Quota | None


class PageOf(Representation, Generic[Item]):
    """A page of a list. `next_cursor` is the cursor of the next page; null on the last page."""

    items: tuple[Item, ...]
    next_cursor: str | None
