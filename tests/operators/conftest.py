"""A stack for operators on SQLite and on PostgreSQL, and a model provider that keeps a journal."""

from collections.abc import Iterator

import pytest

from tests.operators.operator_stack import OperatedStack, operated_stack
from tests.operators.separate_services import SeparateServices, separate_services
from tests.support.loop_thread import LoopThread, loop_thread
from tests.support.postgres import Postgres, running_postgres
from tests.support.provider import ModelProvider, model_provider


@pytest.fixture(scope="session")
def loop() -> Iterator[LoopThread]:
    """An event loop beside the tests, which are not async: they wait for processes."""
    with loop_thread() as running:
        yield running


@pytest.fixture(scope="session")
def journaling_provider(loop: LoopThread) -> Iterator[ModelProvider]:
    """The provider behind all stacks of operators; a stack may be stopped and started again."""
    running = model_provider()
    yield loop.run(running.__aenter__())
    loop.run(running.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def operated(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    journaling_provider: ModelProvider,
    loop: LoopThread,
) -> Iterator[OperatedStack]:
    """One stack for all operations: each test has sessions of its own."""
    url = None
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.new_database()
    folder = tmp_path_factory.mktemp("operated")
    with operated_stack(
        folder, journaling_provider, loop, database_url=url, PLAYHEAD_RECONCILE_INTERVAL_SECONDS="0"
    ) as stack:
        yield stack


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def services(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    journaling_provider: ModelProvider,
    loop: LoopThread,
) -> Iterator[SeparateServices]:
    """One server and one API for all tests that bring workers of their own."""
    url = None
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.new_database()
    with separate_services(tmp_path_factory.mktemp("services"), journaling_provider, loop, url) as running:
        yield running
