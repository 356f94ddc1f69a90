"""`playhead embed`: embed tokens, which let pages of other sites open public chats, directly in the store."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from playhead.cli.agents import AsJson
from playhead.cli.database import DEFAULT_ORGANIZATION, run_on_store
from playhead.exit_codes import USAGE, CommandFailed

if TYPE_CHECKING:
    from pydantic import JsonValue

    from store.database.connection import Database
    from store.embed import EmbedToken

MAX_SETTINGS_BYTES = 8_192

app = typer.Typer(help="Create, list and revoke embed tokens of web pages.", no_args_is_help=True)


@app.command()
def create(
    agent: Annotated[str, typer.Argument(help="Name or id of the agent that visitors talk to.")],
    *,
    origin: Annotated[
        list[str],
        typer.Option(
            help="Origin of the pages: https://shop.example.com, https://*.example.com for all names below one, "
            "or * for any. Can be repeated."
        ),
    ],
    organization: Annotated[
        str, typer.Option(help="Organization of the agent, which pays for the chats.")
    ] = DEFAULT_ORGANIZATION,
    name: Annotated[str, typer.Option(help="Name of the token, such as the page that uses it.")] = "",
    version: Annotated[
        int | None, typer.Option(min=1, help="Version of the agent; without it always the latest.")
    ] = None,
    max_sessions: Annotated[int | None, typer.Option(min=1, help="Chats that can be opened with the token.")] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=3_650, help="Days after which the token opens no more chats.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON file with settings of dograh's widget.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Create an embed token. It is printed once, alone on standard output, and cannot be shown again."""
    from playhead.output.tables import note, print_json
    from store.agents import AgentStore
    from store.embed import EmbedStore

    origins = _origins(origin)
    widget = _settings(settings) if settings else {}
    now = datetime.now(UTC)

    async def work(database: "Database") -> "tuple[EmbedToken, str]":
        found = await AgentStore(database).find(organization, agent, version)
        if found is None:
            wanted = f"{agent}, version {version}," if version else agent
            raise CommandFailed(
                f"There is no agent {wanted} in organization {organization}.",
                status=USAGE,
                hint="`playhead agents ls` lists agents; --organization names another organization.",
            )
        return await EmbedStore(database).create(
            organization,
            found.id,
            name or found.name,
            origins=origins,
            agent_version=version,
            settings=widget,
            max_sessions=max_sessions,
            expires_at=now + timedelta(days=days) if days else None,
            at=now,
        )

    token, secret = run_on_store(work)
    if json:
        print_json({"id": token.id, "name": token.name, "organization": organization, "token": secret})
    else:
        note(f"Embed token {token.id} of organization {organization}. Save it now; only its hash is stored:")
        sys.stdout.write(f"{secret}\n")


@app.command("ls")
def list_tokens(json: AsJson = False) -> None:
    """List embed tokens, with the last characters of each."""
    from rich.markup import escape

    from playhead.output.tables import moment, print_json, table
    from store.embed import EmbedStore

    found = run_on_store(lambda database: EmbedStore(database).list())
    if json:
        print_json([_row(token) for token in found])
        return
    columns = ("ID", "NAME", "ORGANIZATION", "AGENT", "ORIGINS", "CHATS", "ENDS WITH", "REVOKED (UTC)")
    table(
        columns,
        (
            (
                *(escape(word) for word in (token.id, token.name, token.organization_id, _agent(token))),
                escape(" ".join(token.origins)),
                f"{token.session_count}{f' of {token.max_sessions}' if token.max_sessions else ''}",
                escape(token.last4),
                moment(token.revoked_at) if token.revoked_at else "",
            )
            for token in found
        ),
        empty="No embed tokens. Create one: playhead embed create AGENT --origin https://shop.example.com",
    )


@app.command()
def revoke(token: Annotated[str, typer.Argument(help="Id of the token (`playhead embed ls`).")]) -> None:
    """Revoke an embed token. It stops working at once, with the chats that were opened with it."""
    from store.embed import EmbedStore

    if not run_on_store(lambda database: EmbedStore(database).revoke(token, datetime.now(UTC))):
        raise CommandFailed(
            f"There is no valid embed token {token} to revoke.",
            status=USAGE,
            hint="`playhead embed ls` lists the tokens.",
        )
    sys.stdout.write(f"Embed token {token} is revoked.\n")


def _origins(given: list[str]) -> tuple[str, ...]:
    from domain.dograh.origins import parse_origin

    try:
        return tuple(dict.fromkeys(map(parse_origin, given)))
    except ValueError as error:
        raise CommandFailed(f"--origin: {error}.", status=USAGE) from error


def _settings(file: Path) -> "dict[str, JsonValue]":
    import json

    from domain.agents.validation_errors import JsonCopy

    try:
        text = file.read_text(encoding="utf-8")
        parsed: object = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise CommandFailed(f"--settings: {file} cannot be read as JSON: {error}", status=USAGE) from error
    if not isinstance(parsed, dict) or JsonCopy(parsed).issues or len(text.encode()) > MAX_SETTINGS_BYTES:
        raise CommandFailed(
            f"--settings: {file} must be a JSON object of at most {MAX_SETTINGS_BYTES:,} bytes.", status=USAGE
        )
    return parsed


def _agent(token: "EmbedToken") -> str:
    return f"{token.agent_id}{f' v{token.agent_version}' if token.agent_version else ''}"


def _row(token: "EmbedToken") -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "organization": token.organization_id,
        "agent_id": token.agent_id,
        "agent_version": token.agent_version,
        "origins": list(token.origins),
        "settings": token.settings,
        "ends_with": token.last4,
        "sessions": token.session_count,
        "max_sessions": token.max_sessions,
        "created_at": token.created_at.isoformat(),
        "expires_at": token.expires_at and token.expires_at.isoformat(),
        "revoked_at": token.revoked_at and token.revoked_at.isoformat(),
    }
