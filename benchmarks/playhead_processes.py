"""Playhead as it is deployed: workers and APIs as processes of their own, on SQLite or PostgreSQL, and Temporal."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.processes import find
from benchmarks.stack import wait_until_ready
from playhead.demo.stack import ORGANIZATION, DemoFiles, Service, environment_of
from playhead.temporal.dev_server import LOOPBACK, ServerAddresses, free_port, temporal_server
from store.api_keys import KeyStore
from store.database.connection import Database
from store.migrate import upgrade


@dataclass
class PlayheadProcesses:
    """Running services; `kill` and `start` show what survives a crash."""

    api_key: str
    temporal_address: str
    temporal_pid: int
    folder: Path
    _environment: Mapping[str, str]
    _api_ports: list[int]
    _workers: int
    workers: list[Service] = field(default_factory=list)
    apis: list[Service] = field(default_factory=list)

    @property
    def api_urls(self) -> list[str]:
        return [f"http://{LOOPBACK}:{port}" for port in self._api_ports]

    async def start(self) -> None:
        """Start all workers and APIs; they are ready when this returns."""
        for number in range(self._workers):
            self.workers.append(await self._service("worker", number, {}))
        for number, port in enumerate(self._api_ports):
            self.apis.append(await self._service("api", number, {"PLAYHEAD_API_PORT": str(port)}))
        await asyncio.gather(*(wait_until_ready(url) for url in self.api_urls))

    async def kill(self) -> None:
        """End all workers and APIs with SIGKILL."""
        await asyncio.gather(*(service.kill() for service in (*self.workers, *self.apis)))
        self.workers, self.apis = [], []

    async def end(self) -> None:
        """Stop all workers and APIs."""
        await asyncio.gather(*(service.end() for service in (*self.workers, *self.apis)))

    async def _service(self, command: str, number: int, settings: Mapping[str, str]) -> Service:
        log_file = self.folder / f"{command}-{number}.log"
        environment = {**self._environment, **settings}
        return await Service.start(f"{command}-{number}", command, environment=environment, log_file=log_file)


@asynccontextmanager
async def running_playhead(
    *, model: str, settings: Mapping[str, str], database_url: str = "", workers: int = 1, apis: int = 1
) -> AsyncIterator[PlayheadProcesses]:
    """Run the services while the block runs, on SQLite by default. `settings` are environment variables."""
    files = DemoFiles.make()
    addresses = ServerAddresses(files.folder, free_port(), free_port())
    async with AsyncExitStack() as exit_stack:
        exit_stack.callback(files.remove)
        url = database_url or files.database_url
        async with aclosing(Database.open(url)) as database:
            await upgrade(database)
            _, secret = await KeyStore(database).create(ORGANIZATION, "benchmarks")
        await exit_stack.enter_async_context(temporal_server(addresses))
        environment = environment_of(os.environ, files, addresses, free_port(), model)
        environment |= {"PLAYHEAD_DATABASE_URL": url, "PLAYHEAD_LOG_LEVEL": "warning"}
        environment |= {"PLAYHEAD_MODEL_HEARTBEAT_TIMEOUT_SECONDS": "10", **settings}
        playhead = PlayheadProcesses(
            api_key=secret,
            temporal_address=addresses.address,
            temporal_pid=find("start-dev", f"--port {addresses.port} "),
            folder=files.folder,
            _environment=environment,
            _api_ports=[free_port() for _ in range(apis)],
            _workers=workers,
        )
        exit_stack.push_async_callback(playhead.end)
        await playhead.start()
        yield playhead


def prices_of(model: str) -> dict[str, str]:
    """A setting that gives a model a price, so that its turns are billed."""
    return {"PLAYHEAD_PRICES": json.dumps({model: {"input": "0.25", "output": "2.00"}})}
