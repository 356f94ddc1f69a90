"""The plots of a report as inline SVG: how conversations are spread, and where a difference lies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Final

from api.reports.html import Child, Markup, element
from domain.suites.statistics import ConfidenceInterval

WIDTH: Final = 320
HEIGHT: Final = 132
_LEFT, _BOTTOM, _TOP = 8, 22, 10
MAX_BARS: Final = 16
MIN_SLOTS: Final = 8
"""Bars are no wider than if there were so many, lest one value looks like a wall."""


@dataclass(frozen=True)
class Bins:
    """Ranges of equal width: the lowest value that belongs to the first, the width, and how many there are."""

    low: float
    step: float
    count: int

    def place(self, value: float) -> int:
        """The range a value belongs to."""
        return min(max(floor((value - self.low) / self.step), 0), self.count - 1)


def bins_for(values: Sequence[float], *, whole: bool = False) -> Bins:
    """Ranges that begin and end at round numbers, wide enough for all values. `whole` are counts of things."""
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
    """Bars of how many values fall into each range, the groups (by their class in the style sheet) on each other.

    `marks` are values to point out, by their names.
    """
    values = [value for group in groups.values() for value in group]
    if not values:
        return element("p", "Nothing to plot yet.", class_="nothing")
    bins = bins_for(values, whole=whole)
    counts = {name: _counted(group, bins) for name, group in groups.items()}
    highest = max(map(sum, zip(*counts.values(), strict=True)))
    slot = (WIDTH - 2 * _LEFT) / max(bins.count, MIN_SLOTS)
    floor_y = HEIGHT - _BOTTOM
    bars: list[Markup] = []
    for at in range(bins.count):
        y = float(floor_y)
        low, high = bins.low + at * bins.step, bins.low + (at + 1) * bins.step
        span = shown(low) if whole and bins.step == 1 else f"{shown(low)} to {shown(high)}"
        for name, of_group in counts.items():
            if of_group[at]:
                height = of_group[at] / highest * (floor_y - _TOP)
                y -= height
                title = element("title", f"{span}: {of_group[at]} {name}")
                x, width = _LEFT + at * slot + slot * 0.08, slot * 0.84
                bars.append(
                    element("rect", title, class_=name, x=_at(x), y=_at(y), width=_at(width), height=_at(height))
                )
    axis = element("line", class_="axis", x1=_LEFT, x2=WIDTH - _LEFT, y1=floor_y, y2=floor_y)
    ends = [(bins.low, _LEFT, "start"), (bins.low + bins.count * bins.step, _LEFT + bins.count * slot, "end")]
    ticks = [_label(shown(value), x, HEIGHT - 6, anchor) for value, x, anchor in ends[: 1 if bins.count == 1 else 2]]
    pointed = [_mark(name, value, bins, slot, floor_y) for name, value in (marks or {}).items()]
    return _svg(label, WIDTH, HEIGHT, bars, axis, ticks, pointed)


def rate_bar(rate: float | None, interval: ConfidenceInterval | None) -> Markup:
    """A pass rate as a bar, with the range in which the true one lies."""
    width, height = 120, 14
    if rate is None or interval is None:
        return Markup("")
    whisker = [
        element("line", class_="whisker", x1=_at(interval.low * width), x2=_at(interval.high * width), y1=7, y2=7),
        *(
            element("line", class_="whisker", x1=_at(end * width), x2=_at(end * width), y1=4, y2=10)
            for end in (interval.low, interval.high)
        ),
    ]
    label = f"{rate:.0%}; the true rate lies between {interval.low:.0%} and {interval.high:.0%}"
    track = element("rect", class_="track", x=0, y=2, width=width, height=10, rx=3)
    filled = element("rect", class_="passed", x=0, y=2, width=_at(rate * width), height=10, rx=3)
    return _svg(label, width, height, track, filled, whisker)


def difference_bar(difference: float | None, low: float | None, high: float | None) -> Markup:
    """A difference of pass rates between -100 % and 100 %, with the range in which the true one lies."""
    if difference is None or low is None or high is None:
        return Markup("")
    width, height, middle = 200, 18, 100
    label = f"{difference:+.0%}; the true difference lies between {low:+.0%} and {high:+.0%}"
    kind = "failed" if high < 0 else "passed" if low > 0 else "unsure"
    return _svg(
        label,
        width,
        height,
        element("line", class_="axis", x1=middle, x2=middle, y1=0, y2=height),
        element("line", class_=f"range {kind}", x1=_at(middle + low * 100), x2=_at(middle + high * 100), y1=9, y2=9),
        element("circle", class_=kind, cx=_at(middle + difference * 100), cy=9, r=4),
    )


def _svg(label: str, width: int, height: int, *children: Child) -> Markup:
    return element("svg", element("title", label), *children, viewBox=f"0 0 {width} {height}", role="img")


def _mark(name: str, value: float, bins: Bins, slot: float, floor_y: int) -> list[Markup]:
    x = _LEFT + (value - bins.low) / bins.step * slot
    line = element("line", class_="mark", x1=_at(x), x2=_at(x), y1=_TOP, y2=floor_y)
    on_the_right = x > WIDTH * 0.75
    return [line, _label(name, x + (-4 if on_the_right else 4), _TOP + 6, "end" if on_the_right else "start")]


def _label(text: str, x: float, y: float, anchor: str) -> Markup:
    return element("text", text, x=_at(x), y=_at(y), text_anchor=anchor)


def _counted(values: Sequence[float], bins: Bins) -> list[int]:
    counts = [0] * bins.count
    for value in values:
        counts[bins.place(value)] += 1
    return counts


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10 and so on, times a power of ten, that is no smaller."""
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _at(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")
