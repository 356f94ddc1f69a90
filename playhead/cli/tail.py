"""`playhead sessions tail`: follow a session while it happens."""

import sys
from typing import Annotated

import typer

from playhead.cli.agents import AsJson
from playhead.cli.sessions import Session
from playhead.exit_codes import INTERRUPTED

ATTEMPTS = 60
"""How often a lost connection is sought again before the command gives up: about eight minutes."""


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module to `playhead sessions`."""
    app.command()(tail)


def tail(
    session: Session,
    after: Annotated[
        int | None,
        typer.Option(help="Begin after the event of this number; 0 tells everything.", show_default="now", min=0),
    ] = None,
    json: AsJson = False,
) -> None:
    """Follow a session until it is over: what is said, as it is said, and all that happens."""
    import time

    from playhead.cli.api_client import calling_api
    from playhead.output.event_tail import JsonTail, PlainTail, Tail
    from playhead.output.tables import note
    from playhead_client import RetryPolicy

    def wait(seconds: float) -> None:
        note(f"The connection to the API is lost. Trying again in {seconds:g} s.")
        time.sleep(seconds)

    screen: Tail = JsonTail(sys.stdout) if json else PlainTail(sys.stdout)
    with calling_api() as api:
        api.sessions.get(session)  # what is wrong from the start is told, and not tried again
    with calling_api(retries=RetryPolicy(max_retries=ATTEMPTS), sleep=wait) as api:
        try:
            for event in api.sessions.watch(session, after=after):
                screen.tell(event)
        except KeyboardInterrupt as stopped:
            raise typer.Exit(INTERRUPTED) from stopped
