"""Results of a suite: tables for people, JSON lines for programs, and comparisons with a baseline."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from pydantic_core import from_json, to_json
from rich.markup import escape

from domain.suites.statistics import RunCounts, ScenarioComparison, SuiteComparison, compare
from domain.suites.verdicts import first_reason
from playhead.exit_codes import USAGE, CommandFailed
from playhead.output.plain_text import printable
from playhead.output.tables import console, in_line, table

if TYPE_CHECKING:
    from playhead_client import Playhead, Suite, SuiteReport

SHOWN_REASONS = 12
"""Upper bound on the conversations whose reason for not passing is printed; reports have all of them."""
COLOURS = {"passed": "green", "failed": "red", "inconclusive": "yellow"}
CHANGES: Mapping[str, str] = {
    "worse": "[bold red]worse[/]",
    "better": "[green]better[/]",
    "perhaps_worse": "lower, within chance",
    "perhaps_better": "higher, within chance",
    "same": "the same",
    "new": "new",
    "gone": "gone",
    "undecided": "undecided",
}


def show_results(report: "SuiteReport") -> None:
    """Print each scenario's outcome, why conversations did not pass, and the outcome of the suite."""
    suite = report.suite
    rows = [
        (
            escape(printable(each.id)),
            str(each.passed),
            str(each.failed),
            str(each.inconclusive),
            f"{each.pass_rate:.0%}" if each.pass_rate is not None else "-",
            f"[{COLOURS.get(each.outcome or '', 'default')}]{each.outcome or 'open'}[/]",
        )
        for each in suite.scenarios
    ]
    table(("SCENARIO", "PASSED", "FAILED", "INCONCLUSIVE", "RATE", "OUTCOME"), rows, empty="No scenarios.")
    not_passed = [run for run in report.runs if run.outcome in ("failed", "inconclusive")]
    out = console()
    for run in not_passed[:SHOWN_REASONS]:
        colour = COLOURS[run.outcome or "inconclusive"]
        reason = escape(printable(" ".join(first_reason(run).split())))
        out.print(f"[{colour}]{run.outcome}[/] {in_line(run.scenario)} {run.repeat} [dim]{run.session_id}[/]: {reason}")
    if len(not_passed) > SHOWN_REASONS:
        out.print(f"[dim]and {len(not_passed) - SHOWN_REASONS} more[/]")
    if report.conversations_left_out or report.runs_left_out:
        out.print(
            f"[dim]The report has no room for {report.conversations_left_out:,} conversations and "
            f"{report.runs_left_out:,} runs: failed ones come first. A run's session has its conversation.[/]"
        )
    progress = suite.progress
    outcome = suite.outcome or suite.status
    out.print(
        f"[bold {COLOURS.get(outcome, 'default')}]{outcome}[/]: {progress.passed} passed, {progress.failed} failed, "
        f"{progress.inconclusive} inconclusive of {progress.planned}; {progress.turns:,} turns, "
        f"{progress.cost.total.normalize():f} USD, seed {suite.seed}"
    )


def json_lines(report: "SuiteReport") -> Iterable[bytes]:
    """Each run as a line of JSON, with the id of its suite."""
    for run in report.runs:
        yield to_json({"suite": report.suite.id, **run.model_dump(mode="json")}) + b"\n"


def compare_with_baseline(baseline: str, suite: "Suite", api: "Playhead") -> SuiteComparison:
    """Compare a suite with a baseline: the id of a suite, or a file with a JSON report or JSON lines.

    Raises CommandFailed when the file cannot be read.
    """
    earlier = _tallies_in(Path(baseline)) if Path(baseline).exists() else _tallies_of(api.suites.get(baseline))
    return compare(earlier, _tallies_of(suite))


def show_comparison(comparison: SuiteComparison) -> None:
    """Print which scenarios changed, with confidence intervals."""
    rows = [_compared_row(each) for each in (*comparison.scenarios, comparison.overall)]
    table(("SCENARIO", "BASELINE", "NOW", "DIFFERENCE", "95 % INTERVAL", "CHANGE"), rows, empty="Nothing to compare.")


def _compared_row(compared: ScenarioComparison) -> tuple[str, ...]:
    interval = compared.interval
    return (
        escape(printable(compared.scenario)),
        _rate(compared.before),
        _rate(compared.now),
        f"{compared.difference:+.0%}" if compared.difference is not None else "",
        f"{interval.low:+.0%} to {interval.high:+.0%}" if interval else "",
        CHANGES[compared.change],
    )


def _rate(tried: RunCounts | None) -> str:
    if tried is None or tried.rate is None:
        return "-"
    return f"{tried.rate:.0%} of {tried.decided}"


def _tallies_of(suite: "Suite") -> dict[str, RunCounts]:
    return {
        each.id: RunCounts(passed=each.passed, failed=each.failed, inconclusive=each.inconclusive)
        for each in suite.scenarios
    }


def _tallies_in(file: Path) -> dict[str, RunCounts]:
    """The pass rates in a report file."""
    from playhead_client import SuiteReport

    try:
        content = file.read_bytes()
        if file.suffix != ".jsonl":
            return _tallies_of(SuiteReport.model_validate_json(content).suite)
        return _tally(from_json(line) for line in content.splitlines() if line.strip())
    except (OSError, ValidationError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise CommandFailed(
            f"{file} is not a report of a suite: {reason}",
            status=USAGE,
            hint="Write one with `playhead simulate report SUITE --report FILE`, or give the id of a suite.",
        ) from error


def _tally(runs: Iterable[Mapping[str, object]]) -> dict[str, RunCounts]:
    found: dict[str, RunCounts] = {}
    for run in runs:
        one = RunCounts(
            passed=int(run["outcome"] == "passed"),
            failed=int(run["outcome"] == "failed"),
            inconclusive=int(run["outcome"] == "inconclusive"),
        )
        scenario = str(run["scenario"])
        found[scenario] = found.get(scenario, RunCounts()) + one
    return found
