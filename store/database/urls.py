"""Database addresses as people write them, turned into those of the drivers that Playhead uses."""

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

SQLITE = "sqlite+pysqlite"
POSTGRESQL = "postgresql+asyncpg"

_DRIVERS = {
    "sqlite": SQLITE,
    "sqlite+aiosqlite": SQLITE,
    SQLITE: SQLITE,
    "postgres": POSTGRESQL,
    "postgresql": POSTGRESQL,
    POSTGRESQL: POSTGRESQL,
}
_POSTGRESQL_OPTIONS = {
    "host": "host",
    "port": "port",
    "ssl": "ssl",
    "sslmode": "ssl",
    "timeout": "timeout",
    "connect_timeout": "timeout",
    "prepared_statement_cache_size": "prepared_statement_cache_size",
}
"""Options of a PostgreSQL address that are understood, with the name that the driver has for each."""


def driver_url(text: str) -> URL:
    """The address for SQLAlchemy, with the driver that Playhead uses.

    Raises ValueError, in words for the person who wrote it, when it names another database, an option that
    is not understood, or a SQLite database in memory, which no second connection could see.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise ValueError(
            "the database address cannot be read; write sqlite:///path/to/file.db or "
            "postgresql://user:password@host/database"
        ) from error
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise ValueError(
            f"the database address begins with {url.drivername!r}; Playhead stores in sqlite:///... or postgresql://..."
        )
    url = url.set(drivername=driver)
    return _sqlite(url) if driver == SQLITE else _postgresql(url)


def sqlite_file(url: URL) -> Path | None:
    """The file of a SQLite address; None for PostgreSQL."""
    return Path(url.database) if url.drivername == SQLITE and url.database else None


def _sqlite(url: URL) -> URL:
    if url.database in (None, "", ":memory:") or str(url.database).startswith("file:"):
        raise ValueError("SQLite needs a file to store in: write sqlite:///path/to/file.db")
    return url


def _postgresql(url: URL) -> URL:
    options = {}
    for name, value in url.query.items():
        if name not in _POSTGRESQL_OPTIONS:
            known = ", ".join(sorted(_POSTGRESQL_OPTIONS))
            raise ValueError(f"the database address has an option {name!r}; understood are {known}")
        options[_POSTGRESQL_OPTIONS[name]] = value
    return url.set(query=options)
