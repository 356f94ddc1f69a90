"""Progress of a running suite on standard error: a live bar on a terminal, else a line now and then."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from playhead.output.console import PlainConsole
from playhead.output.plain_text import printable
from playhead_client import APIConnectionError, RetryPolicy, Unavailable, UnexpectedResponse

if TYPE_CHECKING:
    from playhead_client import Playhead, Suite

POLL_SECONDS = 0.5
RETRIES = RetryPolicy(max_retries=None, first_pause=1.0, max_pause=5.0)
"""Endless retries while the API is unavailable: the suite does not depend on it."""
SPEED_WINDOW_SECONDS = 10.0
"""Period over which turns per second are measured."""
BAR_WIDTH = 32
LINE_SECONDS = 10.0
"""Shortest time between two lines without a terminal."""


@dataclass(frozen=True)
class Snapshot:
    """The state of a suite when it was last read. `left_seconds` is an estimate, None until there is one.

    `connection_error` says why the API cannot be reached; the rest is then the last known state.
    """

    suite: "Suite"
    turns_per_second: float
    elapsed: float
    left_seconds: float | None
    connection_error: str | None = None

    @property
    def judged(self) -> int:
        """Number of conversations with a verdict."""
        progress = self.suite.progress
        return progress.passed + progress.failed + progress.inconclusive

    @property
    def is_final(self) -> bool:
        """True once the suite has its outcome."""
        return self.suite.outcome is not None


class SuitePoller:
    """Reads the state of a suite repeatedly, with retries while the API is unavailable."""

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
        self._recent: deque[tuple[float, int]] = deque()

    def snapshots(self) -> Iterator[Snapshot]:
        """Yield snapshots until the suite has ended; the last one is final."""
        snapshot = self._read()
        failures = 0
        while True:
            yield snapshot
            if snapshot.is_final:
                return
            self._sleep(RETRIES.backoff(failures) if failures else POLL_SECONDS)
            try:
                snapshot = self._read()
                failures = 0
            except (APIConnectionError, Unavailable, UnexpectedResponse) as error:
                snapshot = Snapshot(snapshot.suite, 0.0, snapshot.elapsed, None, connection_error=str(error))
                failures += 1

    def _read(self) -> Snapshot:
        suite = self._api.suites.get(self._suite_id)
        progress = suite.progress
        judged = progress.passed + progress.failed + progress.inconclusive
        now = self._clock()
        self._first = self._first or (now, judged)
        first_at, first_judged = self._first
        self._recent.append((now, progress.turns))
        while len(self._recent) > 2 and now - self._recent[1][0] > SPEED_WINDOW_SECONDS:
            self._recent.popleft()
        since, turns_before = self._recent[0]
        speed = (progress.turns - turns_before) / (now - since) if now > since else 0.0
        until = now if suite.outcome is None else suite.updated_at.timestamp()
        elapsed = max(until - suite.created_at.timestamp(), 0.0)
        newly_judged = judged - first_judged
        left = (progress.planned - judged) * (now - first_at) / newly_judged if newly_judged else None
        return Snapshot(suite, speed, elapsed, left)


def show_progress(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Show snapshots on standard error; returns the last one. Raises ValueError when there is none."""
    show = _show_live if sys.stderr.isatty() else _show_lines
    last = show(snapshots)
    if last is None:
        raise ValueError("no snapshots to show")
    return last


def status_line(snapshot: Snapshot) -> str:
    """A snapshot as a line of plain text."""
    progress = snapshot.suite.progress
    outcomes = f"{progress.passed} passed, {progress.failed} failed, {progress.inconclusive} inconclusive"
    running = f", {progress.running} running" if progress.running else ""
    error = f" ({_error_note(snapshot)})" if snapshot.connection_error else ""
    return f"{snapshot.judged} of {progress.planned}: {outcomes}{running}; {_figures(snapshot)}{error}"


def format_duration(seconds: float) -> str:
    """Seconds in the form 1:05 or 2:00:31."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _show_live(snapshots: Iterable[Snapshot]) -> Snapshot | None:
    last = None
    with Live(console=PlainConsole(stderr=True), refresh_per_second=8, transient=True) as live:
        for last in snapshots:
            live.update(_display(last))
    return last


def _show_lines(snapshots: Iterable[Snapshot]) -> Snapshot | None:
    last, written_at, written = None, -LINE_SECONDS, ""
    for last in snapshots:
        line = status_line(last)
        is_due = last.elapsed - written_at >= LINE_SECONDS or last.is_final
        if is_due and line != written:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
            written_at, written = last.elapsed, line
    return last


def _display(snapshot: Snapshot) -> Group:
    progress = snapshot.suite.progress
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        Text(printable(snapshot.suite.name), style="bold"),
        ProgressBar(total=max(progress.planned, 1), completed=snapshot.judged, width=BAR_WIDTH),
        f"{snapshot.judged}/{progress.planned}",
        f"[green]✓ {progress.passed}[/]",
        f"[red]✕ {progress.failed}[/]",
        f"[yellow]? {progress.inconclusive}[/]",
        f"{progress.running} running",
    )
    figures = Text.from_markup(f"[dim]{escape(_figures(snapshot))}[/]")
    error = [Text(_error_note(snapshot), style="yellow")] if snapshot.connection_error else []
    return Group(bar, figures, *error)


def _figures(snapshot: Snapshot) -> str:
    suite = snapshot.suite
    budget = f" of {suite.budget_usd:f}" if suite.budget_usd is not None else ""
    figures = [
        f"{snapshot.turns_per_second:.1f} turns/s",
        f"{suite.progress.turns:,} turns",
        f"{suite.progress.cost.total.normalize():f}{budget} USD",
        format_duration(snapshot.elapsed),
    ]
    if suite.status != "running":
        figures.append(suite.status)
    elif snapshot.left_seconds is not None:
        figures.append(f"about {format_duration(snapshot.left_seconds)} left")
    return " · ".join(figures)


def _error_note(snapshot: Snapshot) -> str:
    return f"the suite continues; {snapshot.connection_error}"
