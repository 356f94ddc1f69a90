"""A suite watched from afar: how far it is, how fast it goes, how long it will take; what happens if nobody answers."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from playhead.output.events import printable
from playhead_client import APIConnectionError, RetryPolicy, Unavailable, UnexpectedResponse

if TYPE_CHECKING:
    from playhead_client import Playhead, Suite

LOOK_SECONDS = 0.5
"""How often the suite is looked at: it goes on by itself, whoever looks."""
RETRIES = RetryPolicy(max_retries=None, first_pause=1.0, max_pause=5.0)
"""Retries while the API does not answer, without end: the suite does not depend on it."""
SPEED_SECONDS = 10.0
"""The time over which turns a second are counted."""


@dataclass(frozen=True)
class Snapshot:
    """A suite as it was just seen. `left_seconds` is a guess, once there is something to guess from.

    `lost` says why the API does not answer now, if it does not: then everything else is as it was seen last.
    """

    suite: "Suite"
    turns_per_second: float
    elapsed: float
    left_seconds: float | None
    lost: str | None = None

    @property
    def judged(self) -> int:
        """How many conversations have their verdict."""
        progress = self.suite.progress
        return progress.passed + progress.failed + progress.inconclusive

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.suite.outcome is not None


class Watch:
    """Looks at a suite again and again. It waits for an API that is away: the suite does not need it."""

    def __init__(
        self,
        api: "Playhead",
        suite_id: str,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api = api
        self._suite_id = suite_id
        self._clock = clock
        self._sleep = sleep
        self._first: tuple[float, int] | None = None
        self._lately: deque[tuple[float, int]] = deque()

    def sights(self) -> Iterator[Snapshot]:
        """One sight after the other, the last one when the suite is over."""
        sight = self._sight(self._api.suites.get(self._suite_id))
        failures = 0
        while True:
            yield sight
            if sight.is_over:
                return
            self._sleep(RETRIES.backoff(failures) if failures else LOOK_SECONDS)
            try:
                sight = self._sight(self._api.suites.get(self._suite_id))
                failures = 0
            except (APIConnectionError, Unavailable, UnexpectedResponse) as error:
                sight = Snapshot(sight.suite, 0.0, sight.elapsed, None, lost=str(error))
                failures += 1

    def _sight(self, suite: "Suite") -> Snapshot:
        progress = suite.progress
        judged = progress.passed + progress.failed + progress.inconclusive
        now = self._clock()
        self._first = self._first or (now, judged)
        first_at, first_judged = self._first
        self._lately.append((now, progress.turns))
        while len(self._lately) > 2 and now - self._lately[1][0] > SPEED_SECONDS:
            self._lately.popleft()
        since, turns_then = self._lately[0]
        speed = (progress.turns - turns_then) / (now - since) if now > since else 0.0
        until = now if suite.outcome is None else suite.updated_at.timestamp()
        elapsed = max(until - suite.created_at.timestamp(), 0.0)
        newly = judged - first_judged
        left = (progress.planned - judged) * (now - first_at) / newly if newly else None
        return Snapshot(suite, speed, elapsed, left)


BAR_WIDTH = 32
LINE_SECONDS = 10.0
"""How often a line is written where there is no terminal, if anything is new."""


def follow(sights: "Iterable[Snapshot]") -> "Snapshot":
    """Show one sight after the other on standard error; the last one.

    Raises ValueError when there is none.
    """
    show = _live if sys.stderr.isatty() else _lines
    last = show(sights)
    if last is None:
        raise ValueError("a suite that is watched is seen at least once")
    return last


def _live(sights: "Iterable[Snapshot]") -> "Snapshot | None":
    last = None
    with Live(console=Console(stderr=True), refresh_per_second=8, transient=True) as live:
        for last in sights:
            live.update(_picture(last))
    return last


def _lines(sights: "Iterable[Snapshot]") -> "Snapshot | None":
    last, written_at, written = None, -LINE_SECONDS, ""
    for last in sights:
        line = told(last)
        is_due = last.elapsed - written_at >= LINE_SECONDS or last.is_over
        if is_due and line != written:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
            written_at, written = last.elapsed, line
    return last


def _picture(sight: "Snapshot") -> Group:
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


def told(sight: "Snapshot") -> str:
    """A sight as a line of plain text."""
    progress = sight.suite.progress
    outcomes = f"{progress.passed} passed, {progress.failed} failed, {progress.inconclusive} inconclusive"
    under_way = f", {progress.running} under way" if progress.running else ""
    lost = f" ({_lost(sight)})" if sight.lost else ""
    return f"{sight.judged} of {progress.planned}: {outcomes}{under_way}; {_figures(sight)}{lost}"


def _figures(sight: "Snapshot") -> str:
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


def _lost(sight: "Snapshot") -> str:
    return f"the suite goes on; {sight.lost}"


def clock(seconds: float) -> str:
    """Seconds as a clock shows them: 1:05, or 2:00:31."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
