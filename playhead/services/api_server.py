"""The API service: the application behind uvicorn, and the conditions under which it may serve."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from contextlib import suppress

import structlog
import uvicorn
from temporalio.client import Client

from api.app import create_app
from playhead.config.settings import Settings
from playhead.exit_codes import USAGE, CommandFailed
from playhead.services.lifecycle import opened, require_migrated, run_together, spare_what_stays, until_reached
from playhead.services.live_streaming import watched_at_this_api
from playhead.temporal.client import TemporalUnavailable, connect, ensure_reachable
from playhead.temporal.dev_server import port_taken
from playhead.temporal.large_payloads import with_large_payloads
from store.api_keys import KeyStore
from store.database.connection import Database
from store.database.errors import StoreUnavailable
from streaming.hub import LiveHub

IDLE_SECONDS = 75
"""How long an idle connection is kept: longer than common proxies keep theirs, so that they close first."""
GRACE_SECONDS = 5
"""How long open requests may go on after the API was told to stop; the turns they wait for go on without them."""

log = structlog.get_logger(__name__)


class Server(uvicorn.Server):
    """A uvicorn server that leaves the process's signals to its caller, and lets no event stream hold up its end."""

    def __init__(self, config: uvicorn.Config, hub: LiveHub) -> None:
        super().__init__(config)
        self._hub = hub

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, once those who watch sessions have been sent home."""
        self._hub.close()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Change no signal handlers."""
        yield


def build_api(settings: Settings, client: Client, database: Database, hub: LiveHub | None = None) -> Server:
    """The HTTP server around the application, not running yet. What the hub is told is sent to those who watch."""
    hub = hub or LiveHub()
    client = with_large_payloads(client, database, threshold=settings.payload_offload_threshold_bytes)
    return Server(
        uvicorn.Config(
            create_app(settings.api(), client=client, database=database, hub=hub),
            http="httptools",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            log_config=None,
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=IDLE_SECONDS,
        ),
        hub,
    )


async def run_api(settings: Settings, stop: asyncio.Event, hub: LiveHub | None = None) -> None:
    """Serve until `stop` is set. The store and Temporal may be down: requests are refused until they are back.

    With a hub, a worker in this process tells it what happens in the sessions that are watched.

    Raises CommandFailed when the port cannot be had, the store is not migrated, or there is no API key.
    """
    with listening(settings.api_host, settings.api_port) as listener:
        async with opened(settings) as database:
            with suppress(StoreUnavailable):
                await require_servable(settings, database)
            client = await connect(settings, lazy=True)
            async with watched_at_this_api(database, hub) as own_hub:
                server = build_api(settings, client, database, own_hub)
                await run_together(
                    stop,
                    _serve(server, listener, settings),
                    _prepare(settings, database, stop),
                    _end_with(stop, server),
                )
    log.info("the API has stopped")


async def require_servable(settings: Settings, database: Database) -> None:
    """Refuse to serve from a store that is not migrated, or without keys. Raises CommandFailed, or StoreUnavailable."""
    await require_migrated(database)
    if settings.keyless:
        return
    if all(key.revoked_at for key in await KeyStore(database).list()):
        raise CommandFailed(
            "There is no valid API key, so nobody could call this API.",
            status=USAGE,
            hint="Make one with `playhead keys create NAME`, then start again. `playhead dev` needs no keys.",
        )


@contextlib.contextmanager
def listening(host: str, port: int, option: str = "--api-port or PLAYHEAD_API_PORT") -> Iterator[socket.socket]:
    """A listening socket. Raises CommandFailed when the address cannot be had, naming the `option` that changes it."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise port_taken(host, port, option, error) from error
    with listener:
        yield listener


async def _serve(server: Server, listener: socket.socket, settings: Settings) -> None:
    spare_what_stays()
    log.info("the API listens", address=settings.api_url)
    await server.serve(sockets=[listener])


async def _prepare(settings: Settings, database: Database, stop: asyncio.Event) -> None:
    """Check once they are there what could not be checked while the store or Temporal was away."""
    await until_reached(
        "the store", lambda: require_servable(settings, database), unreachable=(StoreUnavailable,), stop=stop
    )
    await until_reached("Temporal", lambda: ensure_reachable(settings), unreachable=(TemporalUnavailable,), stop=stop)
    await stop.wait()


async def _end_with(stop: asyncio.Event, server: Server) -> None:
    await stop.wait()
    server.should_exit = True
