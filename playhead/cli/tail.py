"""`playhead sessions tail`: follow a session live."""

import sys
from typing import Annotated

import typer

from playhead.cli.agents import AsJson
from playhead.cli.sessions import Session
from playhead.exit_codes import INTERRUPTED

ATTEMPTS = 60
"""Reconnection attempts before the command fails: about eight minutes."""


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module to `playhead sessions`."""
    app.command()(tail)


def tail(
    session: Session,
    after: Annotated[
        int | None,
        typer.Option(help="Start after this event number; 0 shows all events.", show_default="now", min=0),
    ] = None,
    json: AsJson = False,
) -> None:
    """Follow a session until it ends: messages, replies as they are generated, and events."""
    import time

    from playhead.cli.api_client import api_client
    from playhead.output.event_tail import JsonTail, PlainTail, Tail
    from playhead.output.tables import note
    from playhead_client import RetryPolicy

    def wait(seconds: float) -> None:
        note(f"Lost the connection to the API. Trying again in {seconds:g} s.")
        time.sleep(seconds)

    screen: Tail = JsonTail(sys.stdout) if json else PlainTail(sys.stdout)
    with api_client() as api:
        api.sessions.get(session)  # an error at the start is reported, not retried
    with api_client(retries=RetryPolicy(max_retries=ATTEMPTS), sleep=wait) as api:
        try:
            for event in api.sessions.watch(session, after=after):
                screen.show(event)
        except KeyboardInterrupt as stopped:
            raise typer.Exit(INTERRUPTED) from stopped
