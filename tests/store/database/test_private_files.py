"""Permissions of the store's files, and the detection of missing files and full disks."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from store.database.connection import Database
from store.database.errors import StoreUnavailable


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database.open(f"sqlite:///{tmp_path}/data/kept.db")
    await opened.ping()
    yield opened
    await opened.aclose()


async def test_folder_and_file_are_the_owners_alone(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert folder.stat().st_mode & 0o777 == 0o700
    await database.write(lambda connection: connection.exec_driver_sql("CREATE TABLE a (b)"))
    for file in folder.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file


async def test_file_that_was_removed_or_replaced_is_noticed(database: Database, tmp_path: Path) -> None:
    await database.require_room()
    (tmp_path / "data" / "kept.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(StoreUnavailable, match="No such file"):
        await database.require_room()
    (tmp_path / "data" / "kept.db").touch()
    with pytest.raises(StoreUnavailable, match="replaced"):
        await database.require_room()


async def test_full_disk_is_noticed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.database.sqlite.free_bytes", lambda path: 4096)
    with pytest.raises(StoreUnavailable, match="full"):
        await database.require_room()
