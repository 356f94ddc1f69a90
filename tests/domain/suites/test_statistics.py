"""Statistics of suite comparisons, checked against published values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.suites.statistics import ConfidenceInterval, RunCounts, compare, difference_interval, wilson_interval

counts = st.integers(min_value=0, max_value=300)
tried = st.builds(RunCounts, passed=counts, failed=counts).filter(lambda each: each.decided > 0)


# Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17
# (1998), table II, method 10. There the difference is the first proportion minus the second.
@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_difference_of_rates_has_the_published_interval(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    (passed, all_of_first), (passed_before, all_of_second) = first, second
    now = RunCounts(passed, all_of_first - passed)
    before = RunCounts(passed_before, all_of_second - passed_before)
    found = difference_interval(before, now)
    assert found.low == pytest.approx(low, abs=0.00006)
    assert found.high == pytest.approx(high, abs=0.00006)


@pytest.mark.parametrize(
    ("passed", "of", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)]
)
def test_rate_has_the_published_interval(passed: int, of: int, low: float, high: float) -> None:
    found = wilson_interval(passed, of)
    assert found.low == pytest.approx(low, abs=0.00006)
    assert found.high == pytest.approx(high, abs=0.00006)


def test_an_interval_without_runs_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one decided run"):
        wilson_interval(0, 0)


@given(tried, tried)
def test_interval_holds_the_difference_and_turns_round_with_it(before: RunCounts, now: RunCounts) -> None:
    found, reversed_ = difference_interval(before, now), difference_interval(now, before)
    assert now.rate is not None
    assert before.rate is not None
    assert found.low - 1e-9 <= now.rate - before.rate <= found.high + 1e-9
    assert reversed_.low == pytest.approx(-found.high)
    assert reversed_.high == pytest.approx(-found.low)


@given(tried, tried)
def test_more_runs_at_the_same_rates_narrow_the_interval(before: RunCounts, now: RunCounts) -> None:
    narrow = difference_interval(_times(before, 10), _times(now, 10))
    assert _width(narrow) < _width(difference_interval(before, now))


def test_a_significant_drop_is_distinguished_from_chance() -> None:
    before = {
        "refund": RunCounts(20, 0),
        "booking": RunCounts(2, 0),
        "menu": RunCounts(3, 3),
        "greeting": RunCounts(0, 12),
    }
    now = {
        "refund": RunCounts(9, 11),
        "booking": RunCounts(1, 1),
        "menu": RunCounts(3, 3),
        "greeting": RunCounts(12, 0),
    }
    found = compare(before, now)
    assert {each.scenario: each.change for each in found.scenarios} == {
        "refund": "worse",
        "booking": "perhaps_worse",
        "menu": "same",
        "greeting": "better",
    }
    assert found.regressions == ("refund",)


def test_one_failure_after_one_pass_is_not_significant() -> None:
    found = compare({"refund": RunCounts(1, 0)}, {"refund": RunCounts(0, 1)}).scenarios[0]
    assert found.difference == -1
    assert found.change == "perhaps_worse"


def test_scenarios_that_only_one_suite_has_are_named_and_count_for_nothing() -> None:
    found = compare(
        {"old": RunCounts(0, 9), "kept": RunCounts(4, 0)}, {"kept": RunCounts(4, 0), "new": RunCounts(0, 9)}
    )
    assert [(each.scenario, each.change) for each in found.scenarios] == [
        ("kept", "same"),
        ("new", "new"),
        ("old", "gone"),
    ]
    assert found.overall.before == found.overall.now == RunCounts(4, 0)


def test_scenario_that_was_never_decided_is_not_compared() -> None:
    found = compare({"refund": RunCounts(inconclusive=5)}, {"refund": RunCounts(5, 0)})
    assert found.scenarios[0].change == "undecided"
    assert found.scenarios[0].interval is None
    assert found.overall.change == "undecided"


def test_many_small_drops_are_a_drop_of_the_whole() -> None:
    before = {f"scenario {number}": RunCounts(3, 0) for number in range(20)}
    now = {f"scenario {number}": RunCounts(2, 1) for number in range(20)}
    found = compare(before, now)
    assert found.regressions == ()
    assert found.overall.change == "worse"


def _times(tried: RunCounts, factor: int) -> RunCounts:
    return RunCounts(tried.passed * factor, tried.failed * factor)


def _width(interval: ConfidenceInterval) -> float:
    return interval.high - interval.low
