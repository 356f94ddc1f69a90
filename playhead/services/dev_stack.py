"""The stack of `playhead dev`: Temporal with its web UI, a worker and the API."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from playhead.exit_codes import UNREACHABLE, CommandFailed
from playhead.services.lifecycle import explain_database_errors, is_set_within, open_store, run_together
from playhead.temporal.dev_server import ServerAddresses, require_free, temporal_server

if TYPE_CHECKING:
    import httpx2

    from playhead.config.settings import Settings

DEV_ORGANIZATION = "dev"
READY_SECONDS = 60.0
"""Time for the API to become ready, once Temporal runs."""
PROBE_INTERVAL = 0.1

log = structlog.get_logger(__name__)


async def run_dev(
    settings: "Settings", addresses: ServerAddresses, stop: asyncio.Event, *, when_ready: Callable[[list[str]], None]
) -> None:
    """Run everything until `stop` is set; `when_ready` gets the names of the agents once the API is ready.

    Raises CommandFailed when a part cannot start or ends by itself.
    """
    require_free(settings.api_port, "--api-port")
    async with temporal_server(addresses) as temporal:
        agents = await prepare_store(settings)
        await run_together(
            stop,
            temporal.watch(stop),
            _run_services(settings, stop),
            _wait_until_ready(settings, stop, lambda: when_ready(agents)),
        )


async def prepare_store(settings: "Settings") -> list[str]:
    """Migrate the store and add missing example agents; returns the names of the examples."""
    from playhead.services.example_agents import add_missing_examples
    from store.migrate import upgrade

    async with open_store(settings) as database:
        with explain_database_errors(database):
            await upgrade(database)
        return await add_missing_examples(database, DEV_ORGANIZATION)


async def _run_services(settings: "Settings", stop: asyncio.Event) -> None:
    """Run worker and API. The worker stops last, so that open requests get their replies."""
    from playhead.services.api_server import run_api
    from playhead.services.worker import run_worker
    from streaming.hub import LiveHub

    stop_worker, hub = asyncio.Event(), LiveHub()

    async def api() -> None:
        try:
            await run_api(settings, stop, hub)
        finally:
            stop_worker.set()

    await run_together(stop, api(), run_worker(settings, stop_worker, hub))


async def _wait_until_ready(settings: "Settings", stop: asyncio.Event, when_ready: Callable[[], None]) -> None:
    """Wait until the API is ready, then call `when_ready`. Raises CommandFailed when that takes too long."""
    from httpx2 import AsyncClient

    async with AsyncClient(trust_env=False) as http:
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await _is_ready(http, settings):
                    if await is_set_within(stop, PROBE_INTERVAL):
                        return
        except TimeoutError:
            raise CommandFailed(
                f"The API was not ready within {READY_SECONDS:g} seconds.",
                status=UNREACHABLE,
                hint="The log lines above show what it was waiting for.",
            ) from None
    when_ready()
    await stop.wait()


async def _is_ready(http: "httpx2.AsyncClient", settings: "Settings") -> bool:
    from httpx2 import TransportError

    try:
        response = await http.get(f"{settings.api_url}/readyz")
    except TransportError:
        return False
    return response.is_success
