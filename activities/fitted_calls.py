"""Model calls beside the turns, each with as many of the earlier messages of its own conversation as fit."""

from dataclasses import replace
from decimal import Decimal

from activities.earlier_messages import EarlierMessages, NewPart
from activities.llm.interface import ModelAnswer, ModelCall, ModelCaller
from activities.llm.metrics import framed, timed
from domain.turns.model_request import frame_of_call, messages_to_send


async def call_with_earlier_messages(
    caller: ModelCaller, call: ModelCall, earlier: EarlierMessages, *, limit: int, price_per_second: Decimal | None
) -> ModelAnswer:
    """Make a model call with the earlier messages that fit into `limit` tokens, and price its seconds.

    Fails like `ModelCaller.call` and `EarlierMessages.fit`.
    """
    frame = frame_of_call(call.instructions, call.tools, {"timeout": call.timeout})
    history = await earlier.fit(NewPart(frame, messages_to_send(call.messages)), limit)
    answer = timed(caller.call(replace(call, history=history)), price_per_second)
    return await framed(answer, frame, new=len(call.messages))
