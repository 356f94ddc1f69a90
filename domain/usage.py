"""What a model call used and what it cost: tokens per model and seconds, merged and priced in exact decimals."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer

from domain.durable import FrozenModel

MILLION = Decimal(1_000_000)
AMOUNT_PRECISION = Decimal("0.000000000001")
"""Amounts are rounded to this (a picodollar), half to even, once: where they are priced. Sums are exact."""

DURATION_CHARGE = "duration"
"""What a cost's breakdown names the charge for seconds; everything else in it is a `<provider>:<model>`."""

Money = Annotated[Decimal, PlainSerializer(lambda amount: f"{amount:f}", return_type=str, when_used="json")]
"""An amount whose JSON form is a plain decimal: never `1E-7`, which not every reader of decimals takes."""


class ModelUsage(FrozenModel):
    """Tokens used at one model. `prompt_tokens` includes cached ones, as providers count them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    requests: int = 0

    def __add__(self, other: "ModelUsage") -> "ModelUsage":
        return ModelUsage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            total_tokens=self.total_tokens + other.total_tokens,
            cache_read_input_tokens=self.cache_read_input_tokens + other.cache_read_input_tokens,
            cache_creation_input_tokens=self.cache_creation_input_tokens + other.cache_creation_input_tokens,
            requests=self.requests + other.requests,
        )


class Usage(FrozenModel):
    """Usage per `<provider>:<model>`, and seconds.

    `duration_seconds` is wall clock: for a turn from the message to the answer, whatever was waited for.
    `model_seconds` are those in which a model was at work on what was bought; a price per second charges these.
    """

    llm: dict[str, ModelUsage] = {}
    duration_seconds: float = 0.0
    model_seconds: float = 0.0

    @property
    def requests(self) -> int:
        return sum(model.requests for model in self.llm.values())

    @property
    def total_tokens(self) -> int:
        return sum(model.total_tokens for model in self.llm.values())


class Cost(FrozenModel):
    """Money spent, in US dollars. Models without a known price are named, never counted as free."""

    currency: Literal["USD"] = "USD"
    total: Money = Decimal(0)
    breakdown: dict[str, Money] = {}
    unpriced_models: tuple[str, ...] = ()


class TokenPrice(FrozenModel):
    """US dollars for a million tokens. Cached tokens cost as input does unless they have a price of their own."""

    input: Money = Field(ge=0)
    output: Money = Field(ge=0)
    cache_read: Money | None = Field(default=None, ge=0)
    cache_write: Money | None = Field(default=None, ge=0)


def merge_usage(usages: Iterable[Usage]) -> Usage:
    """Add usages model by model; seconds add up."""
    llm: dict[str, ModelUsage] = {}
    duration, at_models = 0.0, 0.0
    for usage in usages:
        duration += usage.duration_seconds
        at_models += usage.model_seconds
        for model, used in usage.llm.items():
            llm[model] = llm[model] + used if model in llm else used
    return Usage(llm=llm, duration_seconds=round(duration, 3), model_seconds=round(at_models, 3))


def merge_costs(costs: Iterable[Cost]) -> Cost:
    """Add costs model by model; a model that was unpriced once stays named."""
    breakdown: dict[str, Decimal] = {}
    unpriced_cost: dict[str, None] = {}
    for cost in costs:
        unpriced_cost.update(dict.fromkeys(cost.unpriced_models))
        for model, amount in cost.breakdown.items():
            breakdown[model] = breakdown.get(model, Decimal(0)) + amount
    return Cost(
        total=sum(breakdown.values(), Decimal(0)),
        breakdown=breakdown,
        unpriced_models=tuple(sorted(unpriced_cost)),
    )


def cost_of(model: str, used: ModelUsage, price: TokenPrice) -> Cost:
    """Price one model's usage.

    Cached tokens are part of `prompt_tokens`; they are taken out and charged at their own price.
    """
    cached = used.cache_read_input_tokens + used.cache_creation_input_tokens
    fresh = max(used.prompt_tokens - cached, 0)
    amount = (
        fresh * price.input
        + used.completion_tokens * price.output
        + used.cache_read_input_tokens * (price.input if price.cache_read is None else price.cache_read)
        + used.cache_creation_input_tokens * (price.input if price.cache_write is None else price.cache_write)
    ) / MILLION
    return rounded_cost(model, amount)


def cost_of_seconds(seconds: float, price_per_second: Decimal) -> Cost:
    """Price seconds, counted in whole milliseconds."""
    return rounded_cost(DURATION_CHARGE, round(seconds * 1000) * price_per_second / 1000)


def rounded_cost(what: str, amount: Decimal) -> Cost:
    """A cost of one model, or of time, rounded to the smallest amount."""
    exact = amount.quantize(AMOUNT_PRECISION)
    return Cost(total=exact, breakdown={what: exact})


def unpriced_cost(model: str) -> Cost:
    """The cost of a model whose price nobody knows: named, not zero."""
    return Cost(unpriced_models=(model,))
