"""`playhead sessions message|edit|regenerate|cancel|restore|fork`: commands that continue a session."""

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from playhead.cli.agents import AsJson, complete_agents
from playhead.cli.sessions import Session
from playhead.output.plain_text import unbroken

if TYPE_CHECKING:
    import playhead_client

STANDARD_INPUT = "-"

OnBusy = Literal["reject", "enqueue", "interrupt", "rollback"]
Turn = Annotated[str, typer.Argument(help="Id of the turn; `playhead sessions show` lists them.")]
Text = Annotated[str, typer.Argument(help="Text of the message; `-` reads standard input.")]
ExpectedRevision = Annotated[int | None, typer.Option(help="Fail if the session is at another revision.", min=0)]
MessageId = Annotated[
    str | None,
    typer.Option(help="Id of the message; a repeat with the same id has no effect.", show_default="a new one"),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module to `playhead sessions`."""
    for command in (message, edit, regenerate, cancel, restore, fork):
        app.command()(command)


def message(
    session: Session,
    text: Text,
    *,
    on_busy: Annotated[
        OnBusy | None, typer.Option(help="Behaviour while the agent is answering.", show_default="reject")
    ] = None,
    message_id: MessageId = None,
    expected_revision: ExpectedRevision = None,
    wait: Annotated[bool, typer.Option(help="Wait for the reply, and print it.")] = True,
    json: AsJson = False,
) -> None:
    """Send a message, and print the reply."""
    from playhead.cli.api_client import api_client
    from playhead.output.tables import print_json
    from playhead_client import RetryPolicy

    message_text = _read(text)
    with api_client(retries=RetryPolicy()) as api:
        if wait:
            answered = api.sessions.send(
                session, message_text, message_id=message_id, expected_revision=expected_revision, on_busy=on_busy
            )
            _print_reply(answered, json=json)
            return
        accepted = api.sessions.submit(
            session, message_text, message_id=message_id, expected_revision=expected_revision, on_busy=on_busy
        )
    if json:
        print_json(accepted)
    else:
        sys.stdout.write(f"{accepted.turn_id}\n")


def edit(
    session: Session,
    turn: Turn,
    text: Text,
    *,
    message_id: MessageId = None,
    expected_revision: ExpectedRevision = None,
    json: AsJson = False,
) -> None:
    """Replace the message of a turn, and print the reply. The old turns are kept as a discarded branch."""
    from playhead.cli.api_client import api_client
    from playhead_client import RetryPolicy

    with api_client(retries=RetryPolicy()) as api:
        edited = api.sessions.edit(
            session, turn, _read(text), message_id=message_id, expected_revision=expected_revision
        )
    _print_reply(edited, json=json)


def regenerate(
    session: Session,
    turn: Turn,
    *,
    message_id: MessageId = None,
    expected_revision: ExpectedRevision = None,
    json: AsJson = False,
) -> None:
    """Answer a turn again, and print the new reply. The old one is kept as a discarded branch."""
    from playhead.cli.api_client import api_client
    from playhead_client import RetryPolicy

    with api_client(retries=RetryPolicy()) as api:
        again = api.sessions.regenerate(session, turn, message_id=message_id, expected_revision=expected_revision)
    _print_reply(again, json=json)


def cancel(session: Session, expected_revision: ExpectedRevision = None, json: AsJson = False) -> None:
    """Stop the reply that is being generated, and print its text so far."""
    from playhead.cli.api_client import api_client

    with api_client() as api:
        stopped = api.sessions.cancel(session, expected_revision=expected_revision)
    _print_reply(stopped, json=json)


def restore(
    session: Session,
    branch: Annotated[str, typer.Argument(help="Id of the branch; `playhead sessions branches` lists them.")],
    expected_revision: ExpectedRevision = None,
    json: AsJson = False,
) -> None:
    """Restore a discarded branch. The current one becomes a discarded branch."""
    from playhead.cli.api_client import api_client
    from playhead.output.tables import print_json, show_session

    with api_client() as api:
        restored = api.sessions.restore(session, branch, expected_revision=expected_revision)
    if json:
        print_json(restored)
    else:
        show_session(restored)


def fork(
    session: Session,
    *,
    turn: Annotated[str | None, typer.Option(help="Turn to continue from.", show_default="the current turn")] = None,
    agent: Annotated[str | None, typer.Option(help="Use another agent.", autocompletion=complete_agents)] = None,
    version: Annotated[int | None, typer.Option(help="Version of that agent.", min=1)] = None,
    model: Annotated[str | None, typer.Option(help="Use another model.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the new session.")] = None,
    json: AsJson = False,
) -> None:
    """Open a new session that continues from a turn of this one, and print its id. This one does not change."""
    from playhead.cli.api_client import api_client
    from playhead.output.tables import print_json

    if version is not None and agent is None:
        raise typer.BadParameter("--version needs --agent")
    with api_client() as api:
        forked = api.sessions.fork(session, turn_id=turn, agent=agent, version=version, model=model, name=name)
    if json:
        print_json(forked)
    else:
        sys.stdout.write(f"{forked.id}\n")


def _read(text: str) -> str:
    return sys.stdin.read().strip() if text == STANDARD_INPUT else text


def _print_reply(session: "playhead_client.Session", *, json: bool) -> None:
    """Print the newest reply on standard output, and its status on standard error."""
    from playhead.output.plain_text import printable
    from playhead.output.tables import note, print_json

    if json:
        print_json(session)
        return
    sys.stdout.write(f"{printable(session.reply or '')}\n")
    if session.newest and session.newest.status == "interrupted":
        note("(interrupted)")
    if session.is_completed:
        note(f"The session has ended ({unbroken(str(session.completion_reason))}).")
