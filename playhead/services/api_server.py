"""The API service: the application on uvicorn, and the checks before it serves requests."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from contextlib import suppress

import structlog
import uvicorn
from temporalio.client import Client

from api.app import create_app
from api.dograh.embed_chats import Clock, utc_now
from playhead.config.settings import Settings
from playhead.exit_codes import USAGE, CommandFailed
from playhead.services.http_protocol import limited_protocol
from playhead.services.lifecycle import (
    freeze_garbage_collector,
    open_store,
    require_migrated,
    run_together,
    wait_until_reachable,
)
from playhead.services.live_streaming import api_hub
from playhead.temporal.client import TemporalUnavailable, connect, ensure_reachable
from playhead.temporal.dev_server import port_taken
from playhead.temporal.large_payloads import with_large_payloads
from store.api_keys import KeyStore
from store.database.connection import Database
from store.database.errors import StoreUnavailable
from streaming.hub import LiveHub

KEEP_ALIVE_SECONDS = 75
"""Keep-alive of an idle connection: longer than that of common proxies, so that they close first."""
SHUTDOWN_SECONDS = 5
"""Time for open requests to end when the API stops; the turns they wait for continue without them."""

log = structlog.get_logger(__name__)


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to its caller and closes event streams when it stops."""

    def __init__(self, config: uvicorn.Config, hub: LiveHub) -> None:
        super().__init__(config)
        self._hub = hub

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close all event streams, then stop."""
        self._hub.close()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Change no signal handlers."""
        yield


def build_api(
    settings: Settings, client: Client, database: Database, hub: LiveHub | None = None, *, clock: Clock = utc_now
) -> Server:
    """The HTTP server of the application, not started. Event streams deliver what is published to the hub.

    `clock` is the time source for the rate limits and the expiry of public chats.
    """
    hub = hub or LiveHub()
    client = with_large_payloads(client, database, threshold=settings.payload_offload_threshold_bytes)
    return Server(
        uvicorn.Config(
            create_app(settings.api(), client=client, database=database, hub=hub, clock=clock),
            http=limited_protocol(),
            ws="none",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            log_config=None,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ),
        hub,
    )


async def run_api(settings: Settings, stop: asyncio.Event, hub: LiveHub | None = None) -> None:
    """Serve until `stop` is set. While the store or Temporal is down, requests get 503.

    `hub` is shared with a worker in this process, which publishes to it.

    Raises CommandFailed when the port is taken, the store is not migrated, or there is no API key.
    """
    with listening_socket(settings.api_host, settings.api_port) as listener:
        async with open_store(settings) as database:
            with suppress(StoreUnavailable):
                await require_ready_to_serve(settings, database)
            client = await connect(settings, lazy=True)
            async with api_hub(database, hub) as own_hub:
                server = build_api(settings, client, database, own_hub)
                await run_together(
                    stop,
                    _serve(server, listener, settings),
                    _prepare(settings, database, stop),
                    _end_with(stop, server),
                )
    log.info("API stopped")


async def require_ready_to_serve(settings: Settings, database: Database) -> None:
    """Require a migrated store and a valid API key. Raises CommandFailed, or StoreUnavailable."""
    await require_migrated(database)
    if settings.keyless:
        return
    if all(key.revoked_at for key in await KeyStore(database).list()):
        raise CommandFailed(
            "There is no valid API key, so no client could call this API.",
            status=USAGE,
            hint="Create one with `playhead keys create NAME`, then start again. `playhead dev` needs no keys.",
        )


@contextlib.contextmanager
def listening_socket(host: str, port: int, option: str = "--api-port or PLAYHEAD_API_PORT") -> Iterator[socket.socket]:
    """A listening socket. Raises CommandFailed, naming the `option` to change, when the address cannot be used."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise port_taken(host, port, option, error) from error
    with listener:
        yield listener


async def _serve(server: Server, listener: socket.socket, settings: Settings) -> None:
    freeze_garbage_collector()
    log.info("API listening", address=settings.api_url)
    await server.serve(sockets=[listener])


async def _prepare(settings: Settings, database: Database, stop: asyncio.Event) -> None:
    """Run the checks that were not possible while the store or Temporal was unavailable."""
    await wait_until_reachable(
        "The store", lambda: require_ready_to_serve(settings, database), unreachable=(StoreUnavailable,), stop=stop
    )
    await wait_until_reachable(
        "Temporal", lambda: ensure_reachable(settings), unreachable=(TemporalUnavailable,), stop=stop
    )
    await stop.wait()


async def _end_with(stop: asyncio.Event, server: Server) -> None:
    await stop.wait()
    server.should_exit = True
