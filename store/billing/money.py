"""Exact money in integer columns, and the bill of a turn from its saved steps."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from domain.sessions.timeline import Purpose
from domain.turns.engine import ModelReply
from domain.usage import AMOUNT_PRECISION, Cost, ModelUsage, Usage, merge_costs, merge_usage

NO_MODEL = ""
"""The model in rows of totals that belong to no model: the number of turns and their duration."""

_PICODOLLARS = int(1 / AMOUNT_PRECISION)


@dataclass(frozen=True, slots=True)
class Bill:
    """Usage and cost of a turn by its saved steps. `unpriced_requests` counts requests without a known price."""

    usage: Usage
    cost: Cost
    unpriced_requests: dict[str, int]


def bill_of(replies: Iterable[ModelReply], duration_seconds: float) -> Bill:
    """The bill of a turn with these replies. Without replies it costs nothing."""
    paid = list(replies)
    unpriced: dict[str, int] = {}
    for reply in paid:
        for model in reply.cost.unpriced_models:
            requests = reply.usage.llm.get(model, ModelUsage()).requests
            unpriced[model] = unpriced.get(model, 0) + requests
    usage = merge_usage(reply.usage for reply in paid)
    return Bill(
        usage=usage.model_copy(update={"duration_seconds": duration_seconds}),
        cost=merge_costs(reply.cost for reply in paid),
        unpriced_requests=unpriced,
    )


def totals_of(bills: Iterable[tuple[Bill, Purpose]]) -> dict[str, dict[str, int]]:
    """The amounts that the bills add to an organization's totals: columns of `usage_totals`, by model."""
    totals: dict[str, dict[str, int]] = {}
    for bill, purpose in bills:
        _add(
            totals,
            NO_MODEL,
            turns=1 if purpose == "turn" else 0,
            milliseconds=round(bill.usage.duration_seconds * 1000),
            model_milliseconds=round(bill.usage.model_seconds * 1000),
        )
        for model, used in bill.usage.llm.items():
            _add(totals, model, **used.model_dump())
        for what, amount in bill.cost.breakdown.items():
            _add(totals, what, picodollars=picodollars(amount))
        for model, requests in bill.unpriced_requests.items():
            _add(totals, model, unpriced_requests=requests)
    return totals


def picodollars(amount: Decimal) -> int:
    """US dollars as a whole number of picodollars (1e-12 dollars), to which prices are rounded."""
    return int((amount * _PICODOLLARS).to_integral_value())


def dollars(amount: int) -> Decimal:
    """US dollars from a whole number of picodollars (1e-12 dollars)."""
    return Decimal(amount) * AMOUNT_PRECISION


def _add(totals: dict[str, dict[str, int]], model: str, **figures: int) -> None:
    row = totals.setdefault(model, dict.fromkeys(_FIGURES, 0))
    for name, figure in figures.items():
        row[name] += figure


_FIGURES = ("turns", "milliseconds", "model_milliseconds", *ModelUsage.model_fields, "unpriced_requests", "picodollars")
