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
"""US dollars for a million tokens: what the offline demo model would cost if it were a small real one."""
REPLY_SECONDS = 0.6
"""How long the offline demo model takes for a reply: long enough to be killed in the middle of it."""
HEARTBEAT_SECONDS = 2.0
"""A worker that is silent for so long counts as dead. Short, so that the demo does not make people wait."""
WAIT_SECONDS = 150.0
"""How long the API waits for a reply, the death of its worker included."""
READY_SECONDS = 60.0
STOP_SECONDS = 3.0
"""How long services may take to be ready, and to end before they are killed: nothing of value is left in them."""
EXPLAINED_WITHIN = 1.0
"""How long the end of a service may take to be noticed after its connections broke."""
PROBE_PAUSE = 0.05
SHOWN_LOG_LINES = 8
PASSED_ON = ("PLAYHEAD_PRICES", "PLAYHEAD_MODEL_TIMEOUT_SECONDS")
"""Settings of the person that hold in the demo as well; all others are the demo's own."""

Told = TypeVar("Told")


class Service:
    """One `playhead` command as a process, with a log file of its own."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log_file: Path) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._log_file = log_file
        self._told_to_end = False

    @classmethod
    async def start(cls, name: str, *command: str, environment: Mapping[str, str], log_file: Path) -> Self:
        """Start `playhead <command>`. It dies with this process, however that ends."""
        with log_file.open("wb") as written:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-c", "from playhead.cli.main import main; main()"),
                *command,
                cwd=log_file.parent,  # where no `.env` of the person adds settings
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                start_new_session=True,  # Ctrl-C reaches the demo only, which ends its services in order
                preexec_fn=kill_with_parent(),
            )
        return cls(name, process, log_file)

    async def kill(self) -> None:
        """End it with SIGKILL: no chance to say goodbye."""
        self._told_to_end = True
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def end(self) -> None:
        """Tell it to end, and make it if it takes too long."""
        self._told_to_end = True
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            await self.kill()

    async def watch(self) -> None:
        """Return when it has ended as it was told. Raises DemoFailed when it ends by itself."""
        status = await self._process.wait()
        if not self._told_to_end:
            lines = self._log_file.read_text(errors="replace").splitlines()[-SHOWN_LOG_LINES:]
            quoted = "".join(f"\n  {line}" for line in lines)
            raise DemoFailed(f"{self.name} ended by itself with status {status}", details=f"Its last words:{quoted}")


@dataclass(frozen=True)
class DemoFiles:
    """The temporary folder in which everything happens."""

    folder: Path

    @classmethod
    def make(cls) -> Self:
        """A new folder."""
        return cls(Path(mkdtemp(prefix="playhead-demo-")))

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.folder / 'playhead.db'}"

    def log_file(self, name: str) -> Path:
        """Where a service writes."""
        return self.folder / f"{name}.log"

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep_logs(self) -> Path:
        """Remove everything but the logs, and tell where they are."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.suffix != ".log":
                path.unlink(missing_ok=True)
        return self.folder


class DemoStack:
    """What the demo talks to. Workers may come and go; the rest stays until the end."""

    def __init__(
        self,
        *,
        client: Client,
        database: Database,
        http: httpx2.AsyncClient,
        environment: Mapping[str, str],
        workshop: DemoFiles,
    ) -> None:
        self.client = client
        self.database = database
        self.http = http
        self._environment = environment
        self._workshop = workshop
        self._services: list[Service] = []
        self._workers: list[Service] = []
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watching: list[asyncio.Task[None]] = []

    @property
    def worker(self) -> Service:
        """The worker process that was started last."""
        return self._workers[-1]

    async def start_worker(self) -> Service:
        """One more worker process; it takes tasks as soon as it has started."""
        service = await self._start(f"worker-{len(self._workers) + 1}", "worker")
        self._workers.append(service)
        return service

    async def start_api(self) -> None:
        """The API process; requests are answered when this returns."""
        await self._start("api", "api")
        try:
            async with asyncio.timeout(READY_SECONDS):
                while True:
                    if await self._is_ready():
                        return
                    await asyncio.sleep(PROBE_PAUSE)
        except TimeoutError:
            raise DemoFailed(f"the API was not ready within {READY_SECONDS:g} seconds") from None

    async def unless_one_fails(self, story: Coroutine[Any, Any, Told]) -> Told:
        """What the story comes to. Raises DemoFailed as soon as a service ends by itself."""
        telling = asyncio.create_task(story)
        try:
            await asyncio.wait((telling, self._failed), return_when=asyncio.FIRST_COMPLETED)
            if telling.done() and telling.exception():
                # A service that dies is often seen as a broken connection first; its end explains more.
                await asyncio.wait([self._failed], timeout=EXPLAINED_WITHIN)
            if self._failed.done():
                self._failed.result()
            return await telling
        finally:
            telling.cancel()
            await asyncio.wait([telling])

    async def end(self) -> None:
        """End every service."""
        await asyncio.gather(*(service.end() for service in self._services))
        await asyncio.gather(*self._watching, return_exceptions=True)
        if self._failed.done():
            self._failed.exception()  # told already; asyncio warns about errors that nobody looked at

    async def _start(self, name: str, command: str) -> Service:
        log_file = self._workshop.log_file(name)
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
async def running_stack(workshop: DemoFiles, model: str) -> AsyncIterator[DemoStack]:
    """Temporal, API and a worker on a store of their own; everything has ended when the block is left."""
    place = ServerAddresses(workshop.folder, free_port(), free_port())
    api_port = free_port()
    async with AsyncExitStack() as opened:
        database = await opened.enter_async_context(aclosing(Database.open(workshop.database_url)))
        # Temporal starts while the store is prepared.
        preparing = asyncio.create_task(_prepared(database))
        opened.push_async_callback(_given_up, preparing)
        await opened.enter_async_context(temporal_server(place))
        secret = await preparing
        http = await opened.enter_async_context(
            httpx2.AsyncClient(
                base_url=f"http://{LOOPBACK}:{api_port}",
                headers={"Authorization": f"Bearer {secret}"},
                timeout=WAIT_SECONDS + 10,
                trust_env=False,
            )
        )
        stack = DemoStack(
            client=with_large_payloads(await Client.connect(place.address, plugins=[PlayheadPlugin()]), database),
            database=database,
            http=http,
            environment=environment_of(os.environ, workshop, place, api_port, model),
            workshop=workshop,
        )
        opened.push_async_callback(stack.end)
        await stack.start_worker()
        await stack.start_api()
        yield stack


async def _prepared(database: Database) -> str:
    """Bring a new store to its schema, with the example agents and an organization; a key of that organization."""
    await upgrade(database)
    await add_missing_examples(database, ORGANIZATION)
    _, secret = await KeyStore(database).create(ORGANIZATION, "demo")
    return secret


async def _given_up(task: asyncio.Task[str]) -> None:
    """Stop a task that may still run, and wait until it has stopped."""
    task.cancel()
    await asyncio.wait([task])


def environment_of(
    person: Mapping[str, str], workshop: DemoFiles, place: ServerAddresses, api_port: int, model: str
) -> dict[str, str]:
    """What the services are set to: the demo's own settings over the person's provider keys, and the demo's code.

    The person's other settings of Playhead and Temporal belong to another stack and are left out.
    """
    no_configuration = workshop.folder / "temporal.toml"
    no_configuration.touch()
    code = str(Path(__file__).parents[2])
    kept = {
        name: value
        for name, value in person.items()
        if name in PASSED_ON or not name.startswith(("PLAYHEAD_", "TEMPORAL_"))
    }
    chosen = {
        "PYTHONPATH": os.pathsep.join([code, *filter(None, [person.get("PYTHONPATH")])]),
        "PLAYHEAD_DATA_DIR": str(workshop.folder),
        "PLAYHEAD_DATABASE_URL": workshop.database_url,
        "PLAYHEAD_MODEL": model,
        "PLAYHEAD_API_PORT": str(api_port),
        "PLAYHEAD_MODEL_HEARTBEAT_TIMEOUT_SECONDS": f"{HEARTBEAT_SECONDS:g}",
        "PLAYHEAD_MODEL_RETRY_INITIAL_SECONDS": "0.2",
        "PLAYHEAD_REQUEST_TIMEOUT_SECONDS": f"{WAIT_SECONDS:g}",
        "PLAYHEAD_LOG_FORMAT": "console",
        "TEMPORAL_ADDRESS": place.address,
        "TEMPORAL_NAMESPACE": "default",
        "TEMPORAL_CONFIG_FILE": str(no_configuration),
    }
    if model == DEMO_MODEL:
        chosen["PLAYHEAD_DEMO_DELAY_SECONDS"] = f"{REPLY_SECONDS:g}"
        chosen["PLAYHEAD_PRICES"] = json.dumps(NOTIONAL_PRICE)
    return kept | chosen


class DemoFailed(Exception):
    """The demo cannot go on, or something in it was not as promised. `details` go before the last line."""

    def __init__(self, message: str, *, details: str = "") -> None:
        super().__init__(message)
        self.details = details
