"""Measures the seconds of a model call and prices them for organizations that pay by the second."""

from collections.abc import Awaitable
from dataclasses import replace
from decimal import Decimal
from time import monotonic

from activities.llm.interface import ModelAnswer, OnDelta, ReplyCancelled, ignore_delta
from domain.turns.model_request import RequestFrame
from domain.usage import Cost, cost_of_seconds, merge_costs


class FirstWord:
    """Measures the time from the start of a model call to its first text."""

    def __init__(self, on_delta: OnDelta = ignore_delta) -> None:
        self._on_delta = on_delta
        self._started_at = monotonic()
        self._seconds: float | None = None

    def pass_on(self, text: str) -> None:
        """Take note of a piece of text, and pass it on."""
        if self._seconds is None and text.strip():
            self._seconds = round(monotonic() - self._started_at, 3)
        self._on_delta(text)

    async def noted(self, call: Awaitable[ModelAnswer]) -> ModelAnswer:
        """Await the call and add the time of its first text to the reply, also when the call was cancelled."""
        try:
            return self._with_time(await call)
        except ReplyCancelled as cancelled:
            raise ReplyCancelled(self._with_time(cancelled.answer)) from cancelled

    def _with_time(self, answer: ModelAnswer) -> ModelAnswer:
        return replace(answer, reply=answer.reply.model_copy(update={"first_word": self._seconds}))


async def framed(call: Awaitable[ModelAnswer], frame: RequestFrame, *, new: int = 0) -> ModelAnswer:
    """Await a model call and add its request to the answer, also when the call was cancelled."""
    try:
        return replace(await call, frame=frame, new=new)
    except ReplyCancelled as cancelled:
        raise ReplyCancelled(replace(cancelled.answer, frame=frame, new=new)) from cancelled


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
