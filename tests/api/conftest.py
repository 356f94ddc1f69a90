"""The API on a real port, with a real worker and a real Temporal server behind it, on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import Page
from temporalio.client import Client

from domain.usage import TokenPrice
from playhead.config.settings import Settings
from playhead.services.worker import build_worker
from store.database.connection import Database
from store.migrate import upgrade
from streaming.hub import LiveHub
from tests.support.chromium import new_tab
from tests.support.postgres import Postgres, running_postgres
from tests.support.provider import ModelProvider, Reply, ScriptedModel
from tests.support.running_api import Caller, RunningApi, serving
from tests.support.waiting import eventually

PRICED = "priced"
"""The one scripted model whose price is known: a dollar for a thousand tokens, in or out."""


def quick_settings(database_url: str, task_queue: str, **changes: object) -> Settings:
    """Settings with short pauses, so that tests do not wait."""
    return Settings.model_validate(
        {
            "database_url": database_url,
            "task_queue": task_queue,
            "request_timeout_seconds": 30.0,
            "shutdown_grace_seconds": 0.1,
            "settlement_delay_seconds": 0.1,
            "model_retry_initial_seconds": 0.05,
            "model_retry_maximum_seconds": 0.2,
            "temporal_ui_url": "http://127.0.0.1:8233/",
            "prices": {f"openai:{PRICED}": TokenPrice(input=Decimal(1000), output=Decimal(1000))},
            "model": "openai-chat:echo",
            "egress_allowlist": ("127.0.0.1",),
            **changes,
        }
    )


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def new_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Makes the URLs of empty databases of a kind."""

    def make(kind: str) -> str:
        if kind == "sqlite":
            folder: Path = tmp_path_factory.mktemp("store")
            return f"sqlite:///{folder}/playhead.db"
        postgres: Postgres = request.getfixturevalue("postgres")
        return postgres.new_database()

    return make


@pytest_asyncio.fixture(scope="session", params=["sqlite", "postgresql"])
async def running_api(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], client: Client, provider: ModelProvider
) -> AsyncIterator[RunningApi]:
    """An API with a worker, on each of the databases."""
    kind = str(request.param)
    url = new_database(kind)
    database = Database.open(url)
    await upgrade(database)
    settings = quick_settings(url, f"api-{kind}")
    hub = LiveHub()
    async with (
        build_worker(settings, client, database, subscribers=hub),
        serving(settings, client, database, hub) as running,
        httpx2.AsyncClient(base_url=running.url, trust_env=False) as asking,
    ):

        async def is_ready() -> bool:
            return (await asking.get("/readyz")).is_success

        await eventually(is_ready)  # a database that has just been made takes its time on a busy machine
        yield running
    await database.aclose()


@pytest_asyncio.fixture
async def other_api(running_api: RunningApi) -> AsyncIterator[RunningApi]:
    """A second API on the same store and the same Temporal server, which shares nothing else with the first one."""
    database = Database.open(running_api.settings.database_url)
    async with serving(running_api.settings, running_api.client, database) as other:
        yield other
    await database.aclose()


@pytest_asyncio.fixture
async def visitor(other_api: RunningApi, caller: Caller) -> AsyncIterator[Caller]:
    """The caller at the second API."""
    async with other_api.caller(caller.organization) as visitor:
        yield visitor


@pytest_asyncio.fixture
async def caller(running_api: RunningApi) -> AsyncIterator[Caller]:
    """Somebody with an organization of their own."""
    async with running_api.caller() as new_caller:
        yield new_caller


@pytest.fixture
def scripted(provider: ModelProvider) -> Callable[..., ScriptedModel]:
    """Makes models with scripted replies, each for one test only."""

    def make(*replies: Reply, name: str | None = None) -> ScriptedModel:
        model = provider.model(name or f"model-{uuid4().hex[:8]}")
        model.script(*replies)
        return model

    return make


@pytest_asyncio.fixture
async def page() -> AsyncIterator[Page]:
    """A tab of a browser, for pages of other origins that call the API."""
    async with new_tab() as tab:
        yield tab
