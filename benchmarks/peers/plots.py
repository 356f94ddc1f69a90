"""Plots of the peers as SVG, readable on a light and on a dark page: `python -m benchmarks.peers.plots REPORT FOLDER`.

Runs with the packages of this folder's lock file, which has matplotlib.
"""

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

GREY = "#848d97"
COLOURS = ("#d9730d", "#c69026", "#a371f7", "#db61a2", "#57ab5a", "#2f81f7", "#39a0c9")
STEP = 20
"""A point of a curve is the median of so many turns."""
Json = dict[str, Any]  # Any: reports


def draw(results: Json, folder: Path) -> None:
    """Write both plots."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "peers", "font.family": "sans-serif"})
    latency = {name: _latency(peer["talk"]) for name, peer in results["peers"].items() if "talk" in peer}
    stored = {name: _stored(peer["talk"]) for name, peer in results["peers"].items() if "talk" in peer}
    _plot(latency, "milliseconds for a reply", folder / "peers-latency.svg")
    _plot(stored, "megabytes stored", folder / "peers-stored.svg")


def _latency(talk: Json) -> list[tuple[int, float]]:
    taken = talk.get("milliseconds", [])
    return [(end, median(taken[end - STEP : end])) for end in range(STEP, len(taken) + 1, STEP)]


def _stored(talk: Json) -> list[tuple[int, float]]:
    return [(int(turn), size) for turn, size in talk.get("stored_megabytes", {}).items() if size > 0]


def _plot(curves: dict[str, list[tuple[int, float]]], label: str, file: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(8, 4.2), layout="constrained")
    for colour, (name, points) in zip(COLOURS, curves.items(), strict=False):
        turns, values = [turn for turn, _ in points], [value for _, value in points]
        axes.plot(turns, values, color=colour, label=name, linewidth=2.6 if name.startswith("Playhead") else 1.4)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("turn", color=GREY)
    axes.set_ylabel(label, color=GREY)
    axes.tick_params(colors=GREY, which="both")
    axes.grid(color=GREY, alpha=0.25)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GREY)
    figure.legend(loc="outside right upper", frameon=False, labelcolor=GREY)
    figure.savefig(file, transparent=True, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
