"""`playhead db` and `playhead keys`: commands that work on the store directly, with its settings."""

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

db = typer.Typer(help="Migrate and prune the store.", no_args_is_help=True)
keys = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)

Result = TypeVar("Result")


@db.command()
def upgrade(json: AsJson = False) -> None:
    """Bring the store's schema up to date."""
    from playhead.output.tables import print_json
    from store.migrate import upgrade as upgrade_schema

    applied = run_on_store(upgrade_schema, migrated=False)
    if json:
        print_json({"applied": applied})
    elif applied:
        sys.stdout.write(f"The store is up to date; {len(applied)} migration(s) applied: {', '.join(applied)}\n")
    else:
        sys.stdout.write("The store is already up to date.\n")


@db.command()
def prune(json: AsJson = False) -> None:
    """Remove large payloads that Temporal no longer refers to. Reads Temporal's address as a worker does.

    Run it occasionally, and only against the Temporal server of this store's sessions: payloads that the server does
    not know are removed.
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
        pruned = run_on_store(work)
    except TemporalUnavailable as error:
        raise CommandFailed(f"Temporal cannot be reached: {error}", status=UNREACHABLE) from error
    if json:
        print_json(asdict(pruned))
    else:
        sys.stdout.write(f"Removed {pruned.removed} payload(s); {pruned.left} remain ({pruned.bytes_left:,} bytes).\n")


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the key, such as the client that uses it.")],
    organization: Annotated[str, typer.Option(help="Organization that the key belongs to.")] = DEFAULT_ORGANIZATION,
    json: AsJson = False,
) -> None:
    """Create an API key. Its secret is printed once, alone on standard output, and cannot be shown again."""
    from playhead.output.tables import note, print_json
    from store.api_keys import KeyStore

    key, secret = run_on_store(lambda database: KeyStore(database).create(organization, name))
    if json:
        print_json({"id": key.id, "name": name, "organization": organization, "key": secret})
    else:
        note(f"Key {key.id} of organization {organization}. Save the secret now; only its hash is stored:")
        sys.stdout.write(f"{secret}\n")


@keys.command("ls")
def list_keys(json: AsJson = False) -> None:
    """List API keys, with the last characters of each secret."""
    from playhead.output.tables import print_json, table
    from store.api_keys import KeyStore

    found = run_on_store(lambda database: KeyStore(database).list())
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
        columns = ("ID", "NAME", "ORGANIZATION", "ENDS WITH", "CREATED (UTC)", "REVOKED (UTC)")
        table(
            columns,
            (_shown(row) for row in rows),
            empty="No keys. Create one: playhead keys create NAME",
        )


@keys.command()
def revoke(key: Annotated[str, typer.Argument(help="Id of the key (`playhead keys ls`).")]) -> None:
    """Revoke an API key. It stops working within seconds."""
    from store.api_keys import KeyStore

    if not run_on_store(lambda database: KeyStore(database).revoke(key)):
        raise CommandFailed(
            f"There is no valid key {key} to revoke.",
            status=USAGE,
            hint="`playhead keys ls` lists the keys.",
        )
    sys.stdout.write(f"Key {key} is revoked.\n")


def _shown(key: Mapping[str, object]) -> tuple[str, ...]:
    from datetime import datetime

    from rich.markup import escape

    from playhead.output.tables import moment

    *names, created, revoked = key.values()
    moments = (moment(datetime.fromisoformat(str(at))) if at else "" for at in (created, revoked))
    return (*(escape(str(name)) for name in names), *moments)


def run_on_store(work: Callable[["Database"], Awaitable[Result]], *, migrated: bool = True) -> Result:
    """Run `work` on the store. Raises CommandFailed when it cannot be reached or its schema is not up to date."""
    from playhead.services.lifecycle import explain_database_errors, open_store, require_migrated
    from store.database.errors import StoreUnavailable

    async def do() -> Result:
        async with open_store(settings_of_environment()) as database:
            if migrated:
                await require_migrated(database)
            with explain_database_errors(database):
                return await work(database)

    try:
        return asyncio.run(do())
    except StoreUnavailable as error:
        raise CommandFailed(str(error), status=UNREACHABLE, hint="Check PLAYHEAD_DATABASE_URL.") from error
