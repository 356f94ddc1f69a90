"""`make bench ARGS=--scale`: throughput on PostgreSQL by the number of processes, CPU by process, actions per turn.

Everything runs on one machine, so this shows what costs what, and not what several machines would reach. Temporal is
the development server on SQLite.
"""

import asyncio
import json
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from temporalio.client import Client

from benchmarks.actions import history_actions, server_actions
from benchmarks.load import TEXT, throughput
from benchmarks.playhead_processes import PlayheadProcesses, running_playhead
from benchmarks.processes import all_processes, cpu_seconds, parent_of
from benchmarks.sessions import AGENT, Connection
from contracts.sessions import session_workflow_id
from playhead.demo_model import DEMO_MODEL
from playhead.temporal.dev_server import LOOPBACK
from tests.support.postgres import Postgres, running_postgres

REPORT = Path("build/bench-scale.json")
LAYOUTS = ((1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (4, 2))
"""Numbers of workers and of APIs."""
SESSIONS = 50
WARM_UP_SECONDS = 3.0
GROUP = 4
"""Sessions of each length, at each pace."""
METRICS_SECONDS = 3.0
"""The server's own count is behind by less than this."""
PRICE_PER_MILLION = 50.0
"""US dollars for a million actions: the list price of the first five million of a month, November 2026."""
ACTIVE_PRICE, RETAINED_PRICE = 0.042, 0.00105
"""US dollars for a gigabyte of history for an hour, of open and of closed workflows, November 2026."""
TURNS_PER_SESSION = 20
OPEN_HOURS = 1.0
RETAINED_HOURS = 7 * 24.0
"""Assumptions of the cost: length of a session, time until it ends, time that Temporal keeps it."""


@dataclass(frozen=True)
class Layout:
    """Throughput of a number of processes, and the CPU milliseconds of one turn by process."""

    workers: int
    apis: int
    turns_per_second: float
    milliseconds: dict[str, float]
    cores: float
    """Processors in use, of those that the machine has."""


@dataclass(frozen=True)
class Pace:
    """A pace of messages, in sessions of two lengths: their difference is the cost of turns."""

    name: str
    seconds: float
    """From one message to the next."""
    reply_seconds: float
    turns: tuple[int, int]
    watched: bool = False


MACHINE_PACES = (Pace("a message a second", 1.0, 0.0, (5, 25)),)
HUMAN_PACES = (
    Pace("a message in six seconds", 6.0, 1.0, (2, 7)),
    Pace("the same, watched", 6.0, 1.0, (2, 7), watched=True),
)
"""Those of a group run at once, on one stack."""


@dataclass(frozen=True)
class Cost:
    """Actions and bytes of history of one turn, and of opening and ending a session."""

    pace: str
    turn_actions: dict[str, float]
    session_actions: dict[str, float]
    turn_bytes: float

    def dollars(self) -> float:
        """The price of a million turns: actions and storage."""
        actions = sum(self.turn_actions.values()) + sum(self.session_actions.values()) / TURNS_PER_SESSION
        gigabytes = self.turn_bytes / 1_000
        return actions * PRICE_PER_MILLION + gigabytes * (OPEN_HOURS * ACTIVE_PRICE + RETAINED_HOURS * RETAINED_PRICE)


class SpreadSessions:
    """Sessions over several APIs as one target of the load, each with its own connection; counts what was sent."""

    def __init__(self, ids: list[str], connections: list[Connection]) -> None:
        self.ids = ids
        self.sent = 0
        self._connections = connections

    @classmethod
    async def open(cls, playhead: PlayheadProcesses, sessions: int) -> "SpreadSessions":
        urls = [playhead.api_urls[number % len(playhead.api_urls)] for number in range(sessions)]
        connections = [await Connection.open(url, playhead.api_key) for url in urls]
        agent = json.loads(await connections[0].post("/v1/agents", json.dumps(AGENT).encode()))
        body = json.dumps({"agent": agent["id"]}).encode()
        return cls([json.loads(await each.post("/v1/sessions", body))["id"] for each in connections], connections)

    async def say(self, session: int, text: str) -> None:
        """Send a message; returns when the reply has arrived."""
        body = json.dumps({"text": text}).encode()
        await self._connections[session].post(f"/v1/sessions/{self.ids[session]}/messages", body)
        self.sent += 1

    async def close(self) -> None:
        for session_id, connection in zip(self.ids, self._connections, strict=True):
            await connection.post(f"/v1/sessions/{session_id}/end", b"{}")
            connection.close()


async def scale(seconds: float, *, actions_only: bool = False) -> None:
    """Measure all layouts, then the actions of a turn; print, and write build/bench-scale.json."""
    layouts, costs = [], []
    with running_postgres() as postgres:
        for workers, apis in () if actions_only else LAYOUTS:
            print(f"{workers} workers, {apis} APIs ...", flush=True)
            layouts.append(await _layout(postgres, workers, apis, seconds))
    print("actions of turns at several paces ...", flush=True)
    for paces in (MACHINE_PACES, HUMAN_PACES):
        async with AsyncExitStack() as exit_stack:
            costs += await _costs(exit_stack, paces)
    _show(layouts, costs)


async def _layout(postgres: Postgres, workers: int, apis: int, seconds: float) -> Layout:
    url = postgres.new_database()
    settings = {"PLAYHEAD_DEMO_DELAY_SECONDS": "0"}
    async with running_playhead(
        model=DEMO_MODEL, settings=settings, database_url=url, workers=workers, apis=apis
    ) as playhead:
        groups = {
            "worker": [service.pid for service in playhead.workers],
            "API": [service.pid for service in playhead.apis],
            "Temporal": [playhead.temporal_pid],
            "PostgreSQL": [await _postgres_pid(url)],
        }
        sessions = await SpreadSessions.open(playhead, SESSIONS)
        await throughput(sessions, sessions=SESSIONS, warm_up=0, seconds=WARM_UP_SECONDS)
        sent, began = sessions.sent, time.perf_counter()
        before = {name: cpu_seconds(pids) for name, pids in groups.items()} | {"load": time.process_time()}
        rate = await throughput(sessions, sessions=SESSIONS, warm_up=0, seconds=seconds)
        after = {name: cpu_seconds(pids) for name, pids in groups.items()} | {"load": time.process_time()}
        wall, turns = time.perf_counter() - began, sessions.sent - sent
        used = {name: after[name] - before[name] for name in before}
        await sessions.close()
    postgres.drop_database(url)
    milliseconds = {name: round(spent / turns * 1_000, 1) for name, spent in used.items()}
    return Layout(workers, apis, round(rate, 1), milliseconds, round(sum(used.values()) / wall, 2))


async def _postgres_pid(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return parent_of(await connection.fetchval("SELECT pg_backend_pid()"))
    finally:
        await connection.close()


async def _costs(exit_stack: AsyncExitStack, paces: Sequence[Pace]) -> list[Cost]:
    """Talk at all paces at once, and count the actions of each.

    Runs on PostgreSQL, through which an API notifies the workers of its watchers.
    """
    settings = {"PLAYHEAD_DEMO_DELAY_SECONDS": f"{paces[0].reply_seconds:g}"}
    url = exit_stack.enter_context(running_postgres()).new_database()
    playhead = await exit_stack.enter_async_context(
        running_playhead(model=DEMO_MODEL, settings=settings, database_url=url)
    )
    plan = [(pace, turns) for pace in paces for turns in pace.turns for _ in range(GROUP)]
    sessions = await SpreadSessions.open(playhead, len(plan))
    watched = [session_id for session_id, (pace, _) in zip(sessions.ids, plan, strict=True) if pace.watched]
    watchers = [await _watch(exit_stack, playhead, session_id) for session_id in watched]

    async def talk(session: int) -> None:
        pace, turns = plan[session]
        started = time.perf_counter() + pace.seconds * session / len(plan)  # people do not speak in step
        for number in range(turns):
            await asyncio.sleep(started + number * pace.seconds - time.perf_counter())
            await sessions.say(session, TEXT)

    await asyncio.gather(*(talk(session) for session in range(len(plan))))
    await sessions.close()
    for watcher in watchers:
        watcher.cancel()
    unseen = await _unseen(playhead, turns=sum(turns for _, turns in plan), sessions=len(plan))
    groups = [sessions.ids[start : start + GROUP] for start in range(0, len(plan), GROUP)]
    return [await _cost(playhead, pace, groups[2 * n : 2 * n + 2], unseen) for n, pace in enumerate(paces)]


async def _watch(exit_stack: AsyncExitStack, playhead: PlayheadProcesses, session_id: str) -> asyncio.Task[None]:
    """Read the event stream of a session, as a page does."""
    address = urlsplit(playhead.api_urls[0])
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    exit_stack.callback(writer.close)
    head = f"GET /v1/sessions/{session_id}/events HTTP/1.1\r\nHost: {address.netloc}\r\n"
    writer.write(f"{head}Authorization: Bearer {playhead.api_key}\r\nAccept: text/event-stream\r\n\r\n".encode())
    await reader.readuntil(b"event: snapshot")

    async def read() -> None:
        while await reader.read(2**16):
            pass

    return asyncio.create_task(read())


@dataclass(frozen=True)
class _Unseen:
    """Actions that are in no history: heartbeats of a turn and queries of a session, on average."""

    heartbeats: float
    queries: float


async def _unseen(playhead: PlayheadProcesses, turns: int, sessions: int) -> _Unseen:
    await asyncio.sleep(METRICS_SECONDS)
    arguments = all_processes()[playhead.temporal_pid].command.split()
    port = arguments[arguments.index("--metrics-port") + 1]
    counted = await asyncio.to_thread(server_actions, f"http://{LOOPBACK}:{port}/metrics")
    return _Unseen(counted["grpc_RecordActivityTaskHeartbeat"] / turns, counted["grpc_QueryWorkflow"] / sessions)


async def _cost(playhead: PlayheadProcesses, pace: Pace, sessions: Sequence[Sequence[str]], unseen: _Unseen) -> Cost:
    """The cost of a turn and of a session, from shorter and longer sessions that have ended."""
    client = await Client.connect(playhead.temporal_address)
    short, long = [await _averages(client, group) for group in sessions]
    more = pace.turns[1] - pace.turns[0]
    kinds = sorted({*short.actions, *long.actions})
    by_turn = {kind: (long.actions.get(kind, 0) - short.actions.get(kind, 0)) / more for kind in kinds}
    by_session = {kind: short.actions.get(kind, 0) - by_turn[kind] * pace.turns[0] for kind in kinds}
    by_turn["heartbeats"], by_session["queries"] = unseen.heartbeats, unseen.queries
    return Cost(
        pace.name,
        {kind: round(number, 2) for kind, number in by_turn.items() if abs(number) >= 0.005},
        {kind: round(number, 2) for kind, number in by_session.items() if abs(number) >= 0.005},
        round((long.history_bytes - short.history_bytes) / more),
    )


@dataclass(frozen=True)
class _Averages:
    actions: dict[str, float]
    history_bytes: float


async def _averages(client: Client, session_ids: Iterable[str]) -> _Averages:
    """Actions and bytes of history of a session, over all its runs."""
    actions: list[Counter[str]] = []
    sizes: list[int] = []
    for session_id in session_ids:
        counted: Counter[str] = Counter()
        size = 0
        async for run in client.list_workflows(f"WorkflowId = '{session_workflow_id(session_id)}'"):
            handle = client.get_workflow_handle(run.id, run_id=run.run_id)
            counted += history_actions((await handle.fetch_history()).events)
            size += (await handle.describe()).raw_description.workflow_execution_info.history_size_bytes
        actions.append(counted)
        sizes.append(size)
    kinds = {kind for counted in actions for kind in counted}
    return _Averages({kind: statistics.mean(each[kind] for each in actions) for kind in kinds}, statistics.mean(sizes))


def _show(layouts: list[Layout], costs: list[Cost]) -> None:
    """Print Markdown tables and write the report."""
    if layouts:
        groups = list(layouts[0].milliseconds)
        print(f"\n| workers | APIs | turns/s | cores in use | {' | '.join(f'ms {name}' for name in groups)} |")
        print("| " + "---: | " * (4 + len(groups)))
        for each in layouts:
            spent = " | ".join(f"{each.milliseconds[name]:.1f}" for name in groups)
            print(f"| {each.workers} | {each.apis} | {each.turns_per_second:.1f} | {each.cores:.2f} | {spent} |")
    print("\n| pace | actions a turn | of these | and a session | bytes of history a turn | $ a million turns |")
    print("| --- | ---: | --- | ---: | ---: | ---: |")
    for cost in costs:
        kinds = ", ".join(f"{kind} {number:g}" for kind, number in cost.turn_actions.items())
        turn, session = sum(cost.turn_actions.values()), sum(cost.session_actions.values())
        print(f"| {cost.pace} | {turn:.2f} | {kinds} | {session:.1f} | {cost.turn_bytes:,.0f} | {cost.dollars():.0f} |")
    print(
        f"\nAt ${PRICE_PER_MILLION:g} a million actions, {TURNS_PER_SESSION} turns a session, {OPEN_HOURS:g} h open,"
        f" {RETAINED_HOURS:g} h kept."
    )
    REPORT.parent.mkdir(exist_ok=True)
    rows = {"layouts": [asdict(each) for each in layouts], "costs": [asdict(each) for each in costs]}
    REPORT.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"written to {REPORT}")
