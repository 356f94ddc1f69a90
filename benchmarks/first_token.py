"""How much later than the provider's first word the client's comes, in one process and with worker and API apart."""

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
from benchmarks.speaker import MODEL, Speaker, speaking
from benchmarks.stack import until_ready
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


class Listeners:
    """Sessions that are talked to by streamed messages. `late` are the milliseconds that first words took to arrive."""

    def __init__(self, base_url: str, api_key: str, speaker: Speaker, ids: list[str]) -> None:
        self._address = urlsplit(base_url)
        self._key = api_key
        self._speaker = speaker
        self._ids = ids
        self._free = [asyncio.Lock() for _ in ids]
        self._said = 0
        self.late: list[float] = []

    @classmethod
    async def open(cls, base_url: str, api_key: str, speaker: Speaker) -> Self:
        """Sessions that have greeted."""
        connection = await Connection.open(base_url, api_key)
        agent = json.loads(await connection.post("/v1/agents", json.dumps(AGENT).encode()))
        body = json.dumps({"agent": agent["id"]}).encode()
        ids = [json.loads(await connection.post("/v1/sessions", body))["id"] for _ in range(SESSIONS)]
        connection.close()
        return cls(base_url, api_key, speaker, ids)

    async def say(self, session: int, text: str) -> None:
        """One message, until its stream ends; a session that is still answering is waited for."""
        async with self._free[session]:
            await self._say(session, text)

    async def _say(self, session: int, text: str) -> None:
        self._said += 1
        words = f"{text} ({self._said})"
        body = json.dumps({"text": words}).encode()
        reader, writer = await asyncio.open_connection(self._address.hostname, self._address.port)
        head = (
            f"POST /v1/sessions/{self._ids[session]}/messages HTTP/1.1\r\nHost: {self._address.netloc}\r\n"
            f"Authorization: Bearer {self._key}\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await reader.readuntil(b"event: reply_delta")
        self.late.append((time.perf_counter() - self._speaker.spoke_at[words]) * 1000)
        await reader.read()
        writer.close()


async def first_tokens(rounds: int, seconds: float) -> list[Measure]:
    """Measure both ways of running Playhead, one after the other."""
    found = []
    async with speaking() as speaker:
        for name, stack in (("one process", _one_process), ("two processes", _two_processes)):
            async with stack(speaker) as (url, key):
                listeners = await Listeners.open(url, key, speaker)
                for number in range(rounds + 1):
                    if number == 1:  # the first round warms up
                        listeners.late.clear()
                    await latencies(listeners, sessions=SESSIONS, per_second=PACE, seconds=seconds)
            p50, p95 = statistics.median(listeners.late), statistics.quantiles(listeners.late, n=20)[-1]
            goal = GOAL_MILLISECONDS if stack is _one_process else None
            found.append(Measure(f"first token later, {name}, p50", "ms", None, p50, goal, "within"))
            found.append(Measure(f"first token later, {name}, p95", "ms", None, p95, None, "within"))
    return found


@asynccontextmanager
async def _one_process(speaker: Speaker) -> AsyncIterator[tuple[str, str]]:
    """`playhead dev`; its address and a key."""
    workshop = DemoFiles.make()
    place, api_port = ServerAddresses(workshop.folder, free_port(), free_port()), free_port()
    options = (
        f"--data-dir={workshop.folder}",
        f"--api-port={api_port}",
        f"--temporal-port={place.port}",
        f"--temporal-ui-port={place.ui_port}",
    )
    environment = _environment(speaker, workshop, place, api_port)
    async with AsyncExitStack() as opened:
        opened.callback(workshop.remove)
        stack = await Service.start("dev", "dev", *options, environment=environment, log_file=workshop.log_file("dev"))
        opened.push_async_callback(stack.end)
        url = f"http://{LOOPBACK}:{api_port}"
        await until_ready(url)
        yield url, DEV_KEY


@asynccontextmanager
async def _two_processes(speaker: Speaker) -> AsyncIterator[tuple[str, str]]:
    """`playhead worker` and `playhead api` on PostgreSQL; the API's address and a key."""
    workshop = DemoFiles.make()
    place, api_port = ServerAddresses(workshop.folder, free_port(), free_port()), free_port()
    async with AsyncExitStack() as opened:
        opened.callback(workshop.remove)
        postgres = opened.enter_context(running_postgres())
        database_url = postgres.new_database()
        async with aclosing(Database.open(database_url)) as database:
            await upgrade(database)
            _, secret = await KeyStore(database).create(ORGANIZATION, "benchmarks")
        await opened.enter_async_context(temporal_server(place))
        environment = _environment(speaker, workshop, place, api_port) | {"PLAYHEAD_DATABASE_URL": database_url}
        for name in ("worker", "api"):
            service = await Service.start(name, name, environment=environment, log_file=workshop.log_file(name))
            opened.push_async_callback(service.end)
        url = f"http://{LOOPBACK}:{api_port}"
        await until_ready(url)
        yield url, secret


def _environment(speaker: Speaker, workshop: DemoFiles, place: ServerAddresses, api_port: int) -> dict[str, str]:
    environment = environment_of(os.environ, workshop, place, api_port, MODEL)
    provider = {"OPENAI_BASE_URL": speaker.base_url, "OPENAI_API_KEY": "benchmarks", "PLAYHEAD_LOG_LEVEL": "warning"}
    return {**environment, **provider, "PLAYHEAD_MODEL_HEARTBEAT_TIMEOUT_SECONDS": "10"}
