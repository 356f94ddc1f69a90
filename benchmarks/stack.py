"""The floor and the measured services on one Temporal server, each a process of its own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass

import httpx2
from temporalio.client import Client

from playhead.demo.stack import ORGANIZATION, DemoFiles, Service, environment_of
from playhead.demo_model import DEMO_MODEL
from playhead.temporal.dev_server import LOOPBACK, ServerAddresses, free_port, kill_with_parent, temporal_server
from store.api_keys import KeyStore
from store.database.connection import Database
from store.migrate import upgrade

READY_SECONDS = 60.0


@dataclass(frozen=True)
class Stack:
    """Clients' access to the two sides."""

    client: Client
    """A plain client of the shared server, for the floor."""
    api_url: str
    api_key: str


@dataclass(frozen=True)
class Ground:
    """A Temporal server and a store with a key, on which a benchmark runs its services."""

    files: DemoFiles
    addresses: ServerAddresses
    environment: dict[str, str]
    """Environment variables of the services."""
    api_url: str
    api_key: str

    async def start(self, name: str) -> Service:
        """Start a service: `worker` or `api`."""
        return await Service.start(name, name, environment=self.environment, log_file=self.files.log_file(name))


@asynccontextmanager
async def prepared_ground(*, demo_delay_seconds: float = 0.0) -> AsyncIterator[Ground]:
    """Run Temporal on SQLite as `playhead dev` does, beside a store on SQLite.

    Services answer with the offline demo model; each text reply takes `demo_delay_seconds`.
    """
    files = DemoFiles.make()
    addresses = ServerAddresses(files.folder, free_port(), free_port())
    api_port = free_port()
    async with AsyncExitStack() as exit_stack:
        exit_stack.callback(files.remove)
        database = await exit_stack.enter_async_context(aclosing(Database.open(files.database_url)))
        await exit_stack.enter_async_context(temporal_server(addresses))
        await upgrade(database)
        _, secret = await KeyStore(database).create(ORGANIZATION, "benchmarks")
        environment = environment_of(os.environ, files, addresses, api_port, DEMO_MODEL)
        environment |= {
            "PLAYHEAD_DEMO_DELAY_SECONDS": f"{demo_delay_seconds:g}",
            "PLAYHEAD_MODEL_HEARTBEAT_TIMEOUT_SECONDS": "10",
            "PLAYHEAD_LOG_LEVEL": "warning",
        }
        yield Ground(files, addresses, environment, f"http://{LOOPBACK}:{api_port}", secret)


@asynccontextmanager
async def running_stack(*, demo_delay_seconds: float = 0.0) -> AsyncIterator[Stack]:
    """The floor's worker, and a Playhead worker and API, on one Temporal server."""
    async with prepared_ground(demo_delay_seconds=demo_delay_seconds) as ground, AsyncExitStack() as exit_stack:
        exit_stack.push_async_callback((await _floor_worker(ground.addresses)).end)
        for name in ("worker", "api"):
            exit_stack.push_async_callback((await ground.start(name)).end)
        await wait_until_ready(ground.api_url)
        client = await Client.connect(ground.addresses.address)
        yield Stack(client=client, api_url=ground.api_url, api_key=ground.api_key)


class _FloorWorker:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def end(self) -> None:
        self._process.terminate()
        await self._process.wait()


async def _floor_worker(addresses: ServerAddresses) -> _FloorWorker:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.floor", addresses.address), preexec_fn=kill_with_parent()
    )
    return _FloorWorker(process)


async def wait_until_ready(api_url: str) -> None:
    """Wait until an API is ready."""
    async with asyncio.timeout(READY_SECONDS), httpx2.AsyncClient(base_url=api_url, trust_env=False) as http:
        while True:
            try:
                if (await http.get("/readyz")).is_success:
                    return
            except httpx2.TransportError:
                pass
            await asyncio.sleep(0.1)
