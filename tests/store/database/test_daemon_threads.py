"""Daemon threads: results, errors, and processes that end although one of their threads does not."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from store.database.daemon_threads import in_daemon_thread

ROOT = Path(__file__).parents[3]
NEVER_ENDS = {
    "a function": """
        from store.database.daemon_threads import in_daemon_thread
        async def main():
            await asyncio.wait([in_daemon_thread(never, name="never")], timeout=0.05)
    """,
    "the look at a disk": """
        from store.database.connection import Database
        from store.database.sqlite import SqliteFile
        SqliteFile._require_room = lambda _: never()
        async def main():
            database = Database.open("sqlite:///x.db")
            for _ in range(3):
                with suppress(TimeoutError):
                    await asyncio.wait_for(database.require_room(), 0.05)
            looking = [thread for thread in threading.enumerate() if thread.name == "store-room"]
            assert len(looking) == 1, looking
            await database.aclose()
    """,
    "a transaction": """
        from store.database import sqlite_threads
        from store.database.connection import Database
        sqlite_threads.CLOSING_SECONDS = 0.1
        async def main():
            database = Database.open("sqlite:///x.db")
            with suppress(TimeoutError):
                await asyncio.wait_for(database.read(lambda _: never()), 0.3)
            await database.aclose()
    """,
    "the parser of a document": """
        from api.documents import reader
        from api.http import reading_threads
        reader._text = lambda *_: never()
        reading_threads.READING_SECONDS = 0.05
        reading_threads.ReadingThreads.__init__.__defaults__ = (0.05,)
        async def main():
            try:
                await reader.DocumentReader().read(b"# Fees", "markdown")
            except reader.ReaderBusy:
                return
            raise AssertionError("nobody waits for ever")
    """,
    "the resolver": """
        import socket
        from activities.network.egress_guard import system_resolver
        socket.getaddrinfo = lambda *_, **__: never()
        async def main():
            with suppress(TimeoutError):
                await asyncio.wait_for(system_resolver("slow.example", 443), 0.05)
    """,
}


async def test_results_and_errors_are_handed_over() -> None:
    assert await in_daemon_thread(lambda: 42, name="quick") == 42
    with pytest.raises(ZeroDivisionError):
        await in_daemon_thread(lambda: 1 // 0, name="quick")


async def test_a_shielded_future_completes_when_the_thread_ends() -> None:
    release = threading.Event()
    running = in_daemon_thread(release.wait, name="slow")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(running), 0.05)
    release.set()
    assert await running is True


@pytest.mark.parametrize("what", NEVER_ENDS)
def test_a_process_ends_while_a_thread_does_not(what: str, tmp_path: Path) -> None:
    lines = [line.removeprefix(" " * 8) for line in NEVER_ENDS[what].splitlines()]
    head = ["import asyncio, threading", "from contextlib import suppress", "never = threading.Event().wait"]
    script = "\n".join([*head, *lines, "asyncio.run(main())", "print('ended')"])
    ended = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert (ended.stdout, ended.returncode) == ("ended\n", 0), ended.stderr
