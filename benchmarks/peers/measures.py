"""The three measures of a peer: a long conversation, a crowd of conversations, and a crash in the middle of a reply."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from benchmarks.peers.interface import MESSAGE, TOOL_MESSAGE, Settings
from benchmarks.peers.provider import Provider
from benchmarks.peers.services import Need, Services, running_services
from playhead.temporal.dev_server import kill_with_parent
from tests.support.postgres import Postgres

ROOT = Path(__file__).parents[2]
PEERS_PYTHON = ROOT / "build" / "peers-venv" / "bin" / "python"
LOG = ROOT / "build" / "bench-peers.log"
MAX_REPORT = 2**24
ORDER_SECONDS = 600.0
"""The longest time for one order; then the peer counts as hanging."""
STOP_SECONDS = 10.0
STRETCH = 100
"""Stored bytes are measured every so many turns, and where a column of the table asks for it."""
CROWD = 50
WARM_UP_SECONDS = 2.0
CRASH_MODEL_SECONDS = 10.0
CRASH_HEARTBEAT_SECONDS = 2.0
"""Timeouts of a model call in the measure of crashes, for all that have such timeouts."""
HELD_SECONDS = 0.5
"""Seconds from the beginning of the second reply to the kill: time for what is written in the background."""
ITSELF_SECONDS = 15.0
"""Time for a restarted peer to continue by itself."""
Json = dict[str, Any]  # Any: reports


@dataclass(frozen=True)
class Candidate:
    """A framework to measure: how people call it, its module, and what it runs on."""

    name: str
    module: str
    need: Need

    @property
    def is_playhead(self) -> bool:
        return self.need.startswith("playhead")


CANDIDATES = (
    Candidate("langgraph, SQLite", "langgraph_sqlite", "sqlite"),
    Candidate("langgraph, PostgreSQL", "langgraph_postgres", "postgres"),
    Candidate("pydantic-ai TemporalAgent", "pydantic_ai_temporal", "temporal"),
    Candidate("OpenAI Agents SDK on Temporal", "openai_agents_temporal", "temporal"),
    Candidate("DBOS, PostgreSQL", "dbos_postgres", "postgres"),
    Candidate("Playhead, SQLite", "playhead_http", "playhead-sqlite"),
    Candidate("Playhead, PostgreSQL", "playhead_http", "playhead-postgres"),
)


class PeerFailed(Exception):
    """The peer's process ended, hangs, or could not carry out an order."""


@dataclass
class PeerProcess:
    """The running process of a peer."""

    versions: dict[str, str]
    _process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        return self._process.pid

    @classmethod
    async def start(cls, candidate: Candidate, settings: Settings) -> Self:
        """Start the process; it is ready when this returns."""
        python = sys.executable if candidate.is_playhead else PEERS_PYTHON
        with LOG.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(python, "-m", "benchmarks.peers.process", candidate.module),
                cwd=ROOT,
                env={**os.environ, **settings.environment()},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=MAX_REPORT,
                preexec_fn=kill_with_parent(),
            )
        peer = cls({}, process)
        peer.versions = (await peer._report())["versions"]
        return peer

    async def order(self, name: str, /, **details: object) -> Json:
        """Have an order carried out; returns the report. Raises PeerFailed."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"order": name, **details}).encode() + b"\n")
        report = await self._report()
        if "failed" in report:
            raise PeerFailed(report["failed"])
        return report

    async def kill(self) -> None:
        """End the process with SIGKILL."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def end(self) -> None:
        """Let the process end; kill it if that takes too long."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            await self.kill()

    async def _report(self) -> Json:
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), ORDER_SECONDS)
        except TimeoutError:
            raise PeerFailed(f"no answer within {ORDER_SECONDS:g} seconds") from None
        if not line:
            raise PeerFailed(f"its process ended with status {await self._process.wait()}; see {LOG.name}")
        report: Json = json.loads(line)
        return report


@dataclass
class Bench:
    """The services that all peers share: the provider and the PostgreSQL server."""

    provider: Provider
    postgres: Postgres
    versions: dict[str, dict[str, str]] = field(default_factory=dict)

    async def talk(self, candidate: Candidate, marks: Sequence[int]) -> Json:
        """One conversation up to the last mark: every latency, the stored bytes on the way, the memory at the end."""
        async with self._running(candidate, Settings(self.provider.url)) as (services, peer):
            await peer.order("begin", names=["talk"], past_turns=0)
            empty = await services.stored_megabytes()
            taken: list[float] = []
            stored: dict[int, float] = {}
            died = None
            for mark in sorted({*marks, *range(STRETCH, max(marks), STRETCH)}):
                try:
                    report = await peer.order("talk", name="talk", turns=mark - len(taken))
                except PeerFailed as failure:
                    died = str(failure)
                    break
                taken += report["milliseconds"]
                stored[len(taken)] = await services.stored_megabytes() - empty
                if died := report.get("died"):
                    break
            return {
                "milliseconds": [round(each, 2) for each in taken],
                "stored_megabytes": {turn: round(size, 2) for turn, size in stored.items()},
                "memory_megabytes": round(services.own_memory_megabytes(peer.pid), 1),
                "server_memory_megabytes": round(services.server_memory_megabytes(), 1),
                "died": died,
            }

    async def crowds(self, candidate: Candidate, ages: Sequence[int], seconds: float) -> Json:
        """Replies a second of fifty conversations at once, by the turns that they have behind them."""
        found: Json = {}
        async with self._running(candidate, Settings(self.provider.url)) as (_, peer):
            for age in sorted(ages):
                names = [f"crowd-{age}-{number}" for number in range(CROWD)]
                await peer.order("begin", names=names, past_turns=age)
                found[str(age)] = await peer.order("crowd", names=names, warm_up=WARM_UP_SECONDS, seconds=seconds)
        return found

    async def crash(self, candidate: Candidate) -> Json:
        """Kill a peer in the middle of the second reply of a turn, whose first reply called a tool.

        Once as soon as the second reply has begun, once a moment later. The provider's journal counts all paid calls:
        by the kill, the first reply had arrived whole, and the tool had answered.
        """
        settings = replace(
            Settings(self.provider.url),
            with_tool="yes",
            model_seconds=f"{CRASH_MODEL_SECONDS:g}",
            heartbeat_seconds=f"{CRASH_HEARTBEAT_SECONDS:g}",
        )
        async with self._running(candidate, settings) as (services, first):
            await first.order("begin", names=["crash"], past_turns=0)
            await first.order("say", name="crash", text=MESSAGE, message_id="before")
            second = await self._killed_in_a_reply(candidate, services, first, "first", held_seconds=0)
            await self._repeated(second, "first")
            at_once = dict(self.provider.journal)
            third = await self._killed_in_a_reply(candidate, services, second, "second", held_seconds=HELD_SECONDS)
            killed_at = time.perf_counter()
            by_itself = await self._called_again(ITSELF_SECONDS)
            seconds = time.perf_counter() - killed_at
            await self._repeated(third, "second")
            later = dict(self.provider.journal)
            await third.order("say", name="crash", text=MESSAGE, message_id="after")
            if third is not first:
                await third.end()
            roles = [message["role"] for message in self.provider.last_messages]
            return {
                "paid_at_once": at_once,
                "paid_later": later,
                "continues": "by itself" if by_itself else "when asked",
                "seconds": round(seconds, 1) if by_itself else None,
                "roles_of_next_request": roles[roles.index("user") :],  # without instructions and greeting
            }

    async def _killed_in_a_reply(
        self, candidate: Candidate, services: Services, peer: PeerProcess, message_id: str, held_seconds: float
    ) -> PeerProcess:
        """Send a message, kill the peer in the middle of its second reply, and start it again; returns its process."""
        self.provider.journal.clear()
        self.provider.hold()
        await peer.order("send", name="crash", text=TOOL_MESSAGE, message_id=message_id)
        await asyncio.wait_for(self.provider.holding(), ITSELF_SECONDS)
        await asyncio.sleep(held_seconds)
        if services.playhead is not None:
            await services.playhead.kill()
            self.provider.release()
            await services.playhead.start()
            return peer
        await peer.kill()
        self.provider.release()
        return await PeerProcess.start(candidate, services.settings)

    async def _repeated(self, peer: PeerProcess, message_id: str) -> None:
        await peer.order("repeat", name="crash", text=TOOL_MESSAGE, message_id=message_id)

    async def _called_again(self, seconds: float) -> bool:
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            if self.provider.journal["reply_after_tool"] > 1:
                return True
            await asyncio.sleep(0.05)
        return False

    @asynccontextmanager
    async def _running(self, candidate: Candidate, settings: Settings) -> AsyncIterator[tuple[Services, PeerProcess]]:
        async with AsyncExitStack() as exit_stack:
            services = await exit_stack.enter_async_context(running_services(candidate.need, self.postgres, settings))
            peer = await PeerProcess.start(candidate, services.settings)
            exit_stack.push_async_callback(peer.end)
            self.versions[candidate.name] = peer.versions
            yield services, peer
