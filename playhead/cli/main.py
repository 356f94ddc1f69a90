"""The `playhead` command. Commands import what they need when they run, so that `--help` is fast."""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from playhead.cli import (
    agents,
    database,
    documents,
    embed,
    organizations,
    reconcile,
    services,
    session_commands,
    sessions,
    simulate,
    tail,
)
from playhead.config.environment import apply_env_file
from playhead.exit_codes import CommandFailed
from playhead.output.plain_text import make_output_plain, plain_output


class Commands(TyperGroup):
    """The top-level group: prints printable text only, and turns CommandFailed into a message and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        with plain_output():
            try:
                return super().invoke(ctx)
            except CommandFailed as failure:
                report(failure)
                raise typer.Exit(failure.status) from failure


app = typer.Typer(
    cls=Commands,
    help="Durable, rewindable, truthfully billed chat sessions with agents, on Temporal.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
services.add_to(app)
app.command()(reconcile.reconcile)
app.add_typer(agents.app, name="agents")
app.add_typer(documents.app, name="documents")
session_commands.add_to(sessions.app)
tail.add_to(sessions.app)
app.add_typer(sessions.app, name="sessions")
app.add_typer(simulate.app, name="simulate")
app.add_typer(database.keys, name="keys")
app.add_typer(embed.app, name="embed")
app.add_typer(organizations.app, name="orgs")
app.add_typer(database.db, name="db")


def main() -> None:
    """Run the command line."""
    make_output_plain()
    apply_env_file()
    app(prog_name="playhead")


def report(failure: CommandFailed) -> None:
    """Print the message and the hint on standard error."""
    sys.stderr.write(f"playhead: {failure.message}\n")
    if failure.hint:
        sys.stderr.write(f"{failure.hint}\n")


def _print_version(requested: bool) -> None:
    if requested:
        sys.stdout.write(f"{installed_version()}\n")
        raise typer.Exit


def installed_version() -> str:
    """The installed version of Playhead."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("playhead")
    except PackageNotFoundError:
        return "unknown (not installed)"


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command("version")
def show_version(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print the versions of Playhead, Python and the Temporal SDK."""
    import platform
    from importlib.metadata import version

    from playhead.output.tables import print_json

    versions = {
        "playhead": installed_version(),
        "python": platform.python_version(),
        "temporalio": version("temporalio"),
    }
    if json:
        print_json(versions)
    else:
        sys.stdout.writelines(f"{name} {number}\n" for name, number in versions.items())


@app.command("settings")
def show_settings(
    markdown: Annotated[bool, typer.Option(help="Print the documentation of all settings as Markdown.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print all settings: variable, current value, meaning."""
    from playhead.cli import settings

    settings.show(as_markdown=markdown, as_json=json)


@app.command("chat")
def chat(
    agent: Annotated[
        str | None, typer.Argument(help="Name or id of the agent.", autocompletion=agents.complete_agents)
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(help="Continue this session.", autocompletion=sessions.complete_sessions),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print lines of JSON.")] = False,
) -> None:
    """Talk to an agent in the terminal."""
    from playhead.chat.app import run

    raise typer.Exit(run(agent=agent, json=json, session=session))
