"""`make bench`: the cost of a message over HTTP, compared with the minimum cost of a durable reply.

Floor and measured sessions run on one Temporal server and alternate in short rounds, so that other load on the
machine affects both. Medians over the rounds are compared.
"""

import argparse
import asyncio
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter

from benchmarks.asleep import MIN_SESSIONS, asleep
from benchmarks.events import events_per_turn
from benchmarks.first_token import first_tokens
from benchmarks.floor import Floor
from benchmarks.load import Talk, latencies, throughput
from benchmarks.page import page_measures
from benchmarks.report import Measure, show
from benchmarks.scale import scale
from benchmarks.sessions import Connection, Sessions
from benchmarks.simulated import simulated
from benchmarks.stack import Stack, running_stack
from benchmarks.startup import startup_times

PACED_SESSIONS = 10
PACE = 5.0
READS = 5
"""Reads a second of the long session."""
SATURATING_SESSIONS = 50


async def measure(rounds: int, seconds: float, turns: int) -> list[Measure]:
    """Run both loads on both sides in alternating rounds, then the other measures."""
    async with running_stack() as stack:
        print("latency at 5 messages a second ...", flush=True)
        latency = await _paced(stack, rounds, seconds)
        print("throughput of 50 sessions ...", flush=True)
        served = await _saturated(stack, rounds, seconds)
        print(f"a session of {turns} turns ...", flush=True)
        late = await _long(stack, turns)
    print("the first token of streamed replies ...", flush=True)
    first = await first_tokens(rounds, seconds)
    print("the page with a long conversation ...", flush=True)
    return [
        *(*latency, *served, *late, *first),
        *(*await simulated(), *await page_measures(), *await startup_times()),
    ]


async def _paced(stack: Stack, rounds: int, seconds: float) -> list[Measure]:
    floor = await Floor.open(stack.client, PACED_SESSIONS, "paced")
    sessions = await Sessions.open(stack.api_url, stack.api_key, PACED_SESSIONS)
    taken: dict[str, list[float]] = {"floor": [], "measured": []}
    sides: list[tuple[str, Talk]] = [("floor", floor), ("measured", sessions)]
    for number in range(rounds + 1):
        for side, talk in sides:
            found = await latencies(talk, sessions=PACED_SESSIONS, per_second=PACE, seconds=seconds)
            if number > 0:  # the first round warms up
                taken[side] += found
    events = await events_per_turn(stack.client, sessions.ids)
    await floor.close()
    await sessions.close()
    p95 = {side: statistics.quantiles(found, n=20)[-1] for side, found in taken.items()}
    p50 = {side: statistics.median(found) for side, found in taken.items()}
    return [
        Measure("message p50", "ms", p50["floor"], p50["measured"], 1.2, "at_most"),
        Measure("message p95", "ms", p95["floor"], p95["measured"], None, "at_most"),
        Measure("events a turn at this pace", "events", None, events, 17, "within"),
    ]


async def _saturated(stack: Stack, rounds: int, seconds: float) -> list[Measure]:
    found: dict[str, list[float]] = {"floor": [], "measured": []}
    events = []
    for number in range(rounds):
        floor = await Floor.open(stack.client, SATURATING_SESSIONS, f"saturated-{number}")
        found["floor"].append(await throughput(floor, sessions=SATURATING_SESSIONS, warm_up=3, seconds=seconds))
        await floor.close()
        sessions = await Sessions.open(stack.api_url, stack.api_key, SATURATING_SESSIONS)
        found["measured"].append(await throughput(sessions, sessions=SATURATING_SESSIONS, warm_up=3, seconds=seconds))
        events.append(await events_per_turn(stack.client, sessions.ids))
        await sessions.close()
    floor_median, measured_median = statistics.median(found["floor"]), statistics.median(found["measured"])
    return [
        Measure("throughput of 50 sessions", "turns/s", floor_median, measured_median, 0.9, "at_least"),
        Measure("events a turn of 50 busy sessions", "events", None, statistics.median(events), 12, "within"),
    ]


async def _long(stack: Stack, turns: int) -> list[Measure]:
    """One session over several runs of its workflow; its own beginning is the floor. It goes on while it is read."""
    sessions = await Sessions.open(stack.api_url, stack.api_key, 1)
    taken = []
    for number in range(turns):
        began = perf_counter()
        await sessions.say(0, f"Message {number}, and a little more.")
        taken.append((perf_counter() - began) * 1_000)
    async with reading(stack, sessions.ids[0]) as reads:
        for number in range(turns // 2):
            await sessions.say(0, f"Another message {number}, and a little more.")
    await sessions.close()
    tenth = max(turns // 10, 1)
    early, late = statistics.median(taken[:tenth]), statistics.median(taken[-tenth:])
    usual, longest = statistics.median(reads), max(reads)
    return [
        Measure(f"last tenth of {turns:,} turns, to the first", "ms", early, late, 1.2, "at_most"),
        Measure(f"longest of {len(reads)} reads of that session, to the median", "ms", usual, longest, 2.0, "at_most"),
    ]


@asynccontextmanager
async def reading(stack: Stack, session_id: str) -> AsyncIterator[list[float]]:
    """Read the session `READS` times a second while the block runs; yields the milliseconds that each read took."""
    connection = await Connection.open(stack.api_url, stack.api_key)
    taken: list[float] = []

    async def read() -> None:
        while True:
            began = perf_counter()
            await connection.get(f"/v1/sessions/{session_id}")
            taken.append((perf_counter() - began) * 1_000)
            await asyncio.sleep(max(1 / READS - (perf_counter() - began), 0))

    reader = asyncio.create_task(read())
    try:
        yield taken
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        connection.close()


def main() -> None:
    """Measure, print, and write build/bench.json. The exit status is 0 even if goals are missed."""
    parser = argparse.ArgumentParser(prog="make bench", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each load on each side")
    parser.add_argument("--seconds", type=float, default=8.0, help="seconds of one round")
    parser.add_argument("--turns", type=int, default=2_000, help="turns of the long session")
    parser.add_argument("--page", action="store_true", help="measure the page only")
    parser.add_argument("--scale", action="store_true", help="measure numbers of processes and actions of turns only")
    parser.add_argument("--actions", action="store_true", help="measure actions of turns only")
    parser.add_argument("--asleep", type=int, nargs="?", const=5_000, help="measure so many idle sessions only")
    arguments = parser.parse_args()
    if arguments.scale or arguments.actions:
        asyncio.run(scale(arguments.seconds, actions_only=arguments.actions))
    elif arguments.page:
        show(asyncio.run(page_measures()))
    elif arguments.asleep is not None:
        if arguments.asleep < MIN_SESSIONS:
            parser.error(f"--asleep needs {MIN_SESSIONS} sessions or more: some of them are woken once each")
        show(asyncio.run(asleep(arguments.asleep)))
    else:
        show(asyncio.run(measure(arguments.rounds, arguments.seconds, arguments.turns)))


if __name__ == "__main__":
    main()
