"""The stack behind the page: Temporal, PostgreSQL, a worker and an API, and the provider that keeps a journal.

The API is a process of its own, without keys as in `playhead dev`, so that a test may kill it alone. Replies stream
from the worker's process to the API's over PostgreSQL.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2

from contracts.sessions import session_workflow_id
from playhead.config.settings import Settings
from playhead.services.dev_stack import DEV_ORGANIZATION
from playhead.services.example_agents import add_missing_examples
from playhead.temporal.client import connect
from playhead.temporal.dev_server import LOOPBACK, ServerAddresses, temporal_server
from store.database.connection import Database
from store.migrate import upgrade
from tests.e2e import impatient_worker
from tests.e2e.processes import CHECKOUT, environment_of
from tests.e2e.suite_stack import PATIENCE
from tests.page import keyless_api
from tests.support.forked import ForkedProcess
from tests.support.ports import free_port
from tests.support.postgres import running_postgres
from tests.support.provider import Gate, ModelProvider, ScriptedModel
from tests.support.running_api import Caller, Json, done, serving
from tests.support.waiting import eventually

HOUSE = "house"
"""The model of agents that name none: the examples."""
PRICED = (HOUSE, "first", "second", "dear", "clerk")
"""Models of the provider whose price is known; that of all others is not."""
PRICE = {"input": "3", "output": "15"}
"""US dollars per million tokens."""


@dataclass
class PageStack:
    """A running stack; its API may be killed and started again."""

    url: str
    provider: ModelProvider
    caller: Caller
    api: ForkedProcess
    worker: ForkedProcess
    database: Database
    folder: Path

    @property
    def temporal_address(self) -> str:
        """The address of the Temporal server."""
        return self.api.environment["TEMPORAL_ADDRESS"]

    def model(self, name: str) -> ScriptedModel:
        """A model of the provider."""
        return self.provider.model(name)

    @asynccontextmanager
    async def another_api(self, *, keyless: bool, temporal_address: str | None = None) -> AsyncIterator[str]:
        """One more API on the same store, with other settings, in the process of the tests; yields its URL."""
        settings = Settings(keyless=keyless, temporal_address=temporal_address or self.temporal_address)
        client = await connect(settings, lazy=True)
        async with serving(settings, client, self.database) as api:
            yield api.url

    async def kill_api(self) -> None:
        """End the API with SIGKILL."""
        await self.api.kill()

    async def start_api(self) -> None:
        """Start the API again, and wait until it answers."""
        await self.api.start()
        await self.until_ready()

    async def until_ready(self) -> None:
        """Wait until the API answers."""

        async def answers() -> bool:
            with suppress(httpx2.TransportError):
                return (await self.caller.http.get("/readyz")).is_success
            return False

        try:
            await eventually(answers, within=PATIENCE)
        except AssertionError as error:
            logs = "\n".join(each.log_file.read_text() for each in (self.api, self.worker))
            raise AssertionError(f"the stack is not ready:\n{logs}") from error

    async def settled(self, session_id: str) -> Json:
        """A session, once its turns are all closed and billed, and its workflow has no pending activity or task."""
        client = await connect(Settings(temporal_address=self.temporal_address))
        workflow = client.get_workflow_handle(session_workflow_id(session_id))

        async def is_settled() -> Json | None:
            session = await self.caller.session(session_id)
            if any(turn["status"] == "pending" for turn in session["turns"]):
                return None
            rows = await self.caller.items("/v1/usage/ledger", session=session_id)
            described = (await workflow.describe()).raw_description
            is_busy = described.pending_activities or described.HasField("pending_workflow_task")
            are_billed = len({row["turn_id"] for row in rows}) >= len(session["turns"])
            return session if are_billed and not is_busy else None

        session = await eventually(is_settled, within=PATIENCE)
        assert session is not None
        return session

    async def newest(self) -> Json:
        """The session that was opened last."""
        (session,) = done(await self.caller.get("/v1/sessions", limit=1), 200)["items"]
        return await self.caller.session(session["id"])


@asynccontextmanager
async def page_stack(folder: Path, provider: ModelProvider, **variables: str) -> AsyncIterator[PageStack]:
    """A stack in a folder, with further settings; everything has ended when the block is left."""
    place = ServerAddresses(folder, free_port(), free_port())
    port = free_port()
    async with AsyncExitStack() as opened:
        postgres, _ = await asyncio.gather(
            asyncio.to_thread(opened.enter_context, running_postgres()),
            opened.enter_async_context(temporal_server(place)),
        )
        url = postgres.new_database()
        database = await opened.enter_async_context(aclosing(Database.open(url)))
        await upgrade(database)
        await add_missing_examples(database, DEV_ORGANIZATION)
        environment = {
            **environment_of(folder),
            "PYTHONPATH": os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "OPENAI_API_KEY": "a key of the tests",
            "OPENAI_BASE_URL": provider.base_url,
            "PLAYHEAD_API_PORT": str(port),
            "PLAYHEAD_DATABASE_URL": url,
            "PLAYHEAD_DATA_DIR": str(folder / "data"),
            "PLAYHEAD_EGRESS_ALLOWLIST": LOOPBACK,
            "PLAYHEAD_LOG_LEVEL": "warning",
            "PLAYHEAD_MODEL": f"openai-chat:{HOUSE}",
            "PLAYHEAD_MODEL_RETRY_INITIAL_SECONDS": "0.1",
            "PLAYHEAD_SETTLEMENT_DELAY_SECONDS": "0.2",
            "PLAYHEAD_PRICES": json.dumps({f"openai-chat:{name}": PRICE for name in PRICED}),
            "TEMPORAL_ADDRESS": place.address,
            **variables,
        }
        worker = ForkedProcess("worker", impatient_worker.main, environment, folder)
        api = ForkedProcess("api", keyless_api.main, environment, folder)
        http = await opened.enter_async_context(
            httpx2.AsyncClient(base_url=f"http://{LOOPBACK}:{port}", timeout=PATIENCE, trust_env=False)
        )
        stack = PageStack(
            str(http.base_url).rstrip("/"), provider, Caller(http, DEV_ORGANIZATION), api, worker, database, folder
        )
        try:
            await asyncio.gather(worker.start(), api.start())
            await stack.until_ready()
            yield stack
        finally:
            await asyncio.gather(worker.kill(), api.kill())


def gate() -> Gate:
    """A gate that waits for as long as the page may take."""
    return Gate(PATIENCE)
