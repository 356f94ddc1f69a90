"""Commands that run services: the whole stack on one machine, or single services."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from playhead.demo_model import DEMO_MODEL
from playhead.exit_codes import USAGE, CommandFailed

if TYPE_CHECKING:
    from playhead.config.settings import Settings
    from playhead.temporal.dev_server import ServerAddresses

TEMPORAL_PORT = 7233
TEMPORAL_UI_PORT = 8233

DataDir = Annotated[Path | None, typer.Option(help="Folder for all data.", show_default=".playhead", file_okay=False)]
ApiPort = Annotated[int | None, typer.Option(help="Port of the API.", show_default="8080", min=1, max=65_535)]
TemporalPort = Annotated[int, typer.Option(help="Port of the Temporal server.", min=1, max=65_535)]
TemporalUiPort = Annotated[int, typer.Option(help="Port of the Temporal web UI.", min=1, max=65_535)]


def add_to(app: typer.Typer) -> None:
    """Add the service commands to the top level."""
    for command in (dev, temporal, worker, api):
        app.command()(command)


def dev(
    *,
    data_dir: DataDir = None,
    api_port: ApiPort = None,
    temporal_port: TemporalPort = TEMPORAL_PORT,
    temporal_ui_port: TemporalUiPort = TEMPORAL_UI_PORT,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser when ready.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the addresses as a line of JSON when ready.")] = False,
) -> None:
    """Run the whole stack on this machine.

    Starts the Temporal server with its web UI, a worker and the API, and adds the example agents to the store.
    Ctrl-C or SIGTERM stops everything; the data is kept in the data folder.
    """
    from playhead.services.dev_stack import run_dev
    from playhead.services.lifecycle import run_service
    from playhead.temporal.dev_server import ServerAddresses

    addresses = ServerAddresses(Path(), temporal_port, temporal_ui_port)
    settings = settings_of_environment(
        data_dir=data_dir,
        api_port=api_port,
        keyless=True,
        temporal_address=addresses.address,
        temporal_ui_url=addresses.ui_url,
    )
    # A versioned worker gets no tasks before its version is made current.
    settings = settings.model_copy(update={"build_id": None})
    addresses = ServerAddresses(settings.data_dir, temporal_port, temporal_ui_port)

    def when_ready(agents: list[str]) -> None:
        announce(settings, addresses, agents, as_json=json, data_dir=data_dir)
        if open_page:
            typer.launch(settings.api_url)

    run_service(settings, lambda stop: run_dev(settings, addresses, stop, when_ready=when_ready))


def temporal(
    data_dir: DataDir = None,
    temporal_port: TemporalPort = TEMPORAL_PORT,
    temporal_ui_port: TemporalUiPort = TEMPORAL_UI_PORT,
) -> None:
    """Run only the Temporal server and its UI."""
    import asyncio

    from playhead.services.lifecycle import run_service
    from playhead.temporal.dev_server import ServerAddresses, temporal_server

    settings = settings_of_environment(data_dir=data_dir)
    addresses = ServerAddresses(settings.data_dir, temporal_port, temporal_ui_port)

    async def serve(stop: asyncio.Event) -> None:
        async with temporal_server(addresses) as server:
            sys.stdout.write(f"Temporal is ready at {addresses.address}, its UI at {addresses.ui_url}\n")
            sys.stdout.flush()
            await server.watch(stop)

    run_service(settings, serve)


def worker() -> None:
    """Run a worker. It answers and bills the sessions of one task queue."""
    settings = settings_of_environment()
    from playhead.services.lifecycle import run_service
    from playhead.services.worker import run_worker

    run_service(settings, lambda stop: run_worker(settings, stop))


def api(
    api_host: Annotated[str | None, typer.Option(help="Address the API listens on.", show_default="127.0.0.1")] = None,
    api_port: ApiPort = None,
) -> None:
    """Run the HTTP API. It needs at least one API key (`playhead keys create`)."""
    settings = settings_of_environment(api_host=api_host, api_port=api_port)
    from playhead.services.api_server import run_api
    from playhead.services.lifecycle import run_service

    run_service(settings, lambda stop: run_api(settings, stop))


def settings_of_environment(**given: object) -> "Settings":
    """The settings of this process, overridden by the command line. Raises CommandFailed for invalid ones."""
    from playhead.config.settings import InvalidSettings, load_settings

    try:
        return load_settings(**given)
    except InvalidSettings as error:
        raise CommandFailed(
            "\n".join(error.lines),
            status=USAGE,
            hint="`playhead settings` lists every setting with its meaning.",
        ) from None


def announce(
    settings: "Settings",
    addresses: "ServerAddresses",
    agents: list[str],
    *,
    as_json: bool,
    data_dir: Path | None = None,
) -> None:
    """Print the addresses of a stack that is ready, and how to talk to it."""
    import json

    from playhead.services.dev_stack import DEV_ORGANIZATION

    api_url = settings.api_url
    if as_json:
        ready = {"api_url": api_url, "temporal_address": addresses.address, "temporal_ui_url": addresses.ui_url}
        sys.stdout.write(json.dumps({**ready, "agents": agents, "model": settings.model}) + "\n")
        sys.stdout.flush()
        return
    rows = {
        "Page": f"{api_url}/",
        "API": f"{api_url}  (OpenAPI at {api_url}/openapi.json)",
        "Temporal UI": addresses.ui_url,
        "Temporal": addresses.address,
        "Data": str(settings.data_dir),
        "Model": settings.model,
        "Agents": ", ".join(agents),
        "OpenAI": f"{api_url}/v1 with the key {DEV_ORGANIZATION}, for OpenAI clients on this machine",
        "Containers": f"http://host.docker.internal:{settings.api_port}/v1 with a key of "
        f"`{_in_data_dir(data_dir)}playhead keys create container --organization {DEV_ORGANIZATION}`",
    }
    _print_ready(rows, settings, agents)


def _in_data_dir(data_dir: Path | None) -> str:
    """The beginning of a command that works in the data folder of the command line, as in a shell."""
    return "" if data_dir is None else f"PLAYHEAD_DATA_DIR={shlex.quote(str(data_dir))} "


def _print_ready(rows: Mapping[str, str], settings: "Settings", agents: list[str]) -> None:
    from rich.markup import escape

    from playhead.output.tables import console
    from playhead_client import API_URL

    out = console()
    out.print("\n[bold green]Playhead is ready.[/]")
    for name, value in rows.items():
        out.print(f"  [dim]{name:<12}[/] {escape(value)}")
    if settings.model == DEMO_MODEL:
        out.print(
            "  [yellow]No model provider is set: the offline demo model answers from a script.[/] "
            "Set PLAYHEAD_MODEL and the provider's key to talk to a real model."
        )
    url_variable = "" if settings.api_port == 8080 else f"{API_URL}={settings.api_url} "
    command = f"{url_variable}playhead chat {agents[0] if agents else 'AGENT'}"
    out.print(f"\nTalk to an agent: [bold]{command}[/]. Ctrl-C stops everything.\n")
    sys.stdout.flush()
