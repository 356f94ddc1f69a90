"""The services of a peer and their sizes: PostgreSQL, a Temporal server, SQLite files, or Playhead's processes."""

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import asyncpg

from benchmarks.peers.interface import MODEL, Settings
from benchmarks.playhead_processes import PlayheadProcesses, prices_of, running_playhead
from benchmarks.processes import find, memory_megabytes, parent_of
from playhead.temporal.dev_server import ServerAddresses, free_port, temporal_server
from tests.support.postgres import Postgres

Need = Literal["sqlite", "postgres", "temporal", "playhead-sqlite", "playhead-postgres"]
MEGABYTE = 2**20
PLAYHEAD_MODEL = f"openai-chat:{MODEL}"


@dataclass
class Services:
    """The services of one peer, for one measure."""

    settings: Settings
    playhead: PlayheadProcesses | None = None
    server_pids: list[int] = field(default_factory=list)
    """Temporal and PostgreSQL."""
    _sizes: list[Callable[[], Awaitable[int]]] = field(default_factory=list)

    async def stored_megabytes(self) -> float:
        """Everything stored: the files of SQLite, the database of PostgreSQL."""
        return sum([await size() for size in self._sizes]) / MEGABYTE

    def server_memory_megabytes(self) -> float:
        return memory_megabytes(self.server_pids)

    def own_memory_megabytes(self, peer_pid: int) -> float:
        """The peer's process; of Playhead its workers and APIs, since the peer's process is only its client."""
        if self.playhead is None:
            return memory_megabytes([peer_pid])
        return memory_megabytes(service.pid for service in (*self.playhead.workers, *self.playhead.apis))


@asynccontextmanager
async def running_services(need: Need, postgres: Postgres, settings: Settings) -> AsyncIterator[Services]:
    """Run what a peer needs for the duration of the block, empty at its beginning."""
    async with AsyncExitStack() as exit_stack:
        folder = Path(exit_stack.enter_context(tempfile.TemporaryDirectory(prefix="playhead-peers-")))
        services = Services(replace(settings, folder=str(folder)))
        if need in ("postgres", "playhead-postgres"):
            url = postgres.new_database()
            exit_stack.callback(postgres.drop_database, url)
            services.settings = replace(services.settings, database_url=url)
            services.server_pids.append(await _postgres_pid(url))
            services._sizes.append(lambda: _database_bytes(url))
        if need == "temporal":
            addresses = ServerAddresses(folder, free_port(), free_port())
            await exit_stack.enter_async_context(temporal_server(addresses))
            services.settings = replace(services.settings, temporal_address=addresses.address)
            services.server_pids.append(find("start-dev", f"--port {addresses.port} "))
        if need in ("playhead-sqlite", "playhead-postgres"):
            playhead = await exit_stack.enter_async_context(_playhead(services.settings))
            services.playhead = playhead
            services.server_pids.append(playhead.temporal_pid)
            urls = ",".join(playhead.api_urls)
            services.settings = replace(services.settings, api_urls=urls, api_key=playhead.api_key)
            folder = playhead.folder
        services._sizes.append(lambda: asyncio.to_thread(_sqlite_bytes, folder))
        yield services


def _playhead(settings: Settings) -> AbstractAsyncContextManager[PlayheadProcesses]:
    environment = {
        **prices_of(PLAYHEAD_MODEL),
        "OPENAI_BASE_URL": settings.provider_url,
        "OPENAI_API_KEY": "benchmarks",
        "PLAYHEAD_EGRESS_ALLOWLIST": "127.0.0.1",
    }
    if settings.heartbeat_seconds:
        environment["PLAYHEAD_MODEL_HEARTBEAT_TIMEOUT_SECONDS"] = settings.heartbeat_seconds
    return running_playhead(model=PLAYHEAD_MODEL, settings=environment, database_url=settings.database_url)


async def _postgres_pid(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return parent_of(await connection.fetchval("SELECT pg_backend_pid()"))
    finally:
        await connection.close()


async def _database_bytes(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        size: int = await connection.fetchval("SELECT pg_database_size(current_database())")
        return size
    finally:
        await connection.close()


def _sqlite_bytes(folder: Path) -> int:
    """Bytes of all databases, after their write-ahead logs are written into them."""
    for file in folder.glob("*.db"):
        with closing(sqlite3.connect(file, timeout=10)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return sum(file.stat().st_size for file in folder.glob("*.db*"))
