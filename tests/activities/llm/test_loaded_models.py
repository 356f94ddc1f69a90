"""The models that a worker keeps loaded."""

from pydantic_ai.models import Model
from pydantic_ai.models.test import TestModel

from activities.llm.providers import MAX_LOADED_MODELS, ModelProviders


def test_models_that_were_used_once_are_not_kept_for_ever() -> None:
    made = []

    def make() -> Model:
        made.append(1)
        return TestModel()

    names = [f"own-{number}" for number in range(150)]
    providers = ModelProviders(prices={}, own_models=dict.fromkeys(names, make))
    for name in names:
        providers.load(name)
    assert len(providers._models) == MAX_LOADED_MODELS


def test_a_model_that_fails_to_load_does_not_stop_the_worker() -> None:
    def fail() -> Model:
        raise OSError(24, "Too many open files")

    ModelProviders(prices={}, own_models={"own": fail}).load("own")
