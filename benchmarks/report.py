"""Results of the benchmarks: printed for people, written to build/bench.json for programs."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

REPORT = Path("build/bench.json")


@dataclass(frozen=True)
class Measure:
    """One figure with its floor. The goal bounds their ratio: `at_most` or `at_least`.

    A figure without a floor has a goal for itself: it must stay `within` it.
    """

    name: str
    unit: str
    floor: float | None
    measured: float
    goal: float | None
    direction: Literal["at_most", "at_least", "within"]

    @property
    def ratio(self) -> float | None:
        return None if self.floor is None else self.measured / self.floor

    @property
    def met(self) -> bool | None:
        figure = self.measured if self.ratio is None else self.ratio
        if self.goal is None:
            return None
        return figure >= self.goal if self.direction == "at_least" else figure <= self.goal


def show(measures: list[Measure]) -> None:
    """Print a table and write the report."""
    print(f"{'measure':<64}{'floor':>8}{'measured':>10}{'ratio':>8}{'goal':>10}  met")
    for each in measures:
        sign = ">=" if each.direction == "at_least" else "<="
        goal = f"{sign} {each.goal:g}" if each.goal is not None else "-"
        met = {True: "yes", False: "NO", None: "-"}[each.met]
        name = f"{each.name} ({each.unit})"
        floor, ratio = _figure(each.floor, 1), _figure(each.ratio, 2)
        print(f"{name:<64}{floor:>8}{each.measured:>10.1f}{ratio:>8}{goal:>10}  {met}")
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps([_row(each) for each in measures], indent=2) + "\n")
    print(f"\nwritten to {REPORT}")


def _row(measure: Measure) -> dict[str, object]:
    row = asdict(measure)
    del row["direction"]
    ratio = None if measure.ratio is None else round(measure.ratio, 4)
    return {**row, "ratio": ratio, "met": measure.met}


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
