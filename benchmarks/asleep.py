"""Many open sessions that nobody talks to: their memory, and the time that one takes to wake up.

    make bench ARGS=--asleep          # 5,000 sessions; ARGS="--asleep 500" for fewer

One worker, one API and Temporal on SQLite, each a process of its own. A conversation of a thousand turns is held first,
then the sessions are opened: each greets and is left alone. Then some are woken: the newest, which the worker has in
its cache of workflows; the oldest, which it has dropped and must replay; and the long one, once after it was dropped
from the cache, and once after a restart of the worker, when nothing of it is in memory.
"""

import asyncio
import json
import os
import statistics
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import perf_counter

from benchmarks.report import Measure
from benchmarks.sessions import AGENT, Connection
from benchmarks.stack import Ground, prepared_ground, wait_until_ready
from playhead.demo.stack import Service

LONG_TURNS = 1_000
OPENERS = 16
"""Sessions that are opened at the same time."""
WOKEN = 60
"""Sessions that are woken of each kind, one after the other."""
MIN_SESSIONS = 2 * WOKEN + 1
LIMIT_SECONDS = 30 * 24 * 3600
"""Inactivity limit of the sessions: no timer fires while they are measured."""
COLD_GOAL_MS = 1_000.0
SETTLED_SECONDS = 5.0
"""The processes count as idle when they have used no more than a tenth of a processor for so long."""
MEGABYTE = 1024.0


async def asleep(sessions: int) -> list[Measure]:
    """Hold a long conversation, open the sessions, and wake some of them."""
    async with _Services.running() as services:
        talk = await _Talk.open(services)
        print(f"a conversation of {LONG_TURNS:,} turns ...", flush=True)
        (long_session,) = await talk.create_many(1)
        await talk.converse(long_session, LONG_TURNS)
        await services.come_to_rest()
        before = services.memory()
        print(f"{sessions:,} sessions ...", flush=True)
        began = perf_counter()
        ids = await talk.create_many(sessions)
        opened = sessions / (perf_counter() - began)
        await services.come_to_rest()
        after = services.memory()
        print("waking some of them ...", flush=True)
        cached = [await talk.woken(each) for each in reversed(ids[-WOKEN:])]
        dropped = [await talk.woken(each) for each in ids[:WOKEN]]
        long_dropped = await talk.woken(long_session)
        again = await talk.woken(long_session)
        await services.restart_worker()
        await talk.woken(ids[WOKEN])  # the worker's first call of all
        long_cold = await talk.woken(long_session)
    return [
        *_memory_measures(before, after, sessions),
        Measure("sessions opened, with their greeting", "per s", None, opened, None, "at_least"),
        *_wake_measures("a cached session", cached),
        *_wake_measures("a session that left the cache", dropped),
        Measure(f"waking {LONG_TURNS:,} turns that left the cache", "ms", again, long_dropped, None, "at_most"),
        Measure(f"waking {LONG_TURNS:,} turns in a new worker", "ms", None, long_cold, COLD_GOAL_MS, "within"),
    ]


def _memory_measures(before: dict[str, float], after: dict[str, float], sessions: int) -> Iterable[Measure]:
    for name, found in before.items():
        yield Measure(f"memory of the {name}, before and with them", "MB", found, after[name], None, "at_most")
        each = (after[name] - found) * MEGABYTE / sessions
        yield Measure(f"memory of the {name} for each session", "kB", None, each, None, "within")


def _wake_measures(name: str, taken: list[float]) -> Iterable[Measure]:
    yield Measure(f"waking {name}, p50", "ms", None, statistics.median(taken), None, "within")
    yield Measure(f"waking {name}, slowest of {len(taken)}", "ms", None, max(taken), None, "within")


class _Services:
    """Temporal, a worker and an API. The worker can be restarted."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._running: dict[str, Service] = {}
        self._server = _child_of(os.getpid(), "start-dev")

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator["_Services"]:
        async with prepared_ground() as ground, AsyncExitStack() as opened:
            services = cls(ground)
            opened.push_async_callback(services.end)
            await services.start("worker")
            await services.start("api")
            await wait_until_ready(ground.api_url)
            yield services

    @property
    def api_url(self) -> str:
        return self._ground.api_url

    @property
    def api_key(self) -> str:
        return self._ground.api_key

    async def start(self, name: str) -> None:
        self._running[name] = await self._ground.start(name)

    async def restart_worker(self) -> None:
        await self._running["worker"].end()
        await self.start("worker")
        await self.come_to_rest()

    async def end(self) -> None:
        for service in self._running.values():
            await service.end()

    def memory(self) -> dict[str, float]:
        """The proportional set size of each process in megabytes."""
        return {name: _pss(pid) for name, pid in self._pids().items()}

    async def come_to_rest(self) -> None:
        """Wait until the processes are idle."""
        while True:
            before = sum(map(_processor_seconds, self._pids().values()))
            await asyncio.sleep(SETTLED_SECONDS)
            if sum(map(_processor_seconds, self._pids().values())) - before < SETTLED_SECONDS / 10:
                return

    def _pids(self) -> dict[str, int]:
        return {"Temporal server": self._server, **{name: service.pid for name, service in self._running.items()}}


class _Talk:
    """The clients. Each opens connections of its own, because the API closes those that are idle."""

    def __init__(self, services: _Services, agent_id: str) -> None:
        self._services = services
        self._body = json.dumps({"agent": agent_id}).encode()

    @classmethod
    async def open(cls, services: _Services) -> "_Talk":
        limits = {"max_turns": 100_000, "inactivity_seconds": LIMIT_SECONDS}
        connection = await Connection.open(services.api_url, services.api_key)
        agent = json.loads(await connection.post("/v1/agents", json.dumps({**AGENT, "limits": limits}).encode()))
        connection.close()
        return cls(services, agent["id"])

    async def create_many(self, sessions: int) -> list[str]:
        """Open sessions; those that were opened last come last."""
        found: list[str] = []

        async def open_some() -> None:
            connection = await self._connect()
            while left:
                left.pop()
                found.append(str(json.loads(await connection.post("/v1/sessions", self._body))["id"]))
            connection.close()

        left = list(range(sessions))
        await asyncio.gather(*(open_some() for _ in range(min(OPENERS, sessions))))
        return found

    async def converse(self, session_id: str, turns: int) -> None:
        """Hold a conversation of so many turns."""
        connection = await self._connect()
        for number in range(turns):
            await _say(connection, session_id, f"Message {number}, and a little more.")
        connection.close()

    async def woken(self, session_id: str) -> float:
        """The milliseconds from a message to its reply."""
        connection = await self._connect()
        began = perf_counter()
        await _say(connection, session_id, "Are you still there?")
        taken = (perf_counter() - began) * 1_000
        connection.close()
        return taken

    async def _connect(self) -> Connection:
        return await Connection.open(self._services.api_url, self._services.api_key)


async def _say(connection: Connection, session_id: str, text: str) -> None:
    await connection.post(f"/v1/sessions/{session_id}/messages", json.dumps({"text": text}).encode())


def _child_of(parent: int, mark: str) -> int:
    """The child process that has this text among its arguments."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return next(int(pid) for pid in children if mark in Path(f"/proc/{pid}/cmdline").read_text())


def _pss(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / MEGABYTE


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
