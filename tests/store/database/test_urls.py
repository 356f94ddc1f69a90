"""Database URLs: accepted forms, and messages for invalid ones."""

import pytest

from store.database.urls import driver_url


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sqlite:///playhead.db", "sqlite+pysqlite:///playhead.db"),
        ("sqlite:////var/lib/playhead.db", "sqlite+pysqlite:////var/lib/playhead.db"),
        ("sqlite+aiosqlite:///playhead.db", "sqlite+pysqlite:///playhead.db"),
        ("postgres://u:p@db/playhead", "postgresql+asyncpg://u:p@db/playhead"),
        ("postgresql://u:p@db:5433/playhead", "postgresql+asyncpg://u:p@db:5433/playhead"),
        ("postgresql+asyncpg://db/playhead", "postgresql+asyncpg://db/playhead"),
        ("postgresql://db/playhead?sslmode=require", "postgresql+asyncpg://db/playhead?ssl=require"),
        ("postgresql:///playhead?host=/run/pg", "postgresql+asyncpg:///playhead?host=%2Frun%2Fpg"),
    ],
)
def test_address_is_turned_into_the_drivers(written: str, meant: str) -> None:
    assert driver_url(written).render_as_string(hide_password=False) == meant


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "is not valid"),
        ("playhead.db", "is not valid"),
        ("mysql://db/playhead", "mysql"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("postgresql://db/playhead?channel_binding=require", "channel_binding"),
        ("postgresql://db:port/playhead", "is not valid"),
    ],
)
def test_address_that_cannot_work_is_refused(written: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        driver_url(written)
