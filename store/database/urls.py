"""Database URLs: checked, and converted to those of the drivers that Playhead uses."""

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
"""Supported options of a PostgreSQL URL, and the driver's name for each."""


def driver_url(text: str) -> URL:
    """The URL for SQLAlchemy, with the driver that Playhead uses.

    Raises ValueError, with a message for users, for another kind of database, an unsupported option, or a SQLite
    database in memory, which other connections could not see.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise ValueError(
            "the database URL is not valid; write sqlite:///path/to/file.db or postgresql://user:password@host/database"
        ) from error
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise ValueError(f"the database URL begins with {url.drivername!r}; write sqlite:///... or postgresql://...")
    url = url.set(drivername=driver)
    return _sqlite(url) if driver == SQLITE else _postgresql(url)


def sqlite_file(url: URL) -> Path | None:
    """The file of a SQLite URL; None for PostgreSQL."""
    return Path(url.database) if url.drivername == SQLITE and url.database else None


def _sqlite(url: URL) -> URL:
    if url.database in (None, "", ":memory:") or str(url.database).startswith("file:"):
        raise ValueError("SQLite needs a file: write sqlite:///path/to/file.db")
    return url


def _postgresql(url: URL) -> URL:
    options = {}
    for name, value in url.query.items():
        if name not in _POSTGRESQL_OPTIONS:
            known = ", ".join(sorted(_POSTGRESQL_OPTIONS))
            raise ValueError(f"the database URL has an unsupported option {name!r}; expected one of: {known}")
        options[_POSTGRESQL_OPTIONS[name]] = value
    return url.set(query=options)
