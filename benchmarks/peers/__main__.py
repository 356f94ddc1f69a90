"""`make bench-peers`: the same conversation in Playhead and in the frameworks that people would choose instead.

Each peer runs alone, in a process of its own, on services of its own. All call the same model provider over HTTP, which
answers without delay and keeps a journal.
"""

import argparse
import asyncio
import json
import subprocess
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from benchmarks.peers.document import write_documentation
from benchmarks.peers.measures import CANDIDATES, LOG, PEERS_PYTHON, ROOT, Bench, Candidate, PeerFailed
from benchmarks.peers.provider import running_provider
from benchmarks.peers.tables import tables
from tests.support.postgres import running_postgres

REPORT = ROOT / "build" / "bench-peers.json"
MARKS = (10, 100, 500, 1_000)
AGES = (1, 100, 300)
MEASURES = ("talk", "crowd", "crash")
Json = dict[str, Any]  # Any: reports


@dataclass(frozen=True)
class Plan:
    """The measures to take, and their lengths."""

    candidates: list[Candidate]
    measures: list[str]
    turns: int
    ages: list[int]
    seconds: float


async def measure(plan: Plan, results: Json) -> None:
    """Run the measures of each peer, one after the other, and save what is found after each.

    A peer that fails is reported as failed.
    """
    marks = sorted({mark for mark in MARKS if mark < plan.turns} | {plan.turns})
    results |= {"marks": marks, "ages": plan.ages, "measured": time.strftime("%Y-%m-%d")}
    async with running_provider() as provider:
        with running_postgres() as postgres:
            bench = Bench(provider, postgres)
            for candidate in plan.candidates:
                result: Json = results["peers"].setdefault(candidate.name, {})
                if "talk" in plan.measures:
                    result["talk"] = await _tried(candidate, "talk", bench.talk(candidate, marks))
                if "crowd" in plan.measures:
                    crowds = bench.crowds(candidate, plan.ages, plan.seconds)
                    result["crowd"] = await _tried(candidate, "crowd", crowds)
                if "crash" in plan.measures:
                    result["crash"] = await _tried(candidate, "crash", bench.crash(candidate))
                result["versions"] = bench.versions.get(candidate.name, {})
                order = [each.name for each in CANDIDATES if each.name in results["peers"]]
                results["peers"] = {name: results["peers"][name] for name in order}
                REPORT.write_text(json.dumps(results, indent=1) + "\n")


async def _tried(candidate: Candidate, name: str, measuring: Awaitable[Json]) -> Json:
    began = time.perf_counter()
    try:
        result = await measuring
    except (PeerFailed, TimeoutError) as error:
        result = {"failed": str(error) or type(error).__name__}
    print(f"{candidate.name}: {name} took {time.perf_counter() - began:.0f} s", flush=True)
    return result


def main() -> None:
    """Measure, print, and write build/bench-peers.json. The exit status is 0 whatever is found."""
    modules = [candidate.module for candidate in CANDIDATES]
    parser = argparse.ArgumentParser(prog="make bench-peers", description=main.__doc__)
    parser.add_argument("--turns", type=int, default=MARKS[-1], help="turns of the long conversation")
    parser.add_argument("--ages", type=int, nargs="*", default=AGES, help="turns behind the conversations of the crowd")
    parser.add_argument("--seconds", type=float, default=6.0, help="seconds of one crowd")
    parser.add_argument("--peers", nargs="*", default=modules, choices=modules, help="modules of the peers to measure")
    parser.add_argument("--measures", nargs="*", default=MEASURES, choices=MEASURES)
    parser.add_argument("--docs", action="store_true", help="write tables and plots into docs/ as well")
    parser.add_argument("--add", action="store_true", help="keep what was measured last of other peers and measures")
    parser.add_argument("--again", action="store_true", help="measure nothing; show what was measured last")
    arguments = parser.parse_args()
    if not arguments.again:
        LOG.parent.mkdir(exist_ok=True)
        LOG.write_bytes(b"")
        chosen = [candidate for candidate in CANDIDATES if candidate.module in arguments.peers]
        earlier = json.loads(REPORT.read_text())["peers"] if arguments.add else {}
        found: Json = {"peers": earlier}
        began = time.perf_counter()
        plan = Plan(chosen, arguments.measures, arguments.turns, list(arguments.ages), arguments.seconds)
        asyncio.run(measure(plan, found))
        print(f"\nwritten to {REPORT.relative_to(ROOT)} after {time.perf_counter() - began:.0f} s\n")
    results = json.loads(REPORT.read_text())
    print(tables(results))
    if arguments.docs:
        write_documentation(ROOT, results)
        subprocess.run([PEERS_PYTHON, "-m", "benchmarks.peers.plots", REPORT, ROOT / "docs" / "images"], check=True)


if __name__ == "__main__":
    main()
