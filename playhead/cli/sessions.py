"""`playhead sessions`: list, show, rewind, end, erase, export and compare sessions."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from playhead.cli.agents import COMPLETION_TIMEOUT, MAX_COMPLETIONS, AsJson, complete_agents
from playhead.exit_codes import USAGE, CommandFailed
from playhead.output.plain_text import unbroken

app = typer.Typer(help="Show, continue, rewind and end sessions.", no_args_is_help=True)

Status = Literal["idle", "pending_assistant_turn", "rewound", "error", "completed"]


def complete_sessions(incomplete: str) -> list[tuple[str, str]]:
    """Ids with this beginning and names of the newest sessions; empty when the API does not respond at once."""
    from playhead.cli.api_client import api_client

    try:
        with api_client(timeout=COMPLETION_TIMEOUT) as api:
            found = [(session.id, session.name) for session in api.sessions.list(limit=MAX_COMPLETIONS)]
    except CommandFailed:
        return []
    return [(session_id, name) for session_id, name in found if session_id.startswith(incomplete)]


Session = Annotated[str, typer.Argument(help="Id of the session.", autocompletion=complete_sessions)]


@app.command("ls")
def list_sessions(
    status: Annotated[Status | None, typer.Option(help="Only sessions of this status.")] = None,
    agent: Annotated[
        str | None, typer.Option(help="Only sessions with this agent.", autocompletion=complete_agents)
    ] = None,
    limit: Annotated[int, typer.Option(help="At most this many, newest first.", min=1)] = 20,
    json: AsJson = False,
) -> None:
    """List sessions, newest first."""
    from playhead.cli.api_client import api_client
    from playhead.output.tables import print_json, session_rows, table

    with api_client() as api:
        sessions = list(api.sessions.list(limit=limit, status=status, agent=agent))
    if json:
        print_json(sessions)
    else:
        columns = ("ID", "NAME", "STATUS", "NODE", "SPENT", "CHANGED (UTC)")
        table(columns, session_rows(sessions), empty="No sessions. Start one: playhead chat AGENT")


@app.command()
def show(session: Session, json: AsJson = False) -> None:
    """Show a session: the visible conversation, discarded branches, cost."""
    from playhead.cli.api_client import api_client
    from playhead.output.tables import print_json, show_session

    with api_client() as api:
        found = api.sessions.get(session)
    if json:
        print_json(found)
    else:
        show_session(found)


@app.command()
def rewind(
    session: Session,
    *,
    turn: Annotated[str | None, typer.Argument(help="Id of the turn to go back to.")] = None,
    before: Annotated[bool, typer.Option("--before", help="Go back to just before that turn.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Undo a rewind.")] = False,
    expected_revision: Annotated[
        int | None, typer.Option(help="Fail if the session is at another revision.", min=0)
    ] = None,
    json: AsJson = False,
) -> None:
    """Rewind to a turn: the next message starts a new branch there. Nothing is deleted."""
    from playhead.cli.api_client import api_client
    from playhead.output.tables import print_json, show_session

    if (turn is None) != clear or (clear and before):
        raise CommandFailed(
            "Give the turn to go back to, or only --clear to undo a rewind.",
            status=USAGE,
            hint=f"`playhead sessions show {session}` lists the turns with their ids.",
        )
    with api_client() as api:
        changed = api.sessions.rewind(session, turn, before=before, expected_revision=expected_revision)
    if json:
        print_json(changed)
    else:
        show_session(changed)


@app.command()
def end(
    session: Session,
    reason: Annotated[str | None, typer.Option(help="Reason, stored with the session.")] = None,
    json: AsJson = False,
) -> None:
    """End a session. Ending an ended session changes nothing."""
    from playhead.cli.api_client import api_client
    from playhead.output.tables import money, print_json

    with api_client() as api:
        ended = api.sessions.end(session, reason=reason)
    if json:
        print_json(ended)
    else:
        reason = unbroken(str(ended.completion_reason))
        sys.stdout.write(f"{ended.id} has ended ({reason}); spent {money(ended.cost)}\n")


@app.command("rm")
def erase(
    session: Session,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Erase a session permanently, with all its messages. Its ledger rows stay."""
    from playhead.cli.api_client import api_client

    if not yes:
        typer.confirm(f"Erase {session} permanently, with all its messages?", abort=True, err=True)
    with api_client() as api:
        api.sessions.erase(session)
    sys.stdout.write(f"{session} is erased\n")


@app.command()
def export(
    session: Session,
    form: Annotated[
        Literal["text", "markdown", "json", "jsonl"], typer.Option("--format", help="Format of the transcript.")
    ] = "text",
    output: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="standard output", dir_okay=False, writable=True)
    ] = None,
) -> None:
    """Export the whole visible conversation."""
    from playhead.cli.api_client import api_client
    from playhead.output.files import write_file
    from playhead.output.plain_text import plain_json

    with api_client() as api:
        transcript = api.sessions.transcript(session, form)
    if output is None:
        sys.stdout.write(plain_json(transcript) if form in ("json", "jsonl") else transcript)
    else:
        write_file(output, transcript.encode())


@app.command()
def branches(session: Session, json: AsJson = False) -> None:
    """List the discarded branches of a session, newest first."""
    from playhead.cli.api_client import api_client
    from playhead.output.tables import branch_rows, print_json, table

    with api_client() as api:
        found = list(api.sessions.branches(session))
    if json:
        print_json(found)
    else:
        columns = ("ID", "AFTER TURN", "TURNS", "BEGINS WITH", "DISCARDED (UTC)")
        table(columns, branch_rows(found), empty="No discarded branches.")


@app.command()
def compare(
    session: Session,
    branch: Annotated[str, typer.Argument(help="Id of a branch.")],
    other: Annotated[str, typer.Argument(help="Id of another branch, or `active` for the visible one.")] = "active",
    json: AsJson = False,
) -> None:
    """Show two branches side by side, from where they differ."""
    from playhead.cli.api_client import api_client
    from playhead.output.tables import print_json, show_comparison

    with api_client() as api:
        compared = api.sessions.compare(session, branch, other)
    if json:
        print_json(compared)
    else:
        show_comparison(compared)
