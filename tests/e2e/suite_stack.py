"""An installation in separate processes, for suites during which everything is killed."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx2
from sqlalchemy import func, select

from playhead.exit_codes import CommandFailed
from playhead.temporal.dev_server import LOOPBACK, ServerAddresses, temporal_server
from store.api_keys import KeyStore
from store.database.connection import Database
from store.database.tables import ledger, steps
from store.migrate import upgrade
from store.suites import StoredSuite, SuiteStore
from tests.e2e import impatient_worker
from tests.e2e.processes import CHECKOUT, environment_of
from tests.support.forked import ForkedProcess, run_command
from tests.support.ports import free_port
from tests.support.provider import ModelProvider
from tests.support.waiting import eventually

ORGANIZATION = "org_suites"
PATIENCE = 120.0
"""Seconds that one step may take on a busy machine."""
WORKERS = 2
PORTS = 5
"""Ports that are tried, one after the other: a free port may be taken before a server listens on it."""


class ProcessEnded(Exception):
    """A process that should run has ended; the message is its log."""


@dataclass
class SuiteStack:
    """Temporal and a store, which stay; workers and an API, which are killed; and the provider of the agent's model."""

    folder: Path
    database: Database
    provider: ModelProvider
    environment: dict[str, str]
    workers: list[ForkedProcess] = field(default_factory=list)
    api: ForkedProcess | None = None

    @property
    def suites(self) -> SuiteStore:
        """The suites, read from the store: the API may be dead."""
        return SuiteStore(self.database)

    def command(self, name: str, *arguments: str) -> ForkedProcess:
        """A `playhead` command as a process that is not started yet."""
        return ForkedProcess(name, partial(run_command, arguments), self.environment, self.folder)

    async def start(self) -> None:
        """Start the workers and the API, which are killed later."""
        self.workers = [
            ForkedProcess(f"worker-{number}", impatient_worker.main, self.environment, self.folder)
            for number in range(WORKERS)
        ]
        await asyncio.gather(*(worker.start() for worker in self.workers))
        for _ in range(PORTS):
            port = str(free_port())
            self.environment["PLAYHEAD_API_PORT"] = port
            self.environment["PLAYHEAD_API_URL"] = f"http://{LOOPBACK}:{port}"
            self.api = self.command("api", "api")
            await self.api.start()
            try:
                return await self.until_ready()
            except ProcessEnded:
                if not (self.api.has_ended and f"Port {port} of {LOOPBACK} cannot be used" in self.api.log):
                    raise
        raise AssertionError(f"{PORTS} free ports in a row were taken before the API listened")

    async def until_ready(self) -> None:
        """Wait until the API answers. Raises ProcessEnded, at once, when it or a worker has ended by itself."""
        api = self.api
        assert api is not None
        last = "nothing"
        async with httpx2.AsyncClient(trust_env=False) as http:

            async def answers() -> bool:
                nonlocal last
                for each in (*self.workers, api):
                    if each.has_ended:
                        raise ProcessEnded(each.log)
                try:
                    answer = await http.get(f"{self.environment['PLAYHEAD_API_URL']}/readyz")
                except httpx2.TransportError as error:
                    last = repr(error)
                    return False
                last = f"{answer.status_code} {answer.text}"
                return answer.is_success

            try:
                await eventually(answers, within=PATIENCE)
            except AssertionError as error:
                logs = "\n".join(each.log for each in (*self.workers, api))
                raise AssertionError(f"{error}; the API's last answer was {last}\n{logs}") from error

    async def kill_workers(self, model: str) -> None:
        """Kill every worker while no reply of this model is between the provider and the store.

        Every reply that the provider has sent is saved by then, and later requests are cut off: its journal and the
        ledger must agree to the last call.
        """
        self.provider.hold()
        journal = self.provider.model(model).journal
        await eventually(lambda: self._are_saved(model, len(journal)), within=PATIENCE)
        await asyncio.gather(*(worker.kill() for worker in self.workers))
        await eventually(self._no_request_waits, within=PATIENCE)
        self.provider.release()

    async def start_workers(self) -> None:
        """Start the workers again."""
        await asyncio.gather(*(worker.start() for worker in self.workers))

    async def newest(self) -> StoredSuite | None:
        """The suite that was started last."""
        page = await self.suites.list(ORGANIZATION, limit=1)
        return page.items[0] if page.items else None

    async def billed(self, suite_id: str, model: str) -> tuple[int, int]:
        """The requests to a model that the suite was billed for, and their tokens."""
        rows = select(ledger.c.usage).where(ledger.c.suite_id == suite_id)
        usages = await self.database.read(lambda connection: connection.execute(rows).scalars().all())
        of_model = [used for usage in usages for name, used in usage["llm"].items() if name.endswith(f":{model}")]
        return sum(used["requests"] for used in of_model), sum(used["total_tokens"] for used in of_model)

    async def _are_saved(self, model: str, replies: int) -> bool:
        count = select(func.count()).where(steps.c.model == f"openai-chat:{model}")
        saved = await self.database.read(lambda connection: connection.execute(count).scalar_one())
        assert saved <= replies, f"{saved} replies were saved, of {replies} that were given"
        return saved == replies

    async def _no_request_waits(self) -> bool:
        return self.provider.waiting == 0


@asynccontextmanager
async def suite_stack(folder: Path, provider: ModelProvider) -> AsyncIterator[SuiteStack]:
    """An installation in a folder; everything has ended when the block is left."""
    async with AsyncExitStack() as opened:
        url = f"sqlite:///{folder / 'playhead.db'}"
        database = await opened.enter_async_context(aclosing(Database.open(url)))
        await upgrade(database)
        _, secret = await KeyStore(database).create(ORGANIZATION, "suites")
        place = await opened.enter_async_context(_temporal(folder))
        environment = {
            **environment_of(folder),
            "PYTHONPATH": os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "OPENAI_API_KEY": "a key of the tests",
            "OPENAI_BASE_URL": provider.base_url,
            "PLAYHEAD_API_KEY": secret,
            "PLAYHEAD_DATABASE_URL": url,
            "PLAYHEAD_MODEL_HEARTBEAT_TIMEOUT_SECONDS": "15",
            "PLAYHEAD_LOG_LEVEL": "warning",
            "PLAYHEAD_MODEL": "demo",
            "PLAYHEAD_MODEL_RETRY_INITIAL_SECONDS": "0.1",
            "TEMPORAL_ADDRESS": place.address,
        }
        stack = SuiteStack(folder, database, provider, environment)
        try:
            await stack.start()
            yield stack
        finally:
            await asyncio.gather(*(each.kill() for each in (*stack.workers, stack.api) if each))


@asynccontextmanager
async def _temporal(folder: Path) -> AsyncIterator[ServerAddresses]:
    async with AsyncExitStack() as opened:
        for left in reversed(range(PORTS)):
            place = ServerAddresses(folder, free_port(), free_port())
            try:
                await opened.enter_async_context(temporal_server(place))
                break
            except CommandFailed as failure:
                if not left or not ("cannot be used" in str(failure) or "address already in use" in str(failure)):
                    raise
        yield place
