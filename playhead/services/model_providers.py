"""The models of an installation: all providers of pydantic-ai, and the offline demo model."""

from collections.abc import Collection, Mapping
from functools import partial

from activities.llm.providers import ModelProviders
from domain.usage import TokenPrice
from playhead.demo_model import DEMO_MODEL
from playhead.demo_model.model import DEMO_PRICE, DEMO_USAGE_KEY, demo_model


def build_providers(
    *, prices: Mapping[str, TokenPrice], demo_delay_seconds: float = 0.0, credentials: Collection[str] = ()
) -> ModelProviders:
    """Model providers with these prices, by `<provider>:<model>`, and the demo model, which is free unless priced.

    No error text contains one of the `credentials`.
    """
    return ModelProviders(
        prices={DEMO_USAGE_KEY: DEMO_PRICE, **prices},
        own_models={DEMO_MODEL: partial(demo_model, delay_seconds=demo_delay_seconds)},
        credentials=credentials,
    )
