"""Threads that read bodies: few, with a deadline, and none that keeps a process alive."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from api.http.reading_threads import MAX_THREADS, ReadingThreads

ROOT = Path(__file__).parents[3]
ENDS = """
import asyncio, threading
from api.http.reading_threads import ReadingThreads

async def main():
    try:
        await ReadingThreads(seconds=0.05).run(threading.Event().wait)
    except TimeoutError:
        print("gave up")

asyncio.run(main())
"""


async def test_result_and_error_are_handed_over() -> None:
    threads = ReadingThreads()
    assert await threads.run(lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)


async def test_thread_that_does_not_end_keeps_its_place_until_it_does() -> None:
    threads, release = ReadingThreads(seconds=0.1), threading.Event()
    for _ in range(MAX_THREADS):
        with pytest.raises(TimeoutError):
            await threads.run(release.wait)
    with pytest.raises(TimeoutError):
        await threads.run(lambda: 1)
    release.set()
    async with asyncio.timeout(10):
        while True:
            try:
                assert await threads.run(lambda: 1) == 1
                break
            except TimeoutError:
                continue


def test_process_ends_while_a_thread_does_not() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDS],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout == "gave up\n"
