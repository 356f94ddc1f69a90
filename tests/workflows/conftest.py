"""Fixtures of the workflow tests: a worker as `playhead worker` builds it, with a store of its own."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio.client import Client

from domain.usage import TokenPrice
from playhead.config.settings import Settings
from playhead.services.worker import build_worker
from store.database.connection import Database
from tests.support.outages import BreakableDatabase
from tests.support.provider import ModelProvider, Reply, ScriptedModel
from tests.support.session_stack import PRICED, SessionStack, replay_all, store_in


@pytest_asyncio.fixture(scope="session")
async def database(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    """A store with an organization in it."""
    async with store_in(tmp_path_factory.mktemp("store")) as database:
        yield database


@pytest_asyncio.fixture(scope="session")
async def stack(client: Client, database: Database, provider: ModelProvider) -> AsyncIterator[SessionStack]:
    """A worker that runs as long as the tests do."""
    async with working_stack(client, database, "sessions") as running:
        yield running


@asynccontextmanager
async def separate_stack(client: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SessionStack]:
    """A worker with a store and a task queue of its own while the block runs."""
    async with (
        store_in(tmp_path_factory.mktemp("separate")) as database,
        working_stack(client, database, f"separate-{uuid4().hex[:8]}") as running,
    ):
        yield running


@asynccontextmanager
async def working_stack(client: Client, database: Database, task_queue: str) -> AsyncIterator[SessionStack]:
    """A worker while the block runs. Afterwards all its sessions are replayed."""
    settings = Settings(
        egress_allowlist=("127.0.0.1", "localhost"),
        database_url=database.address,
        task_queue=task_queue,
        prices={f"openai:{PRICED}": TokenPrice(input=Decimal(1000), output=Decimal(1000))},
        shutdown_grace_seconds=0.1,
    )
    async with build_worker(settings, client, database):
        yield SessionStack.on(client, database, settings.task_queue)
    await replay_all(client, database, task_queue)


@pytest_asyncio.fixture
async def breakable(database: Database) -> AsyncIterator[BreakableDatabase]:
    """The same store over connections that can be cut."""
    breakable = BreakableDatabase(database.engine.url)
    yield breakable
    await breakable.aclose()


@pytest.fixture
def stack_without_worker(client: Client, database: Database) -> SessionStack:
    """A stack whose workers the test starts itself: nothing polls its task queue."""
    return SessionStack.on(client, database, f"sessions-{uuid4().hex[:8]}")


@pytest.fixture
def scripted(provider: ModelProvider) -> Callable[..., ScriptedModel]:
    """Creates a scripted model with the given replies."""

    def make(*replies: Reply, name: str | None = None) -> ScriptedModel:
        model = provider.model(name or f"model-{uuid4().hex[:8]}")
        model.script(*replies)
        return model

    return make
