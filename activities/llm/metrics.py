"""Measures the seconds of a model call and prices them for organizations that pay by the second."""

from collections.abc import Awaitable
from dataclasses import replace
from decimal import Decimal
from time import monotonic

from activities.llm.interface import ModelAnswer, ReplyCancelled
from domain.usage import Cost, cost_of_seconds, merge_costs


async def timed(call: Awaitable[ModelAnswer], price_per_second: Decimal | None) -> ModelAnswer:
    """Await a model call and add its seconds and their cost to the answer, also when the call was cancelled.

    Failed attempts are not counted.
    """
    started_at = monotonic()
    try:
        answer = await call
    except ReplyCancelled as cancelled:
        partial = _with_seconds(cancelled.answer, monotonic() - started_at, price_per_second)
        raise ReplyCancelled(partial) from cancelled
    return _with_seconds(answer, monotonic() - started_at, price_per_second)


def _with_seconds(answer: ModelAnswer, seconds: float, price_per_second: Decimal | None) -> ModelAnswer:
    reply = answer.reply
    used = reply.usage.model_copy(update={"model_seconds": round(seconds, 3)})
    charge = Cost() if price_per_second is None else cost_of_seconds(used.model_seconds, price_per_second)
    priced = reply.model_copy(update={"usage": used, "cost": merge_costs([reply.cost, charge])})
    return replace(answer, reply=priced)
