"""What a measure found: printed for people, written to build/bench.json for programs."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

REPORT = Path("build/bench.json")


@dataclass(frozen=True)
class Measure:
    """One figure next to its floor. `at_most` goals want a small ratio, `at_least` goals a large one."""

    name: str
    unit: str
    floor: float
    measured: float
    goal: float | None
    direction: Literal["at_most", "at_least"]

    @property
    def ratio(self) -> float:
        return self.measured / self.floor

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.ratio <= self.goal if self.direction == "at_most" else self.ratio >= self.goal


def show(measures: list[Measure]) -> None:
    """Print a table and write the report."""
    print(f"{'measure':<40}{'floor':>10}{'measured':>10}{'ratio':>8}{'goal':>10}  met")
    for each in measures:
        sign = "<=" if each.direction == "at_most" else ">="
        goal = f"{sign} {each.goal:g}" if each.goal is not None else "-"
        met = {True: "yes", False: "NO", None: "-"}[each.met]
        name = f"{each.name} ({each.unit})"
        print(f"{name:<40}{each.floor:>10.1f}{each.measured:>10.1f}{each.ratio:>8.2f}{goal:>10}  {met}")
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps([_row(each) for each in measures], indent=2) + "\n")
    print(f"\nwritten to {REPORT}")


def _row(measure: Measure) -> dict[str, object]:
    row = asdict(measure)
    del row["direction"]
    return {**row, "ratio": round(measure.ratio, 4), "met": measure.met}
