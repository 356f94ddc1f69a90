"""The seconds that a model was at work on a reply, and what they cost where the organization has a price for them."""

from collections.abc import Awaitable
from dataclasses import replace
from decimal import Decimal
from time import monotonic

from activities.llm.interface import ModelAnswer, ReplyCancelled
from domain.usage import Cost, cost_of_seconds, merge_costs


async def timed(call: Awaitable[ModelAnswer], price_per_second: Decimal | None) -> ModelAnswer:
    """A model's answer with the seconds it took, also when it was cut short.

    Only what is bought is timed: no attempts that failed, and nothing that a turn waited for besides.
    """
    began = monotonic()
    try:
        answer = await call
    except ReplyCancelled as cut:
        raise ReplyCancelled(_with_seconds(cut.answer, monotonic() - began, price_per_second)) from cut
    return _with_seconds(answer, monotonic() - began, price_per_second)


def _with_seconds(answer: ModelAnswer, seconds: float, price_per_second: Decimal | None) -> ModelAnswer:
    reply = answer.reply
    used = reply.usage.model_copy(update={"model_seconds": round(seconds, 3)})
    charge = Cost() if price_per_second is None else cost_of_seconds(used.model_seconds, price_per_second)
    priced = reply.model_copy(update={"usage": used, "cost": merge_costs([reply.cost, charge])})
    return replace(answer, reply=priced)
