"""Usage and cost of model calls: tokens per model and seconds, merged and priced in exact decimals."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer

from domain.durable import FrozenModel

MILLION = Decimal(1_000_000)
AMOUNT_PRECISION = Decimal("0.000000000001")
"""Amounts are rounded to a picodollar, half to even, once, when they are priced. Sums are exact."""

DURATION_CHARGE = "duration"
"""Key of the charge for seconds in the breakdown of a cost; all other keys are `<provider>:<model>`."""

Money = Annotated[Decimal, PlainSerializer(lambda amount: f"{amount:f}", return_type=str, when_used="json")]
"""An amount written to JSON as a plain decimal, never as `1E-7`, which some parsers reject."""


class ModelUsage(FrozenModel):
    """Token usage of one model. `prompt_tokens` includes cached tokens, as providers count them."""

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

    def beyond(self, earlier: "ModelUsage") -> "ModelUsage":
        """The usage on top of an earlier one; no figure goes below zero."""
        mine, others = self.model_dump(), earlier.model_dump()
        return ModelUsage(**{name: max(mine[name] - others[name], 0) for name in mine})


class Usage(FrozenModel):
    """Usage per `<provider>:<model>`, and seconds.

    `duration_seconds` is wall-clock time: for a turn, from the message to the reply. `model_seconds` is the time spent
    in model calls that were paid for; a price per second applies to these.
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
    """Cost in US dollars. Models without a known price are listed as unpriced, not counted as free."""

    currency: Literal["USD"] = "USD"
    total: Money = Decimal(0)
    breakdown: dict[str, Money] = {}
    unpriced_models: tuple[str, ...] = ()


class TokenPrice(FrozenModel):
    """Price in US dollars per million tokens. Cached tokens cost as much as input unless they have their own price."""

    input: Money = Field(ge=0)
    output: Money = Field(ge=0)
    cache_read: Money | None = Field(default=None, ge=0)
    cache_write: Money | None = Field(default=None, ge=0)


def merge_usage(usages: Iterable[Usage]) -> Usage:
    """Add up usages, model by model, and seconds."""
    llm: dict[str, ModelUsage] = {}
    duration, model_seconds = 0.0, 0.0
    for usage in usages:
        duration += usage.duration_seconds
        model_seconds += usage.model_seconds
        for model, used in usage.llm.items():
            llm[model] = llm[model] + used if model in llm else used
    return Usage(llm=llm, duration_seconds=round(duration, 3), model_seconds=round(model_seconds, 3))


def merge_costs(costs: Iterable[Cost]) -> Cost:
    """Add up costs, model by model; a model unpriced in one of them is unpriced in the sum."""
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


def usage_beyond(usage: Usage, earlier: Usage) -> Usage:
    """The usage that comes on top of an earlier one, model by model; nothing goes below zero."""
    llm = {model: used.beyond(earlier.llm.get(model, ModelUsage())) for model, used in usage.llm.items()}
    return Usage(
        llm={model: used for model, used in llm.items() if used.requests or used.total_tokens},
        duration_seconds=round(max(usage.duration_seconds - earlier.duration_seconds, 0.0), 3),
        model_seconds=round(max(usage.model_seconds - earlier.model_seconds, 0.0), 3),
    )


def cost_beyond(cost: Cost, earlier: Cost) -> Cost:
    """The cost that comes on top of an earlier one, model by model; nothing goes below zero."""
    breakdown = {model: amount - earlier.breakdown.get(model, Decimal(0)) for model, amount in cost.breakdown.items()}
    breakdown = {model: amount for model, amount in breakdown.items() if amount > 0}
    return Cost(
        total=sum(breakdown.values(), Decimal(0)),
        breakdown=breakdown,
        unpriced_models=tuple(each for each in cost.unpriced_models if each not in earlier.unpriced_models),
    )


def cost_of(model: str, used: ModelUsage, price: TokenPrice) -> Cost:
    """Price one model's usage.

    Cached tokens are part of `prompt_tokens`; they are subtracted and charged at their own price.
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
    """Price seconds, rounded to whole milliseconds."""
    return rounded_cost(DURATION_CHARGE, round(seconds * 1000) * price_per_second / 1000)


def rounded_cost(item: str, amount: Decimal) -> Cost:
    """The cost of one item (a model, or time), rounded to `AMOUNT_PRECISION`."""
    exact = amount.quantize(AMOUNT_PRECISION)
    return Cost(total=exact, breakdown={item: exact})


def unpriced_cost(model: str) -> Cost:
    """The cost of a model without a known price: listed as unpriced."""
    return Cost(unpriced_models=(model,))
