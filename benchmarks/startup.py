"""Start-up times: the help of the command line, and a whole development stack in an empty folder."""

import asyncio
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.report import Measure
from playhead.temporal.dev_server import free_port, kill_with_parent

PLAYHEAD = str(Path(sys.executable).with_name("playhead"))
HELPS = 5
"""Runs of the help; their median counts. One run before them warms up the caches of the disk."""
STACKS = 3


async def startup_times() -> list[Measure]:
    """Seconds until the help is printed, and until `playhead dev` says that it is ready."""
    print("start-up times ...", flush=True)
    helps = [await _help() for _ in range(HELPS + 1)][1:]
    ready = [await _dev() for _ in range(STACKS + 1)][1:]
    return [
        Measure("playhead --help", "s", None, statistics.median(helps), 0.4, "within"),
        Measure("playhead dev, ready", "s", None, statistics.median(ready), 5.0, "within"),
    ]


async def _help() -> float:
    began = perf_counter()
    process = await asyncio.create_subprocess_exec(PLAYHEAD, "--help", stdout=asyncio.subprocess.DEVNULL)
    await process.wait()
    return perf_counter() - began


async def _dev() -> float:
    """Seconds from the start of a stack until it prints its addresses; it is stopped then."""
    with TemporaryDirectory() as folder:
        ports = {"api": free_port(), "temporal": free_port(), "temporal-ui": free_port()}
        options = [f"--{name}-port={port}" for name, port in ports.items()]
        began = perf_counter()
        process = await asyncio.create_subprocess_exec(
            *(PLAYHEAD, "dev", "--json", f"--data-dir={folder}", *options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            preexec_fn=kill_with_parent(),
        )
        assert process.stdout is not None
        try:
            if not await process.stdout.readline():
                raise RuntimeError("playhead dev ended before it was ready.")
            return perf_counter() - began
        finally:
            process.terminate()
            await process.communicate()
