"""The whole of Playhead on one machine: Temporal, its web UI, worker and API, started and stopped as one."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from playhead.exit_codes import UNREACHABLE, CommandFailed
from playhead.services.lifecycle import is_set_within, opened, refusals_explained, run_together
from playhead.temporal.dev_server import ServerAddresses, require_free, temporal_server

if TYPE_CHECKING:
    import httpx

    from playhead.config.settings import Settings

DEV_ORGANIZATION = "dev"
READY_SECONDS = 60.0
"""How long the API may take until it is ready, once Temporal runs."""
PROBE_PAUSE = 0.1

log = structlog.get_logger(__name__)


async def run_dev(
    settings: "Settings", place: ServerAddresses, stop: asyncio.Event, *, when_ready: Callable[[list[str]], None]
) -> None:
    """Run everything until `stop` is set; `when_ready` gets the names of the agents once calls are answered.

    Raises CommandFailed when a part cannot start or ends by itself.
    """
    require_free(settings.api_port, "--api-port")
    async with temporal_server(place) as temporal:
        agents = await prepare_store(settings)
        await run_together(
            stop,
            temporal.watch(stop),
            _run_services(settings, stop),
            _announce(settings, stop, lambda: when_ready(agents)),
        )


async def prepare_store(settings: "Settings") -> list[str]:
    """Bring the store up to date and give it the example agents it lacks; the names of the examples."""
    from playhead.services.example_agents import add_missing_examples
    from store.migrate import upgrade

    async with opened(settings) as database:
        with refusals_explained(database):
            await upgrade(database)
        return await add_missing_examples(database, DEV_ORGANIZATION)


async def _run_services(settings: "Settings", stop: asyncio.Event) -> None:
    """Run worker and API. The worker outlives the API, so that requests the API still answers get their replies."""
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


async def _announce(settings: "Settings", stop: asyncio.Event, when_ready: Callable[[], None]) -> None:
    """Say once that everything is ready. Raises CommandFailed when that takes too long."""
    from httpx import AsyncClient

    async with AsyncClient(trust_env=False) as http:
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await _is_ready(http, settings):
                    if await is_set_within(stop, PROBE_PAUSE):
                        return
        except TimeoutError:
            raise CommandFailed(
                f"The API was not ready within {READY_SECONDS:g} seconds.",
                status=UNREACHABLE,
                hint="The log lines above say what it waited for.",
            ) from None
    when_ready()
    await stop.wait()


async def _is_ready(http: "httpx.AsyncClient", settings: "Settings") -> bool:
    from httpx import TransportError

    try:
        response = await http.get(f"{settings.api_url}/readyz")
    except TransportError:
        return False
    return response.is_success
