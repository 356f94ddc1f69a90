"""`playhead agents`: check definitions, store them, look at them."""

import sys
from pathlib import Path
from typing import Annotated, Literal, TypedDict

import typer

from playhead.exit_codes import FINDING, CommandFailed

COMPLETION_SECONDS = 1.0
"""How long a shell may wait for names to complete with."""
MAX_COMPLETIONS = 100

app = typer.Typer(help="Check, store and look at agents.", no_args_is_help=True)

Format = Literal["playhead", "dograh"]
ReadAs = Annotated[Format, typer.Option("--format", help="What the files are: dograh is a workflow export.")]
Name = Annotated[
    str | None,
    typer.Option(help="The agent's name, with --format dograh.", show_default="the file's name without its ending"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Files = Annotated[
    list[Path], typer.Argument(help="Agent definitions, YAML or JSON.", exists=True, dir_okay=False, readable=True)
]


def complete_agents(incomplete: str) -> list[str]:
    """Names of agents that begin so, asked of the API; none when it does not answer at once."""
    from playhead.cli.api_client import calling_api

    try:
        with calling_api(timeout=COMPLETION_SECONDS) as api:
            names = [agent.name for agent in api.agents.list(limit=MAX_COMPLETIONS)]
    except CommandFailed:
        return []
    return [name for name in names if name.startswith(incomplete)]


Agent = Annotated[str, typer.Argument(help="Name or id of the agent.", autocompletion=complete_agents)]


@app.command()
def validate(files: Files, format: ReadAs = "playhead", name: Name = None, json: AsJson = False) -> None:
    """Check definitions without storing them; needs no service. Exit status 1 when one has errors."""
    from playhead.output.tables import note, print_json

    _require_one_name(files, format, name)
    reports = [_report_on(file, format, name) for file in files]
    if json:
        print_json(reports)
    else:
        for report in reports:
            _print_report(report)
    if not all(report["valid"] for report in reports):
        note("Nothing was stored. Mend the places named above and check again.")
        raise typer.Exit(FINDING)


@app.command()
def push(files: Files, format: ReadAs = "playhead", name: Name = None, json: AsJson = False) -> None:
    """Store definitions; one that differs from the newest version of its agent becomes the next version."""
    from playhead.cli.api_client import calling_api
    from playhead.output.tables import note, print_json

    _require_one_name(files, format, name)
    stored = []
    with calling_api() as api:
        for file in files:
            called = name or file.stem if format == "dograh" else None
            agent = api.agents.push(file.read_bytes(), written=_written_as(file), format=format, name=called)
            stored.append(agent)
            if not json:
                sys.stdout.write(f"{agent.name} version {agent.version} ({agent.id})\n")
                for warning in agent.warnings:
                    note(f"warning: {warning}")
    if json:
        print_json(stored)


@app.command("ls")
def list_agents(
    limit: Annotated[int | None, typer.Option(help="At most this many.", min=1)] = None, json: AsJson = False
) -> None:
    """List the agents, newest version of each."""
    from playhead.cli.api_client import calling_api
    from playhead.output.tables import agent_rows, print_json, table

    with calling_api() as api:
        agents = list(api.agents.list(limit=limit))
    if json:
        print_json(agents)
    else:
        columns = ("NAME", "VERSION", "ID", "NODES", "STORED (UTC)")
        table(columns, agent_rows(agents), empty="There are no agents yet. Store one: playhead agents push FILE")


@app.command()
def show(
    agent: Agent,
    version: Annotated[int | None, typer.Option(help="A version.", show_default="the newest", min=1)] = None,
    yaml: Annotated[bool, typer.Option("--yaml", help="Print the definition as YAML.")] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid flowchart.")] = False,
    json: AsJson = False,
) -> None:
    """Show one agent: its nodes and where they lead."""
    from playhead.cli.api_client import calling_api
    from playhead.output.tables import print_json, show_agent

    if yaml + mermaid + json > 1:
        raise typer.BadParameter("--yaml, --mermaid and --json exclude each other")
    with calling_api() as api:
        found = api.agents.get(agent, version)
    if json:
        print_json(found)
    elif yaml:
        from yaml import safe_dump

        sys.stdout.write(
            safe_dump(found.definition.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)
        )
    elif mermaid:
        from domain.agents.definition import AgentDefinition
        from domain.agents.definition import mermaid as flowchart

        sys.stdout.write(flowchart(AgentDefinition.model_validate(found.definition.model_dump())))
    else:
        show_agent(found)


class _Report(TypedDict):
    """What was found in one file."""

    file: str
    valid: bool
    errors: list[dict[str, str]]
    warnings: list[str]


def _require_one_name(files: list[Path], format: Format, name: str | None) -> None:
    if name is not None and (format != "dograh" or len(files) > 1):
        raise typer.BadParameter("--name names the agent of one file, and goes with --format dograh only")


def _report_on(file: Path, format: Format, name: str | None) -> _Report:
    from api.schemas.agent_files import read_agent, read_export
    from domain.agents.definition import InvalidAgent, warnings_for

    text, written = file.read_bytes(), _written_as(file)
    left_out: tuple[str, ...] = ()
    try:
        if format == "dograh":
            imported = read_export(text, written, name or file.stem)
            definition, left_out = imported.definition, imported.warnings
        else:
            definition = read_agent(text, written)
    except InvalidAgent as error:
        errors = [{"place": issue.path, "message": issue.message} for issue in error.issues]
        return _Report(file=str(file), valid=False, errors=errors, warnings=[])
    return _Report(file=str(file), valid=True, errors=[], warnings=[*left_out, *warnings_for(definition)])


def _print_report(report: _Report) -> None:
    sys.stdout.write(f"{report['file']}: {'valid' if report['valid'] else 'invalid'}\n")
    for issue in report["errors"]:
        sys.stdout.write(f"  {issue['place']}: {issue['message']}\n")
    for warning in report["warnings"]:
        sys.stdout.write(f"  warning: {warning}\n")


def _written_as(file: Path) -> Literal["json", "yaml"]:
    return "json" if file.suffix.lower() == ".json" else "yaml"
