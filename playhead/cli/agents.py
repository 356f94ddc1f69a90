"""`playhead agents`: validate, store and show agents."""

import sys
from pathlib import Path
from typing import Annotated, Literal, TypedDict

import typer

from playhead.exit_codes import FINDING, CommandFailed
from playhead.output.plain_text import unbroken

COMPLETION_TIMEOUT = 1.0
"""Longest wait of shell completion for the API."""
MAX_COMPLETIONS = 100

app = typer.Typer(help="Validate, store and show agents.", no_args_is_help=True)

Format = Literal["playhead", "dograh"]
ReadAs = Annotated[Format, typer.Option("--format", help="Format of the files; dograh is a workflow export.")]
Name = Annotated[
    str | None,
    typer.Option(
        help="The agent's name, with --format dograh.", show_default="the name in the file, or else the file's name"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Files = Annotated[
    list[Path], typer.Argument(help="Agent definitions, YAML or JSON.", exists=True, dir_okay=False, readable=True)
]


def complete_agents(incomplete: str) -> list[str]:
    """Names of agents with this beginning; empty when the API does not respond at once."""
    from playhead.cli.api_client import api_client

    try:
        with api_client(timeout=COMPLETION_TIMEOUT) as api:
            names = [agent.name for agent in api.agents.list(limit=MAX_COMPLETIONS)]
    except CommandFailed:
        return []
    return [name for name in names if name.startswith(incomplete)]


Agent = Annotated[str, typer.Argument(help="Name or id of the agent.", autocompletion=complete_agents)]


@app.command()
def validate(files: Files, format: ReadAs = "playhead", name: Name = None, json: AsJson = False) -> None:
    """Validate definitions without storing them; needs no service. Exit status 1 if one is invalid."""
    from playhead.output.tables import note, print_json

    _require_one_name(files, format, name)
    reports = [_validate_file(file, format, name) for file in files]
    if json:
        print_json(reports)
    else:
        for report in reports:
            _print_report(report)
    if not all(report["valid"] for report in reports):
        note("Nothing was stored. Fix the errors above and validate again.")
        raise typer.Exit(FINDING)


@app.command()
def push(files: Files, format: ReadAs = "playhead", name: Name = None, json: AsJson = False) -> None:
    """Store definitions. If one differs from the newest version of its agent, it becomes the next version.

    The files that its documents tools search are uploaded with it from the same folder.
    """
    from playhead.cli.api_client import api_client
    from playhead.output.tables import note, print_json

    _require_one_name(files, format, name)
    stored = []
    with api_client() as api:
        for file in files:
            text, written = file.read_bytes(), _file_format(file)
            called = name or _name_of_export(text, written, file) if format == "dograh" else None
            files_sent = _files_to_send(file, text, format, called)
            agent = api.agents.push(text, written=written, format=format, name=called, files=files_sent)
            stored.append(agent)
            if not json:
                sys.stdout.write(f"{agent.name} version {agent.version} ({agent.id})\n")
                for warning in agent.warnings:
                    note(f"warning: {unbroken(warning)}")
    if json:
        print_json(stored)


@app.command("ls")
def list_agents(
    limit: Annotated[int | None, typer.Option(help="At most this many.", min=1)] = None, json: AsJson = False
) -> None:
    """List agents, the newest version of each."""
    from playhead.cli.api_client import api_client
    from playhead.output.tables import agent_rows, print_json, table

    with api_client() as api:
        agents = list(api.agents.list(limit=limit))
    if json:
        print_json(agents)
    else:
        columns = ("NAME", "VERSION", "ID", "NODES", "STORED (UTC)")
        table(columns, agent_rows(agents), empty="No agents. Store one: playhead agents push FILE")


@app.command()
def show(
    agent: Agent,
    *,
    version: Annotated[int | None, typer.Option(help="Version to show.", show_default="the newest", min=1)] = None,
    yaml: Annotated[bool, typer.Option("--yaml", help="Print the definition as YAML.")] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid flowchart.")] = False,
    dograh: Annotated[bool, typer.Option("--dograh", help="Print a workflow export for dograh's editor.")] = False,
    json: AsJson = False,
) -> None:
    """Show an agent: its nodes and their transitions."""
    from playhead.cli.api_client import api_client
    from playhead.output.tables import print_json, show_agent

    if yaml + mermaid + dograh + json > 1:
        raise typer.BadParameter("use only one of --yaml, --mermaid, --dograh and --json")
    with api_client() as api:
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
    elif dograh:
        from json import dumps

        from domain.agents.definition import AgentDefinition
        from domain.dograh.exporter import export_dograh

        exported = export_dograh(AgentDefinition.model_validate(found.definition.model_dump()))
        sys.stdout.write(dumps(exported, indent=2, ensure_ascii=False) + "\n")
    else:
        show_agent(found)


@app.command("rm")
def erase(agent: Agent) -> None:
    """Erase an agent with its versions, and the documents that only it searches. It must have no sessions or suites."""
    from playhead.cli.api_client import api_client

    with api_client() as api:
        api.agents.erase(agent)


class _Report(TypedDict):
    """The result of validating one file."""

    file: str
    valid: bool
    errors: list[dict[str, str]]
    warnings: list[str]


def _require_one_name(files: list[Path], format: Format, name: str | None) -> None:
    if name is not None and (format != "dograh" or len(files) > 1):
        raise typer.BadParameter("--name needs --format dograh and a single file")


def _validate_file(file: Path, format: Format, name: str | None) -> _Report:
    from api.schemas.agent_files import read_agent, read_export
    from domain.agents.definition import InvalidAgent, warnings_for
    from playhead.cli.agent_documents import document_issues

    text, written = file.read_bytes(), _file_format(file)
    left_out: tuple[str, ...] = ()
    try:
        if format == "dograh":
            imported = read_export(text, written, name or _name_of_export(text, written, file))
            definition, left_out = imported.definition, imported.warnings
        else:
            definition = read_agent(text, written)
    except InvalidAgent as error:
        errors = [{"place": issue.path, "message": issue.message} for issue in error.issues]
        return _Report(file=str(file), valid=False, errors=errors, warnings=[])
    errors = [{"place": path, "message": message} for path, message in document_issues(file, definition)]
    return _Report(file=str(file), valid=not errors, errors=errors, warnings=[*left_out, *warnings_for(definition)])


def _files_to_send(file: Path, text: bytes, format: Format, name: str | None) -> dict[str, bytes]:
    """The files of an agent that lie beside its own; none of an invalid one, whose errors the API lists."""
    from api.schemas.agent_files import read_agent, read_export
    from domain.agents.definition import InvalidAgent
    from playhead.cli.agent_documents import files_beside

    written = _file_format(file)
    try:
        definition = read_export(text, written, name).definition if format == "dograh" else read_agent(text, written)
    except InvalidAgent:
        return {}
    return files_beside(file, definition)


def _name_of_export(text: bytes, written: Literal["json", "yaml"], file: Path) -> str:
    """The name in an export, or else that of its file."""
    from api.schemas.structured_text import parse_text
    from domain.agents.definition import InvalidAgent

    try:
        data = parse_text(text, written)
    except InvalidAgent:
        return file.stem
    name = data.get("name") if isinstance(data, dict) else None
    return name.strip() or file.stem if isinstance(name, str) else file.stem


def _print_report(report: _Report) -> None:
    sys.stdout.write(f"{report['file']}: {'valid' if report['valid'] else 'invalid'}\n")
    for issue in report["errors"]:
        sys.stdout.write(f"  {unbroken(issue['place'])}: {unbroken(issue['message'])}\n")
    for warning in report["warnings"]:
        sys.stdout.write(f"  warning: {unbroken(warning)}\n")


def _file_format(file: Path) -> Literal["json", "yaml"]:
    return "json" if file.suffix.lower() == ".json" else "yaml"
