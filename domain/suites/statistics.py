"""Whether a suite got worse: pass rates of two runs of it, and how far chance alone could explain the difference."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Literal

CONFIDENCE = 0.95
"""How often an interval that is made this way holds the true difference."""
_Z = 1.959963984540054
"""The standard normal quantile that leaves 2.5 % on either side."""

Change = Literal["worse", "better", "perhaps_worse", "perhaps_better", "same", "new", "gone", "undecided"]


@dataclass(frozen=True, slots=True)
class RunCounts:
    """How often a scenario passed and failed. Inconclusive runs say nothing about it, and are only counted."""

    passed: int = 0
    failed: int = 0
    inconclusive: int = 0

    def __add__(self, other: "RunCounts") -> "RunCounts":
        return RunCounts(
            passed=self.passed + other.passed,
            failed=self.failed + other.failed,
            inconclusive=self.inconclusive + other.inconclusive,
        )

    @property
    def decided(self) -> int:
        return self.passed + self.failed

    @property
    def rate(self) -> float | None:
        """The part of the decided runs that passed; None when none was decided."""
        return self.passed / self.decided if self.decided else None


@dataclass(frozen=True, slots=True)
class ConfidenceInterval:
    """Where a true value lies, with the confidence named above."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ScenarioComparison:
    """One scenario, earlier and now. `difference` is of the pass rates, now less before."""

    scenario: str
    before: RunCounts | None
    now: RunCounts | None
    change: Change
    difference: float | None = None
    interval: ConfidenceInterval | None = None


@dataclass(frozen=True, slots=True)
class SuiteComparison:
    """All scenarios of either suite, and the sum over those that both have."""

    scenarios: tuple[ScenarioComparison, ...]
    overall: ScenarioComparison

    @property
    def got_worse(self) -> tuple[str, ...]:
        """Scenarios whose pass rate fell by more than chance explains."""
        return tuple(each.scenario for each in self.scenarios if each.change == "worse")


def compare(before: Mapping[str, RunCounts], now: Mapping[str, RunCounts]) -> SuiteComparison:
    """Compare two runs of a suite, scenario by scenario, in the order of the newer one."""
    names = [*now, *(name for name in before if name not in now)]
    shared = [name for name in now if name in before]
    whole = _compare_scenario("all", _total(before[name] for name in shared), _total(now[name] for name in shared))
    return SuiteComparison(tuple(_compare_scenario(name, before.get(name), now.get(name)) for name in names), whole)


def wilson_interval(passed: int, tried: int) -> ConfidenceInterval:
    """Where a pass rate lies, by Wilson's score interval. Raises ValueError when nothing was tried."""
    if tried < 1:
        raise ValueError("nothing was tried, so nothing is known about the rate")
    rate, z2 = passed / tried, _Z * _Z
    centre = (rate + z2 / (2 * tried)) / (1 + z2 / tried)
    reach = _Z / (1 + z2 / tried) * sqrt(rate * (1 - rate) / tried + z2 / (4 * tried * tried))
    return ConfidenceInterval(max(centre - reach, 0.0), min(centre + reach, 1.0))


def difference_interval(before: RunCounts, now: RunCounts) -> ConfidenceInterval:
    """Where the difference of two pass rates lies: Newcombe's hybrid score interval (1998, method 10).

    It is honest at small numbers and at rates of 0 and 1, where the textbook interval has no width at all.
    Raises ValueError when either was never decided.
    """
    old, new = wilson_interval(before.passed, before.decided), wilson_interval(now.passed, now.decided)
    old_rate, new_rate = before.passed / before.decided, now.passed / now.decided
    difference = new_rate - old_rate
    below = sqrt((new_rate - new.low) ** 2 + (old.high - old_rate) ** 2)
    above = sqrt((new.high - new_rate) ** 2 + (old_rate - old.low) ** 2)
    return ConfidenceInterval(max(difference - below, -1.0), min(difference + above, 1.0))


def _compare_scenario(scenario: str, before: RunCounts | None, now: RunCounts | None) -> ScenarioComparison:
    if before is None or now is None:
        return ScenarioComparison(scenario, before, now, "new" if before is None else "gone")
    if before.rate is None or now.rate is None:
        return ScenarioComparison(scenario, before, now, "undecided")
    interval = difference_interval(before, now)
    difference = now.rate - before.rate
    return ScenarioComparison(scenario, before, now, _change(difference, interval), difference, interval)


def _change(difference: float, interval: ConfidenceInterval) -> Change:
    if interval.high < 0:
        return "worse"
    if interval.low > 0:
        return "better"
    if difference == 0:
        return "same"
    return "perhaps_worse" if difference < 0 else "perhaps_better"


def _total(tried: Iterable[RunCounts]) -> RunCounts:
    return sum(tried, start=RunCounts())
