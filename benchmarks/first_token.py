"""First token delay: from the provider's first token to the client's, in one process and in two."""

import asyncio
import json
import os
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Self
from urllib.parse import urlsplit

from benchmarks.load import latencies
from benchmarks.report import Measure
from benchmarks.sessions import AGENT, Connection
from benchmarks.stack import wait_until_ready
from benchmarks.timed_provider import MODEL, TimedProvider, timed_provider
from playhead.demo.stack import ORGANIZATION, DemoFiles, Service, environment_of
from playhead.temporal.dev_server import LOOPBACK, ServerAddresses, free_port, temporal_server
from store.api_keys import KeyStore
from store.database.connection import Database
from store.migrate import upgrade
from tests.support.postgres import running_postgres

SESSIONS = 10
PACE = 5.0
GOAL_MILLISECONDS = 30.0
DEV_KEY = "dev"


class StreamedSessions:
    """Sessions with streamed messages. `delays` are the first token delays in milliseconds."""

    def __init__(self, base_url: str, api_key: str, provider: TimedProvider, ids: list[str]) -> None:
        self._address = urlsplit(base_url)
        self._key = api_key
        self._provider = provider
        self._ids = ids
        self._free = [asyncio.Lock() for _ in ids]
        self._sent = 0
        self.delays: list[float] = []

    @classmethod
    async def open(cls, base_url: str, api_key: str, provider: TimedProvider) -> Self:
        """Open the sessions; they have greeted when this returns."""
        connection = await Connection.open(base_url, api_key)
        agent = json.loads(await connection.post("/v1/agents", json.dumps(AGENT).encode()))
        body = json.dumps({"agent": agent["id"]}).encode()
        ids = [json.loads(await connection.post("/v1/sessions", body))["id"] for _ in range(SESSIONS)]
        connection.close()
        return cls(base_url, api_key, provider, ids)

    async def say(self, session: int, text: str) -> None:
        """Send one message and read its stream to the end; wait first while the session is still answering."""
        async with self._free[session]:
            await self._say(session, text)

    async def _say(self, session: int, text: str) -> None:
        self._sent += 1
        words = f"{text} ({self._sent})"
        body = json.dumps({"text": words}).encode()
        reader, writer = await asyncio.open_connection(self._address.hostname, self._address.port)
        head = (
            f"POST /v1/sessions/{self._ids[session]}/messages HTTP/1.1\r\nHost: {self._address.netloc}\r\n"
            f"Authorization: Bearer {self._key}\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await reader.readuntil(b"event: reply_delta")
        self.delays.append((time.perf_counter() - self._provider.first_token_at[words]) * 1000)
        await reader.read()
        writer.close()


async def first_tokens(rounds: int, seconds: float) -> list[Measure]:
    """Measure one process, then two."""
    found = []
    async with timed_provider() as provider:
        for name, stack in (("one process", _one_process), ("two processes", _two_processes)):
            async with stack(provider) as (url, key):
                sessions = await StreamedSessions.open(url, key, provider)
                for number in range(rounds + 1):
                    if number == 1:  # the first round warms up
                        sessions.delays.clear()
                    await latencies(sessions, sessions=SESSIONS, per_second=PACE, seconds=seconds)
            p50, p95 = statistics.median(sessions.delays), statistics.quantiles(sessions.delays, n=20)[-1]
            goal = GOAL_MILLISECONDS if stack is _one_process else None
            found.append(Measure(f"first token delay, {name}, p50", "ms", None, p50, goal, "within"))
            found.append(Measure(f"first token delay, {name}, p95", "ms", None, p95, None, "within"))
    return found


@asynccontextmanager
async def _one_process(provider: TimedProvider) -> AsyncIterator[tuple[str, str]]:
    """`playhead dev`; yields its URL and a key."""
    files = DemoFiles.make()
    addresses, api_port = ServerAddresses(files.folder, free_port(), free_port()), free_port()
    options = (
        f"--data-dir={files.folder}",
        f"--api-port={api_port}",
        f"--temporal-port={addresses.port}",
        f"--temporal-ui-port={addresses.ui_port}",
    )
    environment = _environment(provider, files, addresses, api_port)
    async with AsyncExitStack() as exit_stack:
        exit_stack.callback(files.remove)
        stack = await Service.start("dev", "dev", *options, environment=environment, log_file=files.log_file("dev"))
        exit_stack.push_async_callback(stack.end)
        url = f"http://{LOOPBACK}:{api_port}"
        await wait_until_ready(url)
        yield url, DEV_KEY


@asynccontextmanager
async def _two_processes(provider: TimedProvider) -> AsyncIterator[tuple[str, str]]:
    """`playhead worker` and `playhead api` on PostgreSQL; yields the API's URL and a key."""
    files = DemoFiles.make()
    addresses, api_port = ServerAddresses(files.folder, free_port(), free_port()), free_port()
    async with AsyncExitStack() as exit_stack:
        exit_stack.callback(files.remove)
        postgres = exit_stack.enter_context(running_postgres())
        database_url = postgres.new_database()
        async with aclosing(Database.open(database_url)) as database:
            await upgrade(database)
            _, secret = await KeyStore(database).create(ORGANIZATION, "benchmarks")
        await exit_stack.enter_async_context(temporal_server(addresses))
        environment = _environment(provider, files, addresses, api_port) | {"PLAYHEAD_DATABASE_URL": database_url}
        for name in ("worker", "api"):
            service = await Service.start(name, name, environment=environment, log_file=files.log_file(name))
            exit_stack.push_async_callback(service.end)
        url = f"http://{LOOPBACK}:{api_port}"
        await wait_until_ready(url)
        yield url, secret


def _environment(
    provider: TimedProvider, files: DemoFiles, addresses: ServerAddresses, api_port: int
) -> dict[str, str]:
    return {
        **environment_of(os.environ, files, addresses, api_port, MODEL),
        "OPENAI_BASE_URL": provider.base_url,
        "OPENAI_API_KEY": "benchmarks",
        "PLAYHEAD_LOG_LEVEL": "warning",
        "PLAYHEAD_MODEL_HEARTBEAT_TIMEOUT_SECONDS": "10",
    }
