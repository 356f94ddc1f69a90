"""Charts of a report as inline SVG: histograms, pass rates, and differences of pass rates."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Final

from markupsafe import Markup

from api.reports.templating import chart
from domain.suites.statistics import ConfidenceInterval

WIDTH: Final = 320
HEIGHT: Final = 132
_LEFT, _BOTTOM, _TOP = 8, 22, 10
MAX_BARS: Final = 16
MIN_SLOTS: Final = 8
"""Bars are no wider than with this many, so that a single value does not fill the chart."""


@dataclass(frozen=True)
class Bins:
    """Ranges of equal width: the lower bound of the first, the width, and their number."""

    low: float
    step: float
    count: int

    def place(self, value: float) -> int:
        """The index of the range that contains a value."""
        return min(max(floor((value - self.low) / self.step), 0), self.count - 1)


@dataclass(frozen=True)
class Bar:
    """A bar of one group, with a title that says what it counts."""

    group: str
    title: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Label:
    """Text at a point; `anchor` is the SVG text anchor."""

    text: str
    x: float
    y: float
    anchor: str


@dataclass(frozen=True)
class Mark:
    """A vertical line with a label."""

    x: float
    label: Label


@dataclass(frozen=True)
class Histogram:
    """Geometry of a histogram."""

    label: str
    bars: Sequence[Bar]
    ticks: Sequence[Label]
    marks: Sequence[Mark]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    top: int = _TOP
    floor: int = HEIGHT - _BOTTOM


def bins_for(values: Sequence[float], *, whole: bool = False) -> Bins:
    """Ranges with round bounds that contain all values. `whole` is for integers."""
    least, most = min(values), max(values)
    step = _round_step((most - least) / MAX_BARS or abs(most) / MAX_BARS or 1 / MAX_BARS)
    if whole:
        step = max(1.0, step)
    low = floor(least / step) * step
    return Bins(low, step, max(floor((most - low) / step) + 1, 1))


def histogram(
    groups: Mapping[str, Sequence[float]],
    label: str,
    shown: Callable[[float], str],
    *,
    whole: bool = False,
    marks: Mapping[str, float] | None = None,
) -> Markup:
    """A histogram with stacked groups, which are named by their class in the style sheet.

    `marks` are values to highlight, by name.
    """
    values = [value for group in groups.values() for value in group]
    if not values:
        return Markup('<p class="nothing">Nothing to plot yet.</p>')
    bins = bins_for(values, whole=whole)
    slot = (WIDTH - 2 * _LEFT) / max(bins.count, MIN_SLOTS)
    ends = [(bins.low, _LEFT, "start"), (bins.low + bins.count * bins.step, _LEFT + bins.count * slot, "end")]
    ticks = [Label(shown(value), x, HEIGHT - 6, anchor) for value, x, anchor in ends[: 1 if bins.count == 1 else 2]]
    return chart(
        "histogram",
        Histogram(
            label,
            bars=list(_bars({name: _counted(group, bins) for name, group in groups.items()}, bins, slot, shown, whole)),
            ticks=ticks,
            marks=[_mark(name, value, bins, slot) for name, value in (marks or {}).items()],
        ),
    )


def rate_bar(rate: float | None, interval: ConfidenceInterval | None) -> Markup:
    """A pass rate as a bar, with its confidence interval."""
    if rate is None or interval is None:
        return Markup()
    label = f"{rate:.0%}; the true rate lies between {interval.low:.0%} and {interval.high:.0%}"
    return chart("rate_bar", label, rate, interval.low, interval.high)


def difference_bar(difference: float | None, low: float | None, high: float | None) -> Markup:
    """A difference of pass rates between -100 % and 100 %, with its confidence interval."""
    if difference is None or low is None or high is None:
        return Markup()
    label = f"{difference:+.0%}; the true difference lies between {low:+.0%} and {high:+.0%}"
    kind = "failed" if high < 0 else "passed" if low > 0 else "unsure"
    return chart("difference_bar", label, kind, difference, low, high)


def _bars(
    counts: Mapping[str, Sequence[int]], bins: Bins, slot: float, shown: Callable[[float], str], whole: bool
) -> Iterator[Bar]:
    floor_y = HEIGHT - _BOTTOM
    highest = max(map(sum, zip(*counts.values(), strict=True)))
    for index in range(bins.count):
        y = float(floor_y)
        low, high = bins.low + index * bins.step, bins.low + (index + 1) * bins.step
        span = shown(low) if whole and bins.step == 1 else f"{shown(low)} to {shown(high)}"
        for name, of_group in counts.items():
            if of_group[index]:
                height = of_group[index] / highest * (floor_y - _TOP)
                y -= height
                title = f"{span}: {of_group[index]} {name}"
                yield Bar(name, title, _LEFT + index * slot + slot * 0.08, y, slot * 0.84, height)


def _mark(name: str, value: float, bins: Bins, slot: float) -> Mark:
    x = _LEFT + (value - bins.low) / bins.step * slot
    on_the_right = x > WIDTH * 0.75
    return Mark(x, Label(name, x + (-4 if on_the_right else 4), _TOP + 6, "end" if on_the_right else "start"))


def _counted(values: Sequence[float], bins: Bins) -> list[int]:
    counts = [0] * bins.count
    for value in values:
        counts[bins.place(value)] += 1
    return counts


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10 times a power of ten that is not smaller than `least`."""
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
