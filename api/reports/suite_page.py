"""A report as one page of HTML that needs no other host: outcomes, plots, and every conversation to unfold."""

from collections.abc import Sequence
from importlib import resources
from statistics import median, quantiles
from typing import Final

from api.reports.charts import difference_bar, histogram, rate_bar
from api.reports.conversation_html import conversation
from api.reports.html import Markup, element, joined
from api.schemas.responses import plain
from api.schemas.suites import BaselineReport, RunReport, ScenarioChange, ScenarioProgress, SuiteReport
from domain.suites.statistics import wilson_interval
from domain.suites.verdicts import Outcome

SIGNS: Final[dict[Outcome | None, str]] = {"passed": "✓", "failed": "✕", "inconclusive": "?", None: "…"}
OUTCOMES: Final[tuple[Outcome, ...]] = ("passed", "failed", "inconclusive")
CHANGES: Final = {
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
"""What the page may load: nothing."""
FEW: Final = 2
"""Values without which there is no spread."""
NONE: Final = "-"


def page_of_report(report: SuiteReport) -> bytes:
    """The page, in UTF-8. It follows the reader's light or dark scheme, and works without its script."""
    suite = report.suite
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("title", f"{suite.name}: {suite.outcome or suite.status}"),
        element("style", Markup(_resource("report.css"))),
    )
    body = element(
        "body",
        _header(report),
        element("main", _tiles(report), _baseline(report.baseline), _scenarios(report), _plots(report), _runs(report)),
        _footer(report),
        element("script", Markup(_resource("report.js"))),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n".encode("utf-8", "replace")


def _header(report: SuiteReport) -> Markup:
    suite = report.suite
    outcome = suite.outcome
    badge = element("span", f"{SIGNS[outcome]} {outcome or suite.status}", class_=f"badge {outcome or 'open'}")
    budget = f", budget {plain(suite.budget_usd)} USD" if suite.budget_usd is not None else ""
    told = (
        f"{suite.agent_name} version {suite.agent_version} · {suite.created_at:%Y-%m-%d %H:%M} UTC · seed {suite.seed} "
        f"· {suite.concurrency} at once{budget}"
    )
    return element("header", element("h1", suite.name, " ", badge), element("p", told), element("p", suite.id))


def _tiles(report: SuiteReport) -> Markup:
    progress = report.suite.progress
    decided = progress.passed + progress.failed
    rate = f"{progress.passed / decided:.0%}" if decided else NONE
    latencies = _latencies(report)
    tiles = [
        ("passed", rate, f"{progress.passed} of {decided} decided"),
        ("failed", str(progress.failed), _share(progress.failed, progress.planned)),
        ("inconclusive", str(progress.inconclusive), _share(progress.inconclusive, progress.planned)),
        ("conversations", f"{len(report.runs)}", f"of {progress.planned} planned"),
        ("turns", f"{progress.turns:,}", f"{progress.turns / max(len(report.runs), 1):.1f} a conversation"),
        ("cost", f"{plain(progress.cost.total)}", "USD by the ledger"),
        ("reply time", _seconds(median(latencies)) if latencies else NONE, f"median; 95 % within {_p95(latencies)}"),
    ]
    return element(
        "section",
        [
            element("div", element("dt", name), element("dd", figure), element("small", more), class_=f"tile {name}")
            for name, figure, more in tiles
        ],
        class_="tiles",
    )


def _scenarios(report: SuiteReport) -> Markup:
    columns = ("Scenario", "Runs", "Pass rate", "", "Turns", "Cost", "Outcome")
    head = element("thead", element("tr", [element("th", name) for name in columns]))
    rows = [_scenario(each, [run for run in report.runs if run.scenario == each.id]) for each in report.suite.scenarios]
    table = element("div", element("table", head, element("tbody", rows)), class_="wide")
    return element("section", element("h2", "Scenarios"), table)


def _scenario(scenario: ScenarioProgress, runs: Sequence[RunReport]) -> Markup:
    decided = scenario.passed + scenario.failed
    squares = [
        element(
            "a",
            SIGNS[run.outcome],
            href=f"#{anchor_of(run)}",
            class_=f"run {run.outcome or 'open'}",
            title=f"{run.scenario} {run.repeat}: {run.outcome or 'under way'}",
        )
        for run in runs
    ]
    interval = wilson_interval(scenario.passed, decided) if decided else None
    tags = [element("span", tag, class_="tag") for tag in scenario.tags]
    told = [run for run in runs if run.outcome is not None]
    outcome = scenario.outcome
    return element(
        "tr",
        element("td", element("strong", scenario.id), " ", tags),
        element("td", squares, class_="runs"),
        element("td", f"{scenario.pass_rate:.0%}" if scenario.pass_rate is not None else NONE, class_="figure"),
        element("td", rate_bar(scenario.pass_rate, interval), class_="bar"),
        element("td", _mean([float(run.turn_count) for run in told], 1), class_="figure"),
        element("td", _mean([float(run.cost) for run in told], 5), class_="figure"),
        element("td", element("span", outcome or "open", class_=f"badge {outcome or 'open'}")),
    )


def _baseline(baseline: BaselineReport | None) -> Markup:
    if baseline is None:
        return Markup("")
    head = element(
        "thead", element("tr", [element("th", name) for name in ("Scenario", "Before", "Now", "Difference", "", "")])
    )
    rows = [_changed(each) for each in (baseline.overall, *baseline.scenarios)]
    told = (
        f"Against {baseline.suite_name} ({baseline.suite_id}). The bar is where the true difference of the pass rates "
        "lies, with 95 % confidence (Newcombe's interval); only what does not touch the middle is more than chance."
    )
    table = element("div", element("table", head, element("tbody", rows)), class_="wide")
    return element("section", element("h2", "Compared with before"), element("p", told), table)


def _changed(change: ScenarioChange) -> Markup:
    interval = change.interval
    kind = {"worse": "failed", "better": "passed"}.get(change.change, "unsure")
    bar = difference_bar(change.difference, interval.low if interval else None, interval.high if interval else None)
    return element(
        "tr",
        element("td", element("strong", change.scenario)),
        element("td", _rate(change.rate_before), class_="figure"),
        element("td", _rate(change.rate_now), class_="figure"),
        element("td", f"{change.difference:+.0%}" if change.difference is not None else "", class_="figure"),
        element("td", bar, class_="difference"),
        element("td", CHANGES[change.change], class_=f"change {kind}"),
    )


def _plots(report: SuiteReport) -> Markup:
    judged = {outcome: [run for run in report.runs if run.outcome == outcome] for outcome in OUTCOMES}
    latencies = _latencies(report)
    marks = {"median": median(latencies), "95 %": _quantile95(latencies)} if len(latencies) >= FEW else None
    plots = [
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
    figures = [element("figure", element("figcaption", name), plot) for name, plot in plots]
    return element("section", element("h2", "How they went"), element("div", figures, class_="plots"))


def _runs(report: SuiteReport) -> Markup:
    counts = {name: sum(run.outcome == name for run in report.runs) for name in OUTCOMES}
    filters = [("all", len(report.runs)), *counts.items()]
    buttons = [
        element("button", f"{name} {count}", type="button", data_show=name, aria_pressed=str(name == "all").lower())
        for name, count in filters
    ]
    order = {"failed": 0, "inconclusive": 1, None: 2, "passed": 3}
    runs = sorted(report.runs, key=lambda run: (order[run.outcome], run.scenario, run.repeat))
    shown = [_run(report, run) for run in runs]
    return element(
        "section",
        element("h2", "Conversations"),
        element("nav", buttons, aria_label="Show only", class_="filters"),
        shown or element("p", "No conversation has begun.", class_="nothing"),
    )


def _run(report: SuiteReport, run: RunReport) -> Markup:
    outcome = run.outcome or "open"
    figures = f"{run.turn_count} turns · {plain(run.cost)} USD"
    figures += f" · {run.seconds:.1f} s" if run.seconds is not None else ""
    summary = element(
        "summary",
        element("span", SIGNS[run.outcome], class_=f"sign {outcome}"),
        element("strong", f"{run.scenario} {run.repeat}"),
        element("span", _first_reason(run), class_="why"),
        element("span", figures, class_="figures"),
    )
    return element(
        "details", summary, conversation(report.suite.id, run), id=anchor_of(run), class_="run", data_outcome=outcome
    )


def _footer(report: SuiteReport) -> Markup:
    link = report.suite.temporal.ui_url
    in_temporal = [" ", element("a", "The suite in Temporal", href=link, rel="noreferrer")] if link else []
    return element("footer", element("p", joined(["Made by Playhead from its store.", *in_temporal])))


def anchor_of(run: RunReport) -> str:
    """Where in the page a conversation is."""
    return f"run-{run.session_id}"


def _first_reason(run: RunReport) -> str:
    if run.findings:
        return run.findings[0].message
    open_ = [each.reason for each in run.criteria if each.outcome != "passed"]
    return (open_ or [run.error or run.cut_short or ""])[0]


def _latencies(report: SuiteReport) -> list[float]:
    """Seconds from a caller's message to the reply to it."""
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


def _resource(name: str) -> str:
    return resources.files("api.reports").joinpath(name).read_text(encoding="utf-8")
