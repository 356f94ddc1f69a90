"""Usage and cost: of a turn, of a session, and of the organization."""

from datetime import date, datetime
from typing import Literal

from playhead_client.models.response_model import Money, ResponseModel

Purpose = Literal["turn", "extraction", "caller", "judge", "summary"]


class ModelUsage(ResponseModel):
    """Tokens used by one model. `prompt_tokens` includes cached ones, as providers count them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    requests: int = 0


class Usage(ResponseModel):
    """Tokens by `<provider>:<model>`, seconds of wall clock, and seconds of billed model calls."""

    llm: dict[str, ModelUsage]
    duration_seconds: float
    model_seconds: float


class TurnUsage(Usage):
    """Usage of a turn. `first_word_seconds` is the time from the message to the first word of the reply."""

    first_word_seconds: float | None = None


class Cost(ResponseModel):
    """Money spent. Models without a known price are listed in `unpriced_models`, not counted as free."""

    currency: Literal["USD"]
    total: Money
    breakdown: dict[str, Money]
    unpriced_models: tuple[str, ...]


class CalculatedCost(Cost):
    """Money spent in total, complete as of `calculated_at`; turns in progress are not included."""

    calculated_at: datetime


class LedgerRow(ResponseModel):
    """Usage and cost of one turn, or of an auxiliary model call.

    For an auxiliary call `turn_id` is an id of its own, and `purpose` names its use: `extraction` of variables after
    the end, `caller` for a message of a simulated user, `judge` for a verdict, `summary` of earlier turns.
    """

    id: str
    session_id: str
    turn_id: str
    purpose: Purpose
    agent_id: str
    suite_id: str | None
    usage: Usage
    cost: Cost
    created_at: datetime


class UsageRow(ResponseModel):
    """Usage and cost of one day, agent, model or purpose; members are null unless the range was divided by them."""

    day: date | None
    agent_id: str | None
    agent_name: str | None
    model: str | None
    purpose: Purpose | None
    turns: int
    prompt_tokens: int
    completion_tokens: int
    cost: Cost


class OrganizationUsage(ResponseModel):
    """Usage and cost of the organization, in total or in a range of days, which `rows` divide."""

    turns: int
    usage: Usage
    cost: CalculatedCost
    rows: tuple[UsageRow, ...]


class Quota(ResponseModel):
    """The monthly spending limit of an organization, and its spending in that month."""

    limit: Money
    spent: Money
    currency: Literal["USD"]
    month: str


class About(ResponseModel):
    """The installation as the client sees it: a `keyless` one accepts calls from its own machine without a key.

    `spent` is what the organization has spent in this calendar month (UTC), without models whose price is not known.
    """

    version: str
    organization: str
    keyless: bool
    models: tuple[str, ...]
    default_model: str
    month: str
    spent: Money
    quota: Quota | None
