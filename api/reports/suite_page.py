"""A suite report as one self-contained HTML page: outcomes, charts, and every conversation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Final

from markupsafe import Markup

from api.reports.charts import difference_bar, histogram, rate_bar
from api.reports.conversation_view import conversation_view, event_text
from api.reports.templating import ENVIRONMENT, resource
from api.schemas.responses import plain
from api.schemas.suites import BaselineReport, RunReport, ScenarioChange, ScenarioProgress, SuiteReport
from domain.suites.statistics import wilson_interval
from domain.suites.verdicts import Outcome

SIGNS: Final[dict[Outcome | None, str]] = {"passed": "✓", "failed": "✕", "inconclusive": "?", None: "…"}
OUTCOMES: Final[tuple[Outcome, ...]] = ("passed", "failed", "inconclusive")
CHANGE_LABELS: Final = {
    "worse": "worse",
    "better": "better",
    "perhaps_worse": "lower, which chance can explain",
    "perhaps_better": "higher, which chance can explain",
    "same": "the same",
    "new": "new",
    "gone": "gone",
    "undecided": "not decided",
}
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Content security policy: the page may load nothing."""
FEW: Final = 2
"""The number of values that quantiles need."""
NONE: Final = "-"


@dataclass(frozen=True)
class ScenarioRow:
    """A row of the table of scenarios."""

    scenario: ScenarioProgress
    runs: Sequence[RunReport]
    bar: Markup
    mean_turns: str
    mean_cost: str


def page_of_report(report: SuiteReport) -> bytes:
    """The page, in UTF-8. It follows the reader's light or dark scheme, and works without its script."""
    order = {"failed": 0, "inconclusive": 1, None: 2, "passed": 3}
    runs = sorted(report.runs, key=lambda run: (order[run.outcome], run.scenario, run.repeat))
    page = ENVIRONMENT.get_template("report.html.jinja").render(
        suite=report.suite,
        summary=_summary(report),
        tiles=_tiles(report),
        baseline=report.baseline,
        changes=list(_changes(report.baseline)) if report.baseline else [],
        scenarios=[_scenario_row(each, report.runs) for each in report.suite.scenarios],
        plots=_plots(report),
        filters=[("all", len(runs)), *((name, sum(run.outcome == name for run in runs)) for name in OUTCOMES)],
        conversations=[conversation_view(report.suite.id, run) for run in runs],
        left_out=_left_out(report),
        signs=SIGNS,
        change_labels=CHANGE_LABELS,
        policy=POLICY,
        stylesheet=resource("report.css"),
        script=resource("report.js"),
    )
    return f"{page}\n".encode("utf-8", "replace")


def _summary(report: SuiteReport) -> str:
    suite = report.suite
    budget = f", budget {plain(suite.budget_usd)} USD" if suite.budget_usd is not None else ""
    return (
        f"{suite.agent_name} version {suite.agent_version} · {suite.created_at:%Y-%m-%d %H:%M} UTC · seed {suite.seed} "
        f"· {suite.concurrency} at once{budget}"
    )


def _left_out(report: SuiteReport) -> str | None:
    if not (report.conversations_left_out or report.runs_left_out):
        return None
    conversations, runs = f"{report.conversations_left_out:,} conversations", f"{report.runs_left_out:,} runs"
    return f"The report has no room for {conversations} and {runs}; failed ones come first."


def _tiles(report: SuiteReport) -> list[tuple[str, str, str]]:
    progress = report.suite.progress
    decided = progress.passed + progress.failed
    rate = f"{progress.passed / decided:.0%}" if decided else NONE
    latencies = _latencies(report)
    return [
        ("passed", rate, f"{progress.passed} of {decided} decided"),
        ("failed", str(progress.failed), _share(progress.failed, progress.planned)),
        ("inconclusive", str(progress.inconclusive), _share(progress.inconclusive, progress.planned)),
        ("conversations", f"{len(report.runs)}", f"of {progress.planned} planned"),
        ("turns", f"{progress.turns:,}", f"{progress.turns / max(len(report.runs), 1):.1f} a conversation"),
        ("cost", f"{plain(progress.cost.total)}", "USD by the ledger"),
        ("reply time", _seconds(median(latencies)) if latencies else NONE, f"median; 95 % within {_p95(latencies)}"),
    ]


def _scenario_row(scenario: ScenarioProgress, runs: Sequence[RunReport]) -> ScenarioRow:
    own = [run for run in runs if run.scenario == scenario.id]
    decided = scenario.passed + scenario.failed
    judged = [run for run in own if run.outcome is not None]
    return ScenarioRow(
        scenario=scenario,
        runs=own,
        bar=rate_bar(scenario.pass_rate, wilson_interval(scenario.passed, decided) if decided else None),
        mean_turns=_mean([float(run.turn_count) for run in judged], 1),
        mean_cost=_mean([float(run.cost) for run in judged], 5),
    )


def _changes(baseline: BaselineReport) -> Iterator[tuple[ScenarioChange, str, Markup]]:
    """The scenarios compared with the baseline, each with its style class and its chart."""
    for change in (baseline.overall, *baseline.scenarios):
        low, high = (change.interval.low, change.interval.high) if change.interval else (None, None)
        kind = {"worse": "failed", "better": "passed"}.get(change.change, "unsure")
        yield change, kind, difference_bar(change.difference, low, high)


def _plots(report: SuiteReport) -> list[tuple[str, Markup]]:
    judged = {outcome: [run for run in report.runs if run.outcome == outcome] for outcome in OUTCOMES}
    latencies = _latencies(report)
    marks = {"median": median(latencies), "95 %": _quantile95(latencies)} if len(latencies) >= FEW else None
    return [
        (
            "Turns of a conversation",
            histogram(
                {name: [float(run.turn_count) for run in runs] for name, runs in judged.items()},
                "How many turns conversations took",
                lambda value: f"{value:.0f}",
                whole=True,
            ),
        ),
        (
            "Cost of a conversation, USD",
            histogram(
                {name: [float(run.cost) for run in runs] for name, runs in judged.items()},
                "What conversations cost",
                lambda value: f"{value:.3g}",
            ),
        ),
        (
            "Time to a reply, seconds",
            histogram({"turns": latencies}, "How long replies took", lambda value: f"{value:.3g}", marks=marks),
        ),
    ]


def anchor_of(run: RunReport) -> str:
    """The id of a conversation in the page."""
    return f"run-{run.session_id}"


def _latencies(report: SuiteReport) -> list[float]:
    """Seconds from a simulated user's message to the reply to it."""
    return [
        turn.usage.duration_seconds
        for run in report.runs
        for turn in run.turns
        if turn.user_message is not None and turn.status == "completed"
    ]


def _p95(latencies: Sequence[float]) -> str:
    return _seconds(_quantile95(latencies)) if len(latencies) >= FEW else NONE


def _quantile95(values: Sequence[float]) -> float:
    return quantiles(values, n=20, method="inclusive")[-1]


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def _share(count: int, of: int) -> str:
    return f"{count / of:.0%} of {of}" if of else NONE


def _rate(rate: float | None) -> str:
    return f"{rate:.0%}" if rate is not None else NONE


def _mean(values: Sequence[float], places: int) -> str:
    return f"{sum(values) / len(values):.{places}f}" if values else NONE


def _signed_percent(difference: float | None) -> str:
    return f"{difference:+.0%}" if difference is not None else ""


ENVIRONMENT.filters.update(
    anchor=anchor_of, event_text=event_text, percent=_rate, plain=plain, signed_percent=_signed_percent
)
