"""Comparison of a suite with its baseline: pass rates, with confidence intervals for their differences."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Literal

_Z = 1.959963984540054
"""Standard normal quantile for a confidence of 95 %: 2.5 % on either side."""

Change = Literal["worse", "better", "perhaps_worse", "perhaps_better", "same", "new", "gone", "undecided"]


@dataclass(frozen=True, slots=True)
class RunCounts:
    """Passed, failed and inconclusive runs of a scenario. Inconclusive runs do not affect the rate."""

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
        """The share of passed runs among the decided ones; None if none was decided."""
        return self.passed / self.decided if self.decided else None


@dataclass(frozen=True, slots=True)
class ConfidenceInterval:
    """A confidence interval, at 95 %."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ScenarioComparison:
    """One scenario, before and now. `difference` is the present pass rate minus the earlier one."""

    scenario: str
    before: RunCounts | None
    now: RunCounts | None
    change: Change
    difference: float | None = None
    interval: ConfidenceInterval | None = None


@dataclass(frozen=True, slots=True)
class SuiteComparison:
    """All scenarios of either suite, and the total of those in both."""

    scenarios: tuple[ScenarioComparison, ...]
    overall: ScenarioComparison

    @property
    def regressions(self) -> tuple[str, ...]:
        """Scenarios whose pass rate fell significantly."""
        return tuple(each.scenario for each in self.scenarios if each.change == "worse")


def compare(before: Mapping[str, RunCounts], now: Mapping[str, RunCounts]) -> SuiteComparison:
    """Compare a suite with an earlier one, scenario by scenario, in the order of the present one."""
    names = [*now, *(name for name in before if name not in now)]
    shared = [name for name in now if name in before]
    whole = _compare_scenario("all", _total(before[name] for name in shared), _total(now[name] for name in shared))
    return SuiteComparison(tuple(_compare_scenario(name, before.get(name), now.get(name)) for name in names), whole)


def wilson_interval(passed: int, total: int) -> ConfidenceInterval:
    """Wilson score interval of a pass rate. Raises ValueError if there are no runs."""
    if total < 1:
        raise ValueError("a pass rate needs at least one decided run")
    rate, z2 = passed / total, _Z * _Z
    center = (rate + z2 / (2 * total)) / (1 + z2 / total)
    margin = _Z / (1 + z2 / total) * sqrt(rate * (1 - rate) / total + z2 / (4 * total * total))
    return ConfidenceInterval(max(center - margin, 0.0), min(center + margin, 1.0))


def difference_interval(before: RunCounts, now: RunCounts) -> ConfidenceInterval:
    """Confidence interval of the difference of two pass rates: Newcombe's hybrid score interval (1998, method 10).

    It is valid for small numbers and for rates of 0 and 1, where the Wald interval has no width. Raises ValueError if
    either side has no decided runs.
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


def _total(counts: Iterable[RunCounts]) -> RunCounts:
    return sum(counts, start=RunCounts())
