"""`playhead simulate`: run suites of simulated callers, follow them, steer them, and read what came of them."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from playhead.cli.agents import COMPLETION_SECONDS, MAX_COMPLETIONS, AsJson, complete_agents
from playhead.exit_codes import FINDING, USAGE, CommandFailed

if TYPE_CHECKING:
    from playhead_client import Playhead, SuiteReport

DETACHED = 130
"""The exit status after Ctrl-C, as shells have it: nobody knows what will come of the suite."""


class FileOrCommand(TyperGroup):
    """`simulate SUITE.yaml` is `simulate run SUITE.yaml`."""

    of_files = "run"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in where a file is named."""
        words = [word for word in args if not word.startswith("-")]
        if words and words[0] not in self.commands:
            args = [self.of_files, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=FileOrCommand,
    help="Run suites of simulated callers: playhead simulate SUITE.yaml",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def complete_suites(incomplete: str) -> list[tuple[str, str]]:
    """Ids of the newest suites that begin so, with their names; none when the API does not answer at once."""
    from playhead.cli.api_client import calling_api

    try:
        with calling_api(timeout=COMPLETION_SECONDS) as api:
            found = [(suite.id, suite.name) for suite in api.suites.list(limit=MAX_COMPLETIONS)]
    except CommandFailed:
        return []
    return [(suite_id, name) for suite_id, name in found if suite_id.startswith(incomplete)]


def _dollars(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is no amount; write it like 2.50") from None


SuiteId = Annotated[str, typer.Argument(help="Id of the suite.", autocompletion=complete_suites)]
Junit = Annotated[Path | None, typer.Option(help="Write a report as JUnit's XML.", dir_okay=False, writable=True)]
Html = Annotated[Path | None, typer.Option(help="Write a report as a page.", dir_okay=False, writable=True)]
Jsonl = Annotated[
    Path | None, typer.Option(help="Write every conversation as a line of JSON.", dir_okay=False, writable=True)
]
Report = Annotated[
    Path | None, typer.Option("--report", help="Write the whole report as JSON.", dir_okay=False, writable=True)
]
Baseline = Annotated[
    str | None, typer.Option(help="Compare with an earlier suite: its id, or its report as JSON or lines of JSON.")
]


@dataclass(frozen=True)
class Wanted:
    """What is to be written and compared once a suite is over."""

    junit: Path | None = None
    html: Path | None = None
    jsonl: Path | None = None
    report: Path | None = None
    baseline: str | None = None
    json: bool = False


@app.command()
def run(
    suite: Annotated[Path, typer.Argument(help="The suite, YAML or JSON.", exists=True, dir_okay=False, readable=True)],
    *,
    repeat: Annotated[int | None, typer.Option(help="Run every scenario so often.", min=1, max=1_000)] = None,
    concurrency: Annotated[int | None, typer.Option(help="So many conversations at once.", min=1, max=500)] = None,
    budget: Annotated[
        Decimal | None, typer.Option(help="Spend at most so many US dollars.", parser=_dollars, metavar="USD")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the callers and judges.", min=0, max=2**31 - 1)] = None,
    min_pass_rate: Annotated[
        float | None, typer.Option(help="The part of each scenario's runs that must pass.", min=0, max=1)
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only scenarios with this tag (or one of several).")] = None,
    junit: Junit = None,
    html: Html = None,
    jsonl: Jsonl = None,
    report: Report = None,
    baseline: Baseline = None,
    detach: Annotated[bool, typer.Option("--detach", help="Start it, print its id, and do not wait.")] = False,
    json: AsJson = False,
) -> None:
    """Run a suite and wait for what comes of it. Exit status 1 unless it passes. Ctrl-C leaves it running."""
    from playhead.cli.api_client import calling_api
    from playhead_client import RetryPolicy

    with calling_api(retries=RetryPolicy()) as api:
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
        _follow(api, started.id, Wanted(junit, html, jsonl, report, baseline, json))


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
    """Follow a suite that was started elsewhere or before, to its end."""
    from playhead.cli.api_client import calling_api
    from playhead_client import RetryPolicy

    with calling_api(retries=RetryPolicy()) as api:
        _follow(api, suite, Wanted(junit, html, jsonl, report, baseline, json))


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
    """Show and write what came of a suite so far, without waiting."""
    from playhead.cli.api_client import calling_api

    with calling_api() as api:
        _tell(api, api.suites.report(suite), Wanted(junit, html, jsonl, report, baseline, json))


@app.command("ls")
def list_suites(
    limit: Annotated[int, typer.Option(help="At most this many, newest first.", min=1)] = 20, json: AsJson = False
) -> None:
    """List suites, newest first."""
    from rich.markup import escape

    from playhead.cli.api_client import calling_api
    from playhead.output.suite_results import COLOURS
    from playhead.output.tables import moment, print_json, table

    with calling_api() as api:
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
    """Start no more conversations of a suite; those under way go on."""
    _steer(suite, "pause")


@app.command()
def resume(suite: SuiteId) -> None:
    """Start conversations of a paused suite again."""
    _steer(suite, "resume")


@app.command()
def cancel(suite: SuiteId) -> None:
    """Start no more conversations of a suite, and end those under way."""
    _steer(suite, "cancel")


@app.command()
def fork(
    suite: SuiteId,
    scenario: Annotated[str, typer.Argument(help="Id of the scenario.")],
    *,
    turn: Annotated[str, typer.Option(help="Go on after this turn: its number from 1, or its id.")],
    repeat: Annotated[int, typer.Option(help="Which repeat of the scenario.", min=1)] = 1,
    agent: Annotated[
        str | None, typer.Option(help="Go on with this agent, or with agent@version.", autocompletion=complete_agents)
    ] = None,
    model: Annotated[str | None, typer.Option(help="Go on with this model.")] = None,
) -> None:
    """Take a conversation up again at a turn, with another agent version or model, and the same caller."""
    from playhead.cli.api_client import calling_api
    from playhead.cli.run_forks import followed, go_on, run_of, turn_of
    from playhead.output.tables import note, show_turn

    with calling_api() as api:
        run = run_of(api, suite, scenario, repeat)
        chosen = turn_of(api, run.session_id, turn)
        forked, caller = go_on(api, api.sessions.get(run.session_id), chosen, agent=agent, model=model)
        note(f"{forked.id} goes on from turn {chosen.index + 1} of {run.session_id}.")
        if caller is None:
            note(f"It has no simulated caller. Talk to it: playhead chat --session {forked.id}")
            return
        try:
            for each in followed(api, forked.id, chosen.index + 1):
                show_turn(each)
        except KeyboardInterrupt:
            note(f"\nThe conversation goes on: playhead sessions show {forked.id}")
            raise typer.Exit(DETACHED) from None
        ended = api.sessions.get(forked.id)
        sys.stdout.write(f"\n{ended.id} has ended: {ended.completion_reason}\n")


def _steer(suite: str, command: Literal["pause", "resume", "cancel"]) -> None:
    from playhead.cli.api_client import calling_api

    with calling_api() as api:
        told = api.suites.steer(suite, command)
    sys.stdout.write(f"{told.id} is {told.status}; {told.progress.running} conversations are under way\n")


def _follow(api: "Playhead", suite_id: str, wanted: Wanted) -> None:
    from playhead.cli.suite_progress import Watch, follow
    from playhead.output.tables import note

    note(f"{suite_id} runs by itself; Ctrl-C leaves it running.")
    try:
        follow(Watch(api, suite_id).sights())
    except KeyboardInterrupt:
        note(f"\nThe suite goes on. Follow it again: playhead simulate attach {suite_id}")
        raise typer.Exit(DETACHED) from None
    report = api.suites.report(suite_id)
    got_worse = _tell(api, report, wanted)
    if report.suite.outcome != "passed" or got_worse:
        raise typer.Exit(FINDING)


def _tell(api: "Playhead", report: "SuiteReport", wanted: Wanted) -> bool:
    """Show and write a report. Whether a scenario, or all together, got worse than in the baseline."""
    from playhead.output.suite_results import compared_with, json_lines, show_comparison, show_results
    from playhead.output.tables import print_json

    suite = report.suite
    comparison = compared_with(wanted.baseline, suite, api) if wanted.baseline else None
    if wanted.json:
        print_json(report)
    else:
        show_results(report)
        if comparison:
            show_comparison(comparison)
    stored_baseline = None if wanted.baseline is None or Path(wanted.baseline).exists() else wanted.baseline
    _write(wanted.report, lambda: report.model_dump_json(indent=2).encode() + b"\n")
    _write(wanted.jsonl, lambda: b"".join(json_lines(report)))
    _write(wanted.junit, lambda: api.suites.written_report(suite.id, "junit"))
    _write(wanted.html, lambda: api.suites.written_report(suite.id, "html", baseline=stored_baseline))
    return comparison is not None and bool(comparison.got_worse or comparison.overall.change == "worse")


def _write(file: Path | None, content: Callable[[], bytes]) -> None:
    if file is None:
        return
    try:
        file.write_bytes(content())
    except OSError as error:
        raise CommandFailed(f"{file} cannot be written: {error.strerror}.", status=USAGE) from error
