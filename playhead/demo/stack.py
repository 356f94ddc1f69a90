"""The demo's stack: Temporal, API and worker as processes of their own on free ports and in a temporary folder."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Self, TypeVar

import httpx2
from temporalio.client import Client

from playhead.demo_model import DEMO_MODEL
from playhead.services.example_agents import add_missing_examples
from playhead.temporal.client import PlayheadPlugin
from playhead.temporal.dev_server import LOOPBACK, ServerAddresses, free_port, kill_with_parent, temporal_server
from playhead.temporal.large_payloads import with_large_payloads
from store.api_keys import KeyStore
from store.database.connection import Database
from store.migrate import upgrade

ORGANIZATION = "demo"
NOTIONAL_PRICE = {"demo:scripted": {"input": "0.25", "output": "2.00"}}
"""US dollars per million tokens: prices of a small real model, applied to the offline demo model."""
REPLY_SECONDS = 0.6
"""Duration of a reply of the offline demo model: long enough to kill the worker in the middle of it."""
HEARTBEAT_TIMEOUT_SECONDS = 2.0
"""Heartbeat timeout of a model call: short, so that another worker soon takes over."""
REQUEST_TIMEOUT_SECONDS = 150.0
"""Longest wait of the API for a reply, including the death of its worker."""
READY_SECONDS = 60.0
STOP_SECONDS = 3.0
"""Time for services to become ready, and to stop before they are killed."""
EXIT_NOTICE_SECONDS = 1.0
"""Time to notice that a service has ended after its connections broke."""
PROBE_INTERVAL_SECONDS = 0.05
MAX_LOG_LINES = 8
INHERITED_SETTINGS = ("PLAYHEAD_PRICES", "PLAYHEAD_MODEL_TIMEOUT_SECONDS")
"""Settings taken over from the environment; all others are the demo's own."""

Result = TypeVar("Result")


class Service:
    """One `playhead` command as a process, with a log file of its own."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log_file: Path) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._log_file = log_file
        self._stopping = False

    @classmethod
    async def start(cls, name: str, *command: str, environment: Mapping[str, str], log_file: Path) -> Self:
        """Start `playhead <command>`. It dies with this process, however that ends."""
        with log_file.open("wb") as written:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-c", "from playhead.cli.main import main; main()"),
                *command,
                cwd=log_file.parent,  # a folder in which no `.env` of the user adds settings
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                start_new_session=True,  # Ctrl-C reaches the demo only, which ends its services in order
                preexec_fn=kill_with_parent(),
            )
        return cls(name, process, log_file)

    async def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self._stopping = True
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def end(self) -> None:
        """Stop the process; kill it if that takes too long."""
        self._stopping = True
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            await self.kill()

    async def watch(self) -> None:
        """Return when the process was stopped. Raises DemoFailed when it ends by itself."""
        status = await self._process.wait()
        if not self._stopping:
            lines = self._log_file.read_text(errors="replace").splitlines()[-MAX_LOG_LINES:]
            quoted = "".join(f"\n  {line}" for line in lines)
            raise DemoFailed(
                f"{self.name} ended by itself with status {status}", details=f"Its last log lines:{quoted}"
            )


@dataclass(frozen=True)
class DemoFiles:
    """The temporary folder of the demo."""

    folder: Path

    @classmethod
    def make(cls) -> Self:
        """A new folder."""
        return cls(Path(mkdtemp(prefix="playhead-demo-")))

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.folder / 'playhead.db'}"

    def log_file(self, name: str) -> Path:
        """The log file of a service."""
        return self.folder / f"{name}.log"

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep_logs(self) -> Path:
        """Remove everything but the logs; returns their folder."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.suffix != ".log":
                path.unlink(missing_ok=True)
        return self.folder


class DemoStack:
    """The services of the demo. Workers can be started and killed; the rest runs until the end."""

    def __init__(
        self,
        *,
        client: Client,
        database: Database,
        http: httpx2.AsyncClient,
        environment: Mapping[str, str],
        files: DemoFiles,
    ) -> None:
        self.client = client
        self.database = database
        self.http = http
        self._environment = environment
        self._files = files
        self._services: list[Service] = []
        self._workers: list[Service] = []
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watching: list[asyncio.Task[None]] = []

    @property
    def worker(self) -> Service:
        """The worker process that was started last."""
        return self._workers[-1]

    async def start_worker(self) -> Service:
        """Start another worker process."""
        service = await self._start(f"worker-{len(self._workers) + 1}", "worker")
        self._workers.append(service)
        return service

    async def start_api(self) -> None:
        """Start the API process; it is ready when this returns."""
        await self._start("api", "api")
        try:
            async with asyncio.timeout(READY_SECONDS):
                while True:
                    if await self._is_ready():
                        return
                    await asyncio.sleep(PROBE_INTERVAL_SECONDS)
        except TimeoutError:
            raise DemoFailed(f"the API was not ready within {READY_SECONDS:g} seconds") from None

    async def run_while_healthy(self, scenario: Coroutine[Any, Any, Result]) -> Result:
        """Run the scenario and return its result. Raises DemoFailed as soon as a service ends by itself."""
        running = asyncio.create_task(scenario)
        try:
            await asyncio.wait((running, self._failed), return_when=asyncio.FIRST_COMPLETED)
            if running.done() and running.exception():
                # A service that dies is often seen as a broken connection first; its end explains more.
                await asyncio.wait([self._failed], timeout=EXIT_NOTICE_SECONDS)
            if self._failed.done():
                self._failed.result()
            return await running
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def end(self) -> None:
        """End every service."""
        await asyncio.gather(*(service.end() for service in self._services))
        await asyncio.gather(*self._watching, return_exceptions=True)
        if self._failed.done():
            self._failed.exception()  # reported already; retrieved because asyncio warns about unretrieved errors

    async def _start(self, name: str, command: str) -> Service:
        log_file = self._files.log_file(name)
        service = await Service.start(name, command, environment=self._environment, log_file=log_file)
        self._services.append(service)
        self._watching.append(asyncio.create_task(self._watch(service)))
        return service

    async def _watch(self, service: Service) -> None:
        try:
            await service.watch()
        except DemoFailed as failure:
            if not self._failed.done():
                self._failed.set_exception(failure)

    async def _is_ready(self) -> bool:
        try:
            return (await self.http.get("/readyz")).is_success
        except httpx2.TransportError:
            return False


@asynccontextmanager
async def running_stack(files: DemoFiles, model: str) -> AsyncIterator[DemoStack]:
    """Temporal, API and a worker with a store of their own; all end with the block."""
    addresses = ServerAddresses(files.folder, free_port(), free_port())
    api_port = free_port()
    async with AsyncExitStack() as opened:
        database = await opened.enter_async_context(aclosing(Database.open(files.database_url)))
        # Temporal starts while the store is prepared.
        preparing = asyncio.create_task(_prepared(database))
        opened.push_async_callback(_cancel, preparing)
        await opened.enter_async_context(temporal_server(addresses))
        secret = await preparing
        http = await opened.enter_async_context(
            httpx2.AsyncClient(
                base_url=f"http://{LOOPBACK}:{api_port}",
                headers={"Authorization": f"Bearer {secret}"},
                timeout=REQUEST_TIMEOUT_SECONDS + 10,
                trust_env=False,
            )
        )
        stack = DemoStack(
            client=with_large_payloads(await Client.connect(addresses.address, plugins=[PlayheadPlugin()]), database),
            database=database,
            http=http,
            environment=environment_of(os.environ, files, addresses, api_port, model),
            files=files,
        )
        opened.push_async_callback(stack.end)
        await stack.start_worker()
        await stack.start_api()
        yield stack


async def _prepared(database: Database) -> str:
    """Create the schema, the example agents and an organization; returns an API key of the organization."""
    await upgrade(database)
    await add_missing_examples(database, ORGANIZATION)
    _, secret = await KeyStore(database).create(ORGANIZATION, "demo")
    return secret


async def _cancel(task: asyncio.Task[str]) -> None:
    """Stop a task that may still run, and wait until it has stopped."""
    task.cancel()
    await asyncio.wait([task])


def environment_of(
    person: Mapping[str, str], files: DemoFiles, addresses: ServerAddresses, api_port: int, model: str
) -> dict[str, str]:
    """The environment of the services: the user's environment, overridden by the demo's settings and code path.

    The user's other settings of Playhead and Temporal belong to another stack and are left out.
    """
    no_configuration = files.folder / "temporal.toml"
    no_configuration.touch()
    code = str(Path(__file__).parents[2])
    kept = {
        name: value
        for name, value in person.items()
        if name in INHERITED_SETTINGS or not name.startswith(("PLAYHEAD_", "TEMPORAL_"))
    }
    chosen = {
        "PYTHONPATH": os.pathsep.join([code, *filter(None, [person.get("PYTHONPATH")])]),
        "PLAYHEAD_DATA_DIR": str(files.folder),
        "PLAYHEAD_DATABASE_URL": files.database_url,
        "PLAYHEAD_MODEL": model,
        "PLAYHEAD_API_PORT": str(api_port),
        "PLAYHEAD_MODEL_HEARTBEAT_TIMEOUT_SECONDS": f"{HEARTBEAT_TIMEOUT_SECONDS:g}",
        "PLAYHEAD_MODEL_RETRY_INITIAL_SECONDS": "0.2",
        "PLAYHEAD_REQUEST_TIMEOUT_SECONDS": f"{REQUEST_TIMEOUT_SECONDS:g}",
        "PLAYHEAD_LOG_FORMAT": "console",
        "TEMPORAL_ADDRESS": addresses.address,
        "TEMPORAL_NAMESPACE": "default",
        "TEMPORAL_CONFIG_FILE": str(no_configuration),
    }
    if model == DEMO_MODEL:
        chosen["PLAYHEAD_DEMO_DELAY_SECONDS"] = f"{REPLY_SECONDS:g}"
        chosen["PLAYHEAD_PRICES"] = json.dumps(NOTIONAL_PRICE)
    return kept | chosen


class DemoFailed(Exception):
    """The demo cannot continue, or a check in it failed. `details` are printed before the last line."""

    def __init__(self, message: str, *, details: str = "") -> None:
        super().__init__(message)
        self.details = details
