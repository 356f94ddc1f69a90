"""Prices of models: by the string that an agent names, and by the name in the usage."""

from decimal import Decimal

import pytest

from activities.llm.interface import ModelCall
from activities.llm.providers import ModelProviders
from domain.turns.turn import UserSaid
from domain.usage import TokenPrice
from tests.support.provider import ModelProvider

PRICE = TokenPrice(input=Decimal(1000), output=Decimal(2000))


@pytest.mark.parametrize("key", ["openai-chat:mock", "openai:mock"])
async def test_price_is_found_by_the_model_string_and_by_the_name_in_the_usage(
    provider: ModelProvider, key: str
) -> None:
    call = ModelCall(
        model=provider.model("mock").string,
        instructions="",
        history=(),
        messages=(UserSaid(text="Hello"),),
        tools=(),
        timeout=10.0,
    )
    reply = (await ModelProviders(prices={key: PRICE}).call(call)).reply
    assert list(reply.usage.llm) == ["openai:mock"]
    assert reply.cost.total == Decimal("0.025")
    assert reply.cost.unpriced_models == ()
