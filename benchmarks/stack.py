"""What is measured and what it is measured against, side by side on one Temporal server, each a process of its own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass

import httpx
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
    """Where the two sides are found."""

    client: Client
    """For the floor: a plain client of the server that both sides share."""
    api_url: str
    api_key: str


@asynccontextmanager
async def running_stack(*, demo_delay_seconds: float = 0.0) -> AsyncIterator[Stack]:
    """Temporal on SQLite as `playhead dev` runs it, the floor's worker, and a Playhead worker and API.

    The offline demo model answers; every reply of text takes it `demo_delay_seconds`.
    """
    workshop = DemoFiles.make()
    place = ServerAddresses(workshop.folder, free_port(), free_port())
    api_port = free_port()
    async with AsyncExitStack() as opened:
        opened.callback(workshop.remove)
        database = await opened.enter_async_context(aclosing(Database.open(workshop.database_url)))
        await opened.enter_async_context(temporal_server(place))
        await upgrade(database)
        _, secret = await KeyStore(database).create(ORGANIZATION, "benchmarks")
        environment = environment_of(os.environ, workshop, place, api_port, DEMO_MODEL)
        environment |= {
            "PLAYHEAD_DEMO_DELAY_SECONDS": f"{demo_delay_seconds:g}",
            "PLAYHEAD_MODEL_HEARTBEAT_TIMEOUT_SECONDS": "10",
        }
        environment["PLAYHEAD_LOG_LEVEL"] = "warning"
        opened.push_async_callback((await _floor_worker(place)).end)
        for name in ("worker", "api"):
            log_file = workshop.log_file(name)
            service = await Service.start(name, name, environment=environment, log_file=log_file)
            opened.push_async_callback(service.end)
        api_url = f"http://{LOOPBACK}:{api_port}"
        await until_ready(api_url)
        yield Stack(client=await Client.connect(place.address), api_url=api_url, api_key=secret)


class _FloorWorker:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def end(self) -> None:
        self._process.terminate()
        await self._process.wait()


async def _floor_worker(place: ServerAddresses) -> _FloorWorker:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.floor", place.address), preexec_fn=kill_with_parent()
    )
    return _FloorWorker(process)


async def until_ready(api_url: str) -> None:
    """Wait until an API answers."""
    async with asyncio.timeout(READY_SECONDS), httpx.AsyncClient(base_url=api_url, trust_env=False) as http:
        while True:
            try:
                if (await http.get("/readyz")).is_success:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
