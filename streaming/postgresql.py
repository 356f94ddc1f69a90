"""Live delivery where workers and API are apart: what is watched and what is said, told over PostgreSQL.

An API says on one channel, to all workers, which sessions it watches, and on which channel it wants to hear of them.
It says so again and again: who is not heard of for a while no longer watches. So nothing is told of a session that
nobody watches, and an API hears of no sessions but its own.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from store.database.connection import Database
from streaming.hub import LiveHub
from streaming.listen_notify import ListenNotifyChannel
from streaming.messages import TextDelta

TO_WORKERS: Final = "playhead_watching"
TO_APIS: Final = "playhead_workers"
RENEW_SECONDS = 10.0
EXPIRE_SECONDS = 25.0
"""An API that has not said for so long that it watches a session no longer does."""
SESSIONS_PER_NOTE = 150
CHARACTERS_PER_NOTE = 1_000
"""So that a note is short enough whatever the characters are; one takes six bytes at most."""


@asynccontextmanager
async def heard_from_elsewhere(hub: LiveHub, database: Database) -> AsyncIterator[None]:
    """The API's side: while the block runs, the hub is told what workers anywhere tell of the sessions it watches."""
    ear = _Listener(hub, database)
    async with _running(ear.board.run(), ear.renew()):
        yield


@asynccontextmanager
async def told_elsewhere(database: Database) -> AsyncIterator["RemoteSubscribers"]:
    """The worker's side: those who watch at any API, while the block runs."""
    subscribers = RemoteSubscribers(database)
    async with _running(subscribers.board.run()):
        yield subscribers


class _Listener:
    """What an API says to the workers, and hears from them."""

    def __init__(self, hub: LiveHub, database: Database) -> None:
        self._hub = hub
        self._channel = f"playhead_api_{uuid4().hex}"
        self.board = ListenNotifyChannel(
            database.engine.url, [self._channel, TO_APIS], heard=self._hear, connected=self._start_afresh
        )
        hub.on_first_watcher = lambda session_id: self._announce([session_id], fresh=True)
        hub.on_last_watcher = lambda session_id: self._announce([session_id], fresh=False, watching=False)

    async def renew(self) -> None:
        """Say again and again what is watched."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            self._announce(self._hub.watched, fresh=False)

    def _start_afresh(self) -> None:
        """Notes may have been lost: have everything told from the beginning, and the logs read again."""
        self._announce(self._hub.watched, fresh=True)
        for session_id in self._hub.watched:
            self._hub.log_appended(session_id)

    def _announce(self, session_ids: list[str], *, fresh: bool, watching: bool = True) -> None:
        for start in range(0, len(session_ids), SESSIONS_PER_NOTE):
            some = session_ids[start : start + SESSIONS_PER_NOTE]
            note = {"to": self._channel, "sessions": some, "fresh": fresh, "watching": watching}
            self.board.post(TO_WORKERS, json.dumps(note))

    def _hear(self, channel: str, text: str) -> None:
        if channel == TO_APIS:  # a worker has begun: it does not know yet who watches
            self._announce(self._hub.watched, fresh=True)
            return
        note: dict[str, Any] = json.loads(text)
        if "turn" in note:
            attempt = (note["take"][0], note["take"][1])
            spoken = TextDelta(note["turn"], attempt, note["base"], note["offset"], note["text"])
            self._hub.publish_delta(note["session"], spoken)
        else:
            self._hub.log_appended(note["session"])


class RemoteSubscribers:
    """The subscribers of a worker whose sessions are watched at APIs in other processes."""

    def __init__(self, database: Database) -> None:
        self.board = ListenNotifyChannel(
            database.engine.url, [TO_WORKERS], heard=self._hear, connected=self._ask_who_watches
        )
        self._watched: dict[str, dict[str, float]] = {}
        self._callbacks: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)

    def is_watched(self, session_id: str) -> bool:
        """Whether any API watches this session."""
        return bool(self._channels(session_id))

    def log_appended(self, session_id: str) -> None:
        """Tell those who watch that the session's log has new events."""
        for channel in self._channels(session_id):
            self.board.post(channel, json.dumps({"session": session_id}))

    def publish_delta(self, session_id: str, spoken: TextDelta) -> None:
        """Tell those who watch a piece of what the agent says."""
        channels = self._channels(session_id)
        for piece in _pieces(spoken) if channels else ():
            note = {
                "session": session_id,
                "turn": piece.turn_id,
                "take": piece.attempt,
                "base": piece.base,
                "offset": piece.offset,
                "text": piece.text,
            }
            for channel in channels:
                self.board.post(channel, json.dumps(note, ensure_ascii=False))

    @contextmanager
    def on_subscribe(self, session_id: str, callback: Callable[[], None]) -> Iterator[None]:
        """While the block runs, call `callback` when an API begins to watch the session."""
        self._callbacks[session_id].append(callback)
        try:
            yield
        finally:
            self._callbacks[session_id].remove(callback)
            if not self._callbacks[session_id]:
                del self._callbacks[session_id]

    def _channels(self, session_id: str) -> list[str]:
        """Where they want to hear of a session."""
        wanted = self._watched.get(session_id)
        if not wanted:
            return []
        now = asyncio.get_running_loop().time()
        for channel in [channel for channel, until in wanted.items() if until < now]:
            del wanted[channel]
        if not wanted:
            del self._watched[session_id]
        return list(wanted)

    def _ask_who_watches(self) -> None:
        self.board.post(TO_APIS, "{}")

    def _hear(self, _channel: str, text: str) -> None:
        note: dict[str, Any] = json.loads(text)
        until = asyncio.get_running_loop().time() + EXPIRE_SECONDS
        for session_id in note["sessions"]:
            if not note["watching"]:
                self._watched.get(session_id, {}).pop(note["to"], None)
                continue
            wanted = self._watched.setdefault(session_id, {})
            is_new = note["to"] not in wanted
            wanted[note["to"]] = until
            if is_new or note["fresh"]:
                for callback in list(self._callbacks.get(session_id, ())):
                    callback()


def _pieces(spoken: TextDelta) -> Iterator[TextDelta]:
    """The same in pieces that fit into a note each."""
    for start in range(0, max(len(spoken.text), 1), CHARACTERS_PER_NOTE):
        text = spoken.text[start : start + CHARACTERS_PER_NOTE]
        yield replace(spoken, offset=spoken.offset + start, text=text)


@asynccontextmanager
async def _running(*parts: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
