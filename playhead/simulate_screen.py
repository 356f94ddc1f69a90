"""A suite's progress as people see it: one live line in a terminal, a line now and then in the log of a build."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from playhead.chat_words import printable

if TYPE_CHECKING:
    from playhead.simulating import Sight

BAR_WIDTH = 32
LINE_SECONDS = 10.0
"""How often a line is written where there is no terminal, if anything is new."""


def follow(sights: "Iterable[Sight]") -> "Sight":
    """Show one sight after the other on standard error; the last one.

    Raises ValueError when there is none.
    """
    show = _live if sys.stderr.isatty() else _lines
    last = show(sights)
    if last is None:
        raise ValueError("a suite that is watched is seen at least once")
    return last


def _live(sights: "Iterable[Sight]") -> "Sight | None":
    last = None
    with Live(console=Console(stderr=True), refresh_per_second=8, transient=True) as live:
        for last in sights:
            live.update(_picture(last))
    return last


def _lines(sights: "Iterable[Sight]") -> "Sight | None":
    last, written_at, written = None, -LINE_SECONDS, ""
    for last in sights:
        line = told(last)
        is_due = last.elapsed - written_at >= LINE_SECONDS or last.is_over
        if is_due and line != written:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
            written_at, written = last.elapsed, line
    return last


def _picture(sight: "Sight") -> Group:
    progress = sight.suite.progress
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        Text(printable(sight.suite.name), style="bold"),
        ProgressBar(total=max(progress.planned, 1), completed=sight.judged, width=BAR_WIDTH),
        f"{sight.judged}/{progress.planned}",
        f"[green]✓ {progress.passed}[/]",
        f"[red]✕ {progress.failed}[/]",
        f"[yellow]? {progress.inconclusive}[/]",
        f"{progress.running} under way",
    )
    figures = Text.from_markup(f"[dim]{escape(_figures(sight))}[/]")
    lost = [Text(f"{_lost(sight)}", style="yellow")] if sight.lost else []
    return Group(bar, figures, *lost)


def told(sight: "Sight") -> str:
    """A sight as a line of plain text."""
    progress = sight.suite.progress
    outcomes = f"{progress.passed} passed, {progress.failed} failed, {progress.inconclusive} inconclusive"
    under_way = f", {progress.running} under way" if progress.running else ""
    lost = f" ({_lost(sight)})" if sight.lost else ""
    return f"{sight.judged} of {progress.planned}: {outcomes}{under_way}; {_figures(sight)}{lost}"


def _figures(sight: "Sight") -> str:
    suite = sight.suite
    budget = f" of {suite.budget_usd:f}" if suite.budget_usd is not None else ""
    figures = [
        f"{sight.turns_per_second:.1f} turns/s",
        f"{suite.progress.turns:,} turns",
        f"{suite.progress.cost.total.normalize():f}{budget} USD",
        clock(sight.elapsed),
    ]
    if suite.status != "running":
        figures.append(suite.status)
    elif sight.left_seconds is not None:
        figures.append(f"about {clock(sight.left_seconds)} left")
    return " · ".join(figures)


def _lost(sight: "Sight") -> str:
    return f"the suite goes on; {sight.lost}"


def clock(seconds: float) -> str:
    """Seconds as a clock shows them: 1:05, or 2:00:31."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
