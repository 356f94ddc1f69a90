"""`playhead db` and `playhead keys`: what is done at the store itself, with its settings, on its machine."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from playhead.cli.agents import AsJson
from playhead.cli.services import settings_of_environment
from playhead.exit_codes import UNREACHABLE, USAGE, CommandFailed

if TYPE_CHECKING:
    from playhead.temporal.payload_pruning import PruningResult
    from store.database.connection import Database

DEFAULT_ORGANIZATION = "default"

db = typer.Typer(help="Look after the store.", no_args_is_help=True)
keys = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)

Done = TypeVar("Done")


@db.command()
def upgrade(json: AsJson = False) -> None:
    """Bring the store's schema up to date; does nothing where it is."""
    from playhead.output.tables import print_json
    from store.migrate import upgrade as upgrade_schema

    applied = at_store(upgrade_schema, migrated=False)
    if json:
        print_json({"applied": applied})
    elif applied:
        sys.stdout.write(f"The store is up to date; {len(applied)} migration(s) applied: {', '.join(applied)}\n")
    else:
        sys.stdout.write("The store was up to date.\n")


@db.command()
def prune(json: AsJson = False) -> None:
    """Remove the large payloads that Temporal no longer refers to. Needs Temporal's address as a worker does.

    Run it now and then, against the Temporal that this store's sessions run on: what another does not know is removed.
    """
    from dataclasses import asdict

    from playhead.output.tables import print_json
    from playhead.temporal.client import TemporalUnavailable, connect, outages_as_unavailable
    from playhead.temporal.payload_pruning import prune as prune_payloads

    async def work(database: "Database") -> "PruningResult":
        settings = settings_of_environment()
        with outages_as_unavailable(settings):
            return await prune_payloads(await connect(settings), database)

    try:
        pruned = at_store(work)
    except TemporalUnavailable as error:
        raise CommandFailed(f"Temporal cannot be reached: {error}", status=UNREACHABLE) from error
    if json:
        print_json(asdict(pruned))
    else:
        sys.stdout.write(
            f"Removed {pruned.removed} payload(s); {pruned.left} are left ({pruned.bytes_left:,} bytes).\n"
        )


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for, to tell it from others.")],
    organization: Annotated[str, typer.Option(help="Whose objects the key opens.")] = DEFAULT_ORGANIZATION,
    json: AsJson = False,
) -> None:
    """Make an API key. Its secret is printed once, alone on standard output, and cannot be shown again."""
    from playhead.output.tables import note, print_json
    from store.api_keys import KeyStore

    key, secret = at_store(lambda database: KeyStore(database).create(organization, name))
    if json:
        print_json({"id": key.id, "name": name, "organization": organization, "secret": secret})
    else:
        note(f"Key {key.id} of organization {organization}. Keep the secret now; only its hash is stored:")
        sys.stdout.write(f"{secret}\n")


@keys.command("ls")
def list_keys(json: AsJson = False) -> None:
    """List the API keys, with the end of each secret."""
    from playhead.output.tables import print_json, table
    from store.api_keys import KeyStore

    found = at_store(lambda database: KeyStore(database).list())
    rows = [
        {
            "id": key.id,
            "name": key.name,
            "organization": key.organization_id,
            "ends_with": key.last4,
            "created_at": key.created_at.isoformat(),
            "revoked_at": key.revoked_at and key.revoked_at.isoformat(),
        }
        for key in found
    ]
    if json:
        print_json(rows)
    else:
        columns = ("ID", "NAME", "ORGANIZATION", "ENDS WITH", "MADE (UTC)", "REVOKED (UTC)")
        table(
            columns,
            (_shown(row) for row in rows),
            empty="There are no keys. Make one: playhead keys create NAME",
        )


@keys.command()
def revoke(key: Annotated[str, typer.Argument(help="Id of the key (`playhead keys ls`).")]) -> None:
    """Revoke an API key: within seconds nobody is let in with it any more."""
    from store.api_keys import KeyStore

    if not at_store(lambda database: KeyStore(database).revoke(key)):
        raise CommandFailed(
            f"There is no key {key} that could be revoked.",
            status=USAGE,
            hint="`playhead keys ls` lists the keys that are valid.",
        )
    sys.stdout.write(f"Key {key} is revoked.\n")


def _shown(key: Mapping[str, object]) -> tuple[str, ...]:
    from datetime import datetime

    from rich.markup import escape

    from playhead.output.tables import moment

    *names, made, revoked = key.values()
    moments = (moment(datetime.fromisoformat(str(at))) if at else "" for at in (made, revoked))
    return (*(escape(str(name)) for name in names), *moments)


def at_store(work: Callable[["Database"], Awaitable[Done]], *, migrated: bool = True) -> Done:
    """Do something with the store. Raises CommandFailed when it is out of reach or its schema is not up to date."""
    from playhead.services.lifecycle import explain_database_errors, open_store, require_migrated
    from store.database.errors import StoreUnavailable

    async def do() -> Done:
        async with open_store(settings_of_environment()) as database:
            if migrated:
                await require_migrated(database)
            with explain_database_errors(database):
                return await work(database)

    try:
        return asyncio.run(do())
    except StoreUnavailable as error:
        raise CommandFailed(str(error), status=UNREACHABLE, hint="Is PLAYHEAD_DATABASE_URL right?") from error
