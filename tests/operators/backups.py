"""A stack that was backed up at three points of its conversations, and stacks that run on the restored backups."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from tests.operators.operator_stack import Json, OperatedStack, copied, operated_stack, restored
from tests.support.loop_thread import LoopThread
from tests.support.postgres import Postgres
from tests.support.provider import ModelProvider

Point = Literal[1, 2, 3]
SAID = ("A table, please", "On Friday", "At eight")
DAYS = ("Monday", "Tuesday", "Wednesday")
"""The messages of every session, and the day that the prompt names with each; a backup was taken after each message."""
AGENT: Json = {"nodes": {"talk": {"prompt": "It is {{day | Sunday}}. Answer."}}}
DAILY = "86400"
"""Seconds between two runs of the reconciler's schedule: it runs when a worker starts, and not again."""
NEVER = "0"
AT_ONCE = 4
"""Sessions that receive messages at once: each message waits for a command line and for its reply."""
STORE, TEMPORAL = "playhead.db", "temporal.db"


class Backups:
    """Backups of the store and of Temporal at three points, with the sessions in them.

    A restored stack that sends messages needs a session of its own, because the provider's journal is not set
    back. `complete` are the sessions as they were at the last point.
    """

    def __init__(
        self,
        folder: Path,
        provider: ModelProvider,
        loop: LoopThread,
        postgres: Postgres | None,
        sessions: tuple[str, ...],
    ) -> None:
        self._folder = folder
        self._provider = provider
        self._loop = loop
        self._postgres = postgres
        self._databases: dict[Point, str] = {}
        self.sessions: dict[str, str] = {}
        self.complete: dict[str, Json] = {}
        url = postgres.new_database() if postgres else None
        points: tuple[Point, ...] = (1, 2, 3)
        for point in points:
            with self._running(folder, url, DAILY) as operated:
                self._talk(operated, sessions, point)
            self._back_up(url, point)

    @contextmanager
    def restored(
        self, folder: Path, *, store: Point | None, temporal: Point | None, interval: str = NEVER
    ) -> Iterator[OperatedStack]:
        """A stack on the databases of these points, None for an empty one; it is stopped after the block."""
        url = None
        if store and self._postgres:
            url = self._postgres.new_database(self._databases[store])
        elif store:
            restored(self._folder / f"backup-{store}", STORE, folder)
        if temporal:
            restored(self._folder / f"backup-{temporal}", TEMPORAL, folder)
        with self._running(folder, url, interval) as operated:
            yield operated

    @contextmanager
    def _running(self, folder: Path, url: str | None, interval: str) -> Iterator[OperatedStack]:
        with operated_stack(
            folder, self._provider, self._loop, database_url=url, PLAYHEAD_RECONCILE_INTERVAL_SECONDS=interval
        ) as operated:
            yield operated
            assert operated.stack.end_with(signal.SIGTERM) == 0

    def _talk(self, operated: OperatedStack, names: tuple[str, ...], point: Point) -> None:
        if point == 1:
            self.sessions = {name: operated.create(**AGENT) for name in names}
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for said in [threads.submit(self._say, operated, each, point) for each in self.sessions.values()]:
                said.result()
        self.complete = {
            name: operated.until_agreed(session_id, point + 1) for name, session_id in self.sessions.items()
        }

    def _say(self, operated: OperatedStack, session_id: str, point: Point) -> None:
        operated.say_on(DAYS[point - 1], session_id, SAID[point - 1])

    def _back_up(self, url: str | None, point: Point) -> None:
        copied(self._folder, TEMPORAL, self._folder / f"backup-{point}")
        if self._postgres is None:
            copied(self._folder, STORE, self._folder / f"backup-{point}")
        else:
            self._databases[point] = self._postgres.new_database(url)
