"""`playhead simulate`: run, follow, control and report suites of simulated users."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from playhead.cli.agents import COMPLETION_TIMEOUT, MAX_COMPLETIONS, AsJson, complete_agents
from playhead.exit_codes import FINDING, CommandFailed
from playhead.output.plain_text import unbroken

if TYPE_CHECKING:
    from playhead_client import Playhead, SuiteReport

DETACHED = 130
"""Exit status after Ctrl-C, as shells have it: the result of the suite is not known yet."""


class FileOrCommand(TyperGroup):
    """Makes `simulate SUITE.yaml` an alias of `simulate run SUITE.yaml`."""

    file_command = "run"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the command if the first argument is a file."""
        words = [word for word in args if not word.startswith("-")]
        if words and words[0] not in self.commands:
            args = [self.file_command, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=FileOrCommand,
    help="Run suites of simulated users: playhead simulate SUITE.yaml",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def complete_suites(incomplete: str) -> list[tuple[str, str]]:
    """Ids with this beginning and names of the newest suites; empty when the API does not respond at once."""
    from playhead.cli.api_client import api_client

    try:
        with api_client(timeout=COMPLETION_TIMEOUT) as api:
            found = [(suite.id, suite.name) for suite in api.suites.list(limit=MAX_COMPLETIONS)]
    except CommandFailed:
        return []
    return [(suite_id, name) for suite_id, name in found if suite_id.startswith(incomplete)]


def _dollars(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is not an amount; expected a number such as 2.50") from None


SuiteId = Annotated[str, typer.Argument(help="Id of the suite.", autocompletion=complete_suites)]
Junit = Annotated[Path | None, typer.Option(help="Write a report as JUnit XML.", dir_okay=False, writable=True)]
Html = Annotated[Path | None, typer.Option(help="Write a report as HTML.", dir_okay=False, writable=True)]
Jsonl = Annotated[
    Path | None, typer.Option(help="Write each conversation as a line of JSON.", dir_okay=False, writable=True)
]
Report = Annotated[
    Path | None, typer.Option("--report", help="Write the full report as JSON.", dir_okay=False, writable=True)
]
Baseline = Annotated[
    str | None, typer.Option(help="Compare with an earlier suite: its id, or its report as JSON or JSON lines.")
]


@dataclass(frozen=True)
class ReportOptions:
    """The reports to write and the baseline to compare with."""

    junit: Path | None = None
    html: Path | None = None
    jsonl: Path | None = None
    report: Path | None = None
    baseline: str | None = None
    json: bool = False


@app.command()
def run(
    suite: Annotated[
        Path, typer.Argument(help="Suite file, YAML or JSON.", exists=True, dir_okay=False, readable=True)
    ],
    *,
    repeat: Annotated[int | None, typer.Option(help="Runs of each scenario.", min=1, max=1_000)] = None,
    concurrency: Annotated[int | None, typer.Option(help="Conversations at once.", min=1, max=500)] = None,
    budget: Annotated[
        Decimal | None, typer.Option(help="Spending limit in US dollars.", parser=_dollars, metavar="USD")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of simulated users and judges.", min=0, max=2**31 - 1)] = None,
    min_pass_rate: Annotated[
        float | None, typer.Option(help="Share of each scenario's runs that must pass.", min=0, max=1)
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only scenarios with this tag (may be repeated).")] = None,
    junit: Junit = None,
    html: Html = None,
    jsonl: Jsonl = None,
    report: Report = None,
    baseline: Baseline = None,
    detach: Annotated[bool, typer.Option("--detach", help="Print the id of the suite and do not wait.")] = False,
    json: AsJson = False,
) -> None:
    """Run a suite and wait for the result. Exit status 1 unless it passes. Ctrl-C leaves it running."""
    from playhead.cli.api_client import api_client
    from playhead_client import RetryPolicy

    with api_client(retries=RetryPolicy()) as api:
        started = api.suites.start(
            suite.read_bytes(),
            written="json" if suite.suffix == ".json" else "yaml",
            repeats=repeat,
            concurrency=concurrency,
            budget_usd=budget,
            seed=seed,
            min_pass_rate=min_pass_rate,
            tags=tuple(tag or ()),
        )
        if detach:
            sys.stdout.write(f"{started.id}\n")
            return
        _follow_suite(api, started.id, ReportOptions(junit, html, jsonl, report, baseline, json))


@app.command()
def attach(
    suite: SuiteId,
    *,
    junit: Junit = None,
    html: Html = None,
    jsonl: Jsonl = None,
    report: Report = None,
    baseline: Baseline = None,
    json: AsJson = False,
) -> None:
    """Follow a running suite to its end."""
    from playhead.cli.api_client import api_client
    from playhead_client import RetryPolicy

    with api_client(retries=RetryPolicy()) as api:
        _follow_suite(api, suite, ReportOptions(junit, html, jsonl, report, baseline, json))


@app.command("report")
def write_report(
    suite: SuiteId,
    *,
    junit: Junit = None,
    html: Html = None,
    jsonl: Jsonl = None,
    report: Report = None,
    baseline: Baseline = None,
    json: AsJson = False,
) -> None:
    """Show and write the current results of a suite, without waiting."""
    from playhead.cli.api_client import api_client

    with api_client() as api:
        _show_report(api, api.suites.report(suite), ReportOptions(junit, html, jsonl, report, baseline, json))


@app.command("ls")
def list_suites(
    limit: Annotated[int, typer.Option(help="At most this many, newest first.", min=1)] = 20, json: AsJson = False
) -> None:
    """List suites, newest first."""
    from rich.markup import escape

    from playhead.cli.api_client import api_client
    from playhead.output.suite_results import COLOURS
    from playhead.output.tables import moment, print_json, table

    with api_client() as api:
        suites = list(api.suites.list(limit=limit))
    if json:
        print_json(suites)
        return
    rows = [
        (
            each.id,
            escape(each.name),
            each.status,
            f"[{COLOURS.get(each.outcome or '', 'default')}]{each.outcome or '-'}[/]",
            str(each.planned),
            escape(f"{each.agent_name}@{each.agent_version}"),
            moment(each.created_at),
        )
        for each in suites
    ]
    columns = ("ID", "NAME", "STATUS", "OUTCOME", "PLANNED", "AGENT", "STARTED (UTC)")
    table(columns, rows, empty="No suites. Run one: playhead simulate SUITE.yaml")


@app.command()
def pause(suite: SuiteId) -> None:
    """Pause a suite: start no more conversations; running ones continue."""
    _send_command(suite, "pause")


@app.command()
def resume(suite: SuiteId) -> None:
    """Resume a paused suite."""
    _send_command(suite, "resume")


@app.command()
def cancel(suite: SuiteId) -> None:
    """Cancel a suite: start no more conversations, and end running ones."""
    _send_command(suite, "cancel")


@app.command()
def fork(
    suite: SuiteId,
    scenario: Annotated[str, typer.Argument(help="Id of the scenario.")],
    *,
    turn: Annotated[str, typer.Option(help="Turn to continue from: its number from 1, or its id.")],
    repeat: Annotated[int, typer.Option(help="Repeat of the scenario.", min=1)] = 1,
    agent: Annotated[
        str | None, typer.Option(help="Use this agent, or agent@version.", autocompletion=complete_agents)
    ] = None,
    model: Annotated[str | None, typer.Option(help="Use this model.")] = None,
) -> None:
    """Continue a conversation from a turn, with another agent version or model and the same simulated user."""
    from playhead.cli.api_client import api_client
    from playhead.cli.run_forks import find_turn, follow_turns, fork_run, session_of_run
    from playhead.output.tables import note, show_turn

    with api_client() as api:
        source = session_of_run(api, suite, scenario, repeat)
        chosen = find_turn(api, source, turn)
        forked, simulated_user = fork_run(api, api.sessions.get(source), chosen, agent=agent, model=model)
        note(f"{forked.id} continues from turn {chosen.index + 1} of {source}.")
        if simulated_user is None:
            note(f"It has no simulated user. Talk to it: playhead chat --session {forked.id}")
            return
        try:
            for each in follow_turns(api, forked.id, chosen.index + 1):
                show_turn(each)
        except KeyboardInterrupt:
            note(f"\nThe conversation continues: playhead sessions show {forked.id}")
            raise typer.Exit(DETACHED) from None
        ended = api.sessions.get(forked.id)
        sys.stdout.write(f"\n{ended.id} has ended: {unbroken(str(ended.completion_reason))}\n")


def _send_command(suite: str, command: Literal["pause", "resume", "cancel"]) -> None:
    from playhead.cli.api_client import api_client

    with api_client() as api:
        changed = api.suites.steer(suite, command)
    sys.stdout.write(f"{changed.id} is {changed.status}; {changed.progress.running} conversations are running\n")


def _follow_suite(api: "Playhead", suite_id: str, options: ReportOptions) -> None:
    from playhead.cli.suite_progress import SuitePoller, show_progress
    from playhead.output.tables import note

    note(f"{suite_id} runs on the server; Ctrl-C leaves it running.")
    try:
        show_progress(SuitePoller(api, suite_id).snapshots())
    except KeyboardInterrupt:
        note(f"\nThe suite continues. Follow it again: playhead simulate attach {suite_id}")
        raise typer.Exit(DETACHED) from None
    report = api.suites.report(suite_id)
    got_worse = _show_report(api, report, options)
    if report.suite.outcome != "passed" or got_worse:
        raise typer.Exit(FINDING)


def _show_report(api: "Playhead", report: "SuiteReport", options: ReportOptions) -> bool:
    """Show and write a report. Returns whether a scenario, or the whole suite, is worse than the baseline."""
    from playhead.output.suite_results import compare_with_baseline, json_lines, show_comparison, show_results
    from playhead.output.tables import print_json

    suite = report.suite
    comparison = compare_with_baseline(options.baseline, suite, api) if options.baseline else None
    if options.json:
        print_json(report)
    else:
        show_results(report)
        if comparison:
            show_comparison(comparison)
    stored_baseline = None if options.baseline is None or Path(options.baseline).exists() else options.baseline
    _write(options.report, lambda: report.model_dump_json(indent=2).encode() + b"\n")
    _write(options.jsonl, lambda: b"".join(json_lines(report)))
    _write(options.junit, lambda: api.suites.written_report(suite.id, "junit"))
    _write(options.html, lambda: api.suites.written_report(suite.id, "html", baseline=stored_baseline))
    return comparison is not None and bool(comparison.regressions or comparison.overall.change == "worse")


def _write(file: Path | None, content: Callable[[], bytes]) -> None:
    from playhead.output.files import write_file

    if file is not None:
        write_file(file, content())
