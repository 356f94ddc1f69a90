"""Usage and cost: sums by model, exact amounts, and models without a price."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.usage import (
    AMOUNT_PRECISION,
    Cost,
    ModelUsage,
    TokenPrice,
    Usage,
    cost_of,
    cost_of_seconds,
    merge_costs,
    merge_usage,
    rounded_cost,
    unpriced_cost,
)

PRICE = TokenPrice(input=Decimal("1.25"), output=Decimal(10))
MODELS = st.sampled_from(["openai:gpt-5-mini", "test:model", "demo:scripted"])
COUNTS = st.integers(min_value=0, max_value=10**9)
MODEL_USAGES = st.builds(
    ModelUsage,
    prompt_tokens=COUNTS,
    completion_tokens=COUNTS,
    total_tokens=COUNTS,
    cache_read_input_tokens=COUNTS,
    cache_creation_input_tokens=COUNTS,
    requests=COUNTS,
)
USAGES = st.lists(st.builds(Usage, llm=st.dictionaries(MODELS, MODEL_USAGES, max_size=3)), max_size=4)
AMOUNTS = st.decimals(min_value=0, max_value=10_000, places=12)
COSTS = st.lists(st.builds(rounded_cost, MODELS, AMOUNTS) | st.builds(unpriced_cost, MODELS), max_size=5)
FIXED = settings(derandomize=True, database=None, deadline=None)


# --- tokens -------------------------------------------------------------------------------------


def test_usage_is_merged_model_by_model() -> None:
    first = Usage(llm={"a:x": ModelUsage(prompt_tokens=1, requests=1)}, duration_seconds=1.5, model_seconds=0.25)
    second = Usage(llm={"a:x": ModelUsage(prompt_tokens=2, requests=1), "b:y": ModelUsage(completion_tokens=3)})
    merged = merge_usage([first, second])
    assert merged.llm == {"a:x": ModelUsage(prompt_tokens=3, requests=2), "b:y": ModelUsage(completion_tokens=3)}
    assert (merged.duration_seconds, merged.model_seconds) == (1.5, 0.25)
    assert merge_usage([merged, first]).model_seconds == 0.5
    assert (merged.requests, merge_usage([])) == (2, Usage())


@FIXED
@given(USAGES, USAGES)
def test_order_and_grouping_of_merges_do_not_matter(left: list[Usage], right: list[Usage]) -> None:
    together = merge_usage([*left, *right])
    assert merge_usage([merge_usage(left), merge_usage(right)]).llm == together.llm
    assert merge_usage([*right, *left]).llm == together.llm
    assert together.total_tokens == sum(usage.total_tokens for usage in (*left, *right))


def test_every_field_of_a_models_usage_is_added() -> None:
    once = ModelUsage(**dict.fromkeys(ModelUsage.model_fields, 1))
    assert once + once == ModelUsage(**dict.fromkeys(ModelUsage.model_fields, 2))


# --- prices -------------------------------------------------------------------------------------


def test_tokens_are_priced_by_the_million() -> None:
    used = ModelUsage(prompt_tokens=1_000_000, completion_tokens=500_000)
    assert cost_of("a:x", used, PRICE) == Cost(total=Decimal("6.25"), breakdown={"a:x": Decimal("6.25")})


@pytest.mark.parametrize(
    ("cache_read", "cache_write", "expected"),
    [
        (None, None, "1.25"),  # all at the price of input
        (Decimal("0.125"), None, "0.80"),  # 0.5 fresh and written to the cache, 0.4 of a million read from it
        (Decimal(0), Decimal("2.5"), "0.875"),
    ],
)
def test_cached_tokens_are_taken_out_of_the_prompt_and_priced_once(
    cache_read: Decimal | None, cache_write: Decimal | None, expected: str
) -> None:
    price = PRICE.model_copy(update={"cache_read": cache_read, "cache_write": cache_write})
    used = ModelUsage(prompt_tokens=1_000_000, cache_read_input_tokens=400_000, cache_creation_input_tokens=100_000)
    assert cost_of("a:x", used, price).total == Decimal(expected)


def test_provider_that_counts_cached_tokens_apart_gives_no_negative_cost() -> None:
    used = ModelUsage(prompt_tokens=10, cache_read_input_tokens=1_000_000)
    assert cost_of("a:x", used, PRICE).total == Decimal("1.25")


def test_amounts_are_rounded_once_to_the_smallest_amount_half_to_even() -> None:
    half = AMOUNT_PRECISION / 2
    assert rounded_cost("a:x", half).total == 0
    assert rounded_cost("a:x", AMOUNT_PRECISION + half).total == 2 * AMOUNT_PRECISION


@pytest.mark.parametrize(
    ("seconds", "price", "expected"),
    [(1.5, "0.002", "0.003"), (0.0004, "1", "0"), (0.001, "0.000000001", "0.000000000001"), (90, "0", "0")],
)
def test_seconds_are_priced_by_the_millisecond(seconds: float, price: str, expected: str) -> None:
    cost = cost_of_seconds(seconds, Decimal(price))
    assert (cost.total, cost.breakdown) == (Decimal(expected), {"duration": Decimal(expected)})


def test_negative_price_is_refused() -> None:
    with pytest.raises(ValidationError):
        TokenPrice(input=Decimal(-1), output=Decimal(0))


# --- sums ---------------------------------------------------------------------------------------


@FIXED
@given(COSTS, COSTS)
def test_costs_add_up_exactly_in_any_order_and_grouping(left: list[Cost], right: list[Cost]) -> None:
    together = merge_costs([*left, *right])
    assert merge_costs([merge_costs(left), merge_costs(right)]) == together == merge_costs([*right, *left])
    assert together.total == sum((cost.total for cost in (*left, *right)), Decimal(0))
    assert together.total == sum(together.breakdown.values(), Decimal(0))


def test_model_without_a_price_is_named_once_and_never_counted_as_free() -> None:
    merged = merge_costs(
        [unpriced_cost("b:y"), rounded_cost("a:x", Decimal(1)), unpriced_cost("b:y"), unpriced_cost("a:z")]
    )
    assert merged.unpriced_models == ("a:z", "b:y")
    assert merged.breakdown == {"a:x": Decimal(1)}


# --- in JSON ------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", ["0", "0.0000001", "0.000000000001", "1E+3", "123.45"])
def test_money_is_a_plain_decimal_string_in_json(amount: str) -> None:
    cost = rounded_cost("a:x", Decimal(amount))
    written = json.loads(cost.model_dump_json())
    assert set(written["total"]) <= set("0123456789.")
    assert written["breakdown"] == {"a:x": written["total"]}
    assert Cost.model_validate(written) == cost
    price = TokenPrice(input=Decimal(amount), output=Decimal(0), cache_read=Decimal(amount))
    assert "E" not in json.dumps(price.model_dump(mode="json"))


def test_money_stays_a_decimal_in_python() -> None:
    assert isinstance(rounded_cost("a:x", Decimal(1)).model_dump()["total"], Decimal)
