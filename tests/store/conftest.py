"""Databases of the store's tests: a SQLite file and PostgreSQL, freshly migrated and empty."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from shutil import copyfile

import pytest
from sqlalchemy import text

from store import migrate
from store.database.connection import Database
from store.database.tables import metadata
from tests.support.postgres import Postgres, running_postgres

TRUNCATE = text(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
async def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database that is migrated once, for tests to copy."""
    file = tmp_path_factory.mktemp("migrated") / "playhead.db"
    await _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
async def migrated_postgres(postgres: Postgres) -> str:
    """The URL of a PostgreSQL database that is migrated once, for tests to empty."""
    url = postgres.new_database()
    await _migrate(url)
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database that a test runs on."""
    return str(request.param)


@pytest.fixture
def empty_url(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The URL of a database without tables."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path}/store/playhead.db"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.new_database()


@pytest.fixture
def url(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The URL of a migrated database."""
    if kind == "sqlite":
        copyfile(request.getfixturevalue("migrated_file"), tmp_path / "playhead.db")
        return f"sqlite:///{tmp_path}/playhead.db"
    return str(request.getfixturevalue("migrated_postgres"))


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = Database.open(url)
    if not opened.is_sqlite:
        await opened.write(lambda connection: connection.execute(TRUNCATE).close())
    yield opened
    await opened.aclose()


@pytest.fixture
async def other_process(database: Database, url: str) -> AsyncIterator[Database]:
    """The same database as another process has it open: nothing is shared but the data."""
    opened = Database.open(url)
    yield opened
    await opened.aclose()


async def _migrate(url: str) -> None:
    database = Database.open(url)
    await migrate.upgrade(database)
    await database.aclose()
