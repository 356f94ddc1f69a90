"""Variables of a page: those that a template can name are kept, within limits; the rest are left out."""

import pytest
from pydantic import JsonValue

from domain.dograh.visitor_context import MAX_TOTAL_BYTES, MAX_VARIABLES, visitor_context


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, {}),
        ({}, {}),
        ({"plan": "gold", "age": 3, "vip": True, "none": None}, {"plan": "gold", "age": 3, "vip": True, "none": None}),
        ({" plan ": "gold", "Название": "x"}, {"plan": "gold", "Название": "x"}),
        ({"": 1, " ": 1, "a.b": 1, "a b": 1, "a|b": 1, "{a}": 1, "n" * 65: 1}, {}),
        ({"n" * 64: 1}, {"n" * 64: 1}),
        ({"provider": 1, "runtime_configuration": 1, "mps_correlation_id": 1}, {}),
        ({"long": "x" * 2_001}, {"long": "x" * 2_000}),
        ({"cart": {"items": [1, 2]}, "large": ["x" * 2_000]}, {"cart": {"items": [1, 2]}}),
        ({"bad": "\x00", "worse": "\ud800", "nan": float("nan"), "ok\x00": 1, "ok": 1}, {"ok": 1}),
    ],
)
def test_variables_that_fit_are_kept(given: dict[str, JsonValue] | None, kept: dict[str, JsonValue]) -> None:
    assert visitor_context(given) == kept


def test_number_and_size_are_limited() -> None:
    many = visitor_context({f"v{number}": number for number in range(80)})
    assert list(many) == [f"v{number}" for number in range(MAX_VARIABLES)]
    large = visitor_context({f"v{number}": "x" * 1_900 for number in range(8)} | {"small": 1})
    assert list(large) == ["v0", "v1", "v2", "v3", "small"]
    assert sum(len(str(value)) for value in large.values()) < MAX_TOTAL_BYTES
