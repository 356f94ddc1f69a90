"""Live delivery between workers and APIs in separate processes, over PostgreSQL.

An API announces on a channel of all workers which sessions it watches, and the channel on which it listens. It renews
the announcement, which otherwise expires. So workers publish nothing for sessions without watchers, and an API
receives messages of its own sessions only.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from contracts.sessions import TurnStart
from store.database.connection import Database
from streaming.hub import LiveHub
from streaming.listen_notify import ListenNotifyChannel
from streaming.messages import TextDelta

TO_WORKERS: Final = "playhead_watching"
TO_APIS: Final = "playhead_workers"
ANNOUNCE_INTERVAL_SECONDS = 10.0
ANNOUNCEMENT_TTL_SECONDS = 25.0
"""Lifetime of an announcement that is not renewed."""
MAX_SESSIONS_PER_MESSAGE = 150
MAX_CHARACTERS_PER_MESSAGE = 1_000
"""Keeps a message below the size limit whatever its characters are; one takes at most six bytes."""


@asynccontextmanager
async def receive_from_workers(hub: LiveHub, database: Database) -> AsyncIterator[None]:
    """The API's side: while the block runs, the hub receives the messages of all workers for its watched sessions."""
    listener = _Listener(hub, database)
    async with _running(listener.bus.run(), listener.renew()):
        yield


@asynccontextmanager
async def remote_subscribers(database: Database) -> AsyncIterator["RemoteSubscribers"]:
    """The worker's side: the subscribers at all APIs, while the block runs."""
    subscribers = RemoteSubscribers(database)
    async with _running(subscribers.bus.run()):
        yield subscribers


class _Listener:
    """An API's announcements to the workers, and the messages that it receives from them."""

    def __init__(self, hub: LiveHub, database: Database) -> None:
        self._hub = hub
        self._channel = f"playhead_api_{uuid4().hex}"
        self.bus = ListenNotifyChannel(
            database.engine.url, [self._channel, TO_APIS], on_message=self._on_message, on_connected=self._on_connected
        )
        hub.on_first_watcher = lambda session_id: self._announce([session_id], fresh=True)
        hub.on_last_watcher = lambda session_id: self._announce([session_id], fresh=False, watching=False)

    async def renew(self) -> None:
        """Renew the announcements of watched sessions until cancelled."""
        while True:
            await asyncio.sleep(ANNOUNCE_INTERVAL_SECONDS)
            self._announce(self._hub.watched, fresh=False)

    def _on_connected(self) -> None:
        """On every connection, request all text from its beginning and read the logs again: messages may be lost."""
        self._announce(self._hub.watched, fresh=True)
        for session_id in self._hub.watched:
            self._hub.log_appended(session_id)

    def _announce(self, session_ids: list[str], *, fresh: bool, watching: bool = True) -> None:
        for start in range(0, len(session_ids), MAX_SESSIONS_PER_MESSAGE):
            some = session_ids[start : start + MAX_SESSIONS_PER_MESSAGE]
            message = {"to": self._channel, "sessions": some, "fresh": fresh, "watching": watching}
            self.bus.publish(TO_WORKERS, json.dumps(message))

    def _on_message(self, channel: str, text: str) -> None:
        if channel == TO_APIS:  # a worker has connected: it has no announcements yet
            self._announce(self._hub.watched, fresh=True)
            return
        message: dict[str, Any] = json.loads(text)
        if "turn" in message:
            attempt = (message["take"][0], message["take"][1])
            opening = message.get("opening")
            delta = TextDelta(
                message["turn"],
                attempt,
                message["base"],
                message["offset"],
                message["text"],
                opening=TurnStart.model_validate(opening) if opening else None,
                is_logged=message.get("logged", True),
            )
            self._hub.publish_delta(message["session"], delta)
        else:
            self._hub.log_appended(message["session"])


class RemoteSubscribers:
    """Subscribers at APIs in other processes."""

    def __init__(self, database: Database) -> None:
        self.bus = ListenNotifyChannel(
            database.engine.url, [TO_WORKERS], on_message=self._on_message, on_connected=self._request_announcements
        )
        self._watched: dict[str, dict[str, float]] = {}
        self._callbacks: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)

    def is_watched(self, session_id: str) -> bool:
        """True if any API watches this session."""
        return bool(self._channels(session_id))

    def log_appended(self, session_id: str) -> None:
        """Notify subscribers that the session's log has new events."""
        for channel in self._channels(session_id):
            self.bus.publish(channel, json.dumps({"session": session_id}))

    def publish_delta(self, session_id: str, delta: TextDelta) -> None:
        """Publish a piece of the agent's text to the subscribers."""
        channels = self._channels(session_id)
        for piece in _pieces(delta) if channels else ():
            message: dict[str, Any] = {
                "session": session_id,
                "turn": piece.turn_id,
                "take": piece.attempt,
                "base": piece.base,
                "offset": piece.offset,
                "text": piece.text,
                "logged": piece.is_logged,
            }
            if piece.opening is not None:
                message["opening"] = piece.opening.model_dump(mode="json", exclude_defaults=True)
            for channel in channels:
                self.bus.publish(channel, json.dumps(message, ensure_ascii=False))

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
        """The channels of the APIs that watch a session."""
        channels = self._watched.get(session_id)
        if not channels:
            return []
        now = asyncio.get_running_loop().time()
        for channel in [channel for channel, until in channels.items() if until < now]:
            del channels[channel]
        if not channels:
            del self._watched[session_id]
        return list(channels)

    def _request_announcements(self) -> None:
        self.bus.publish(TO_APIS, "{}")

    def _on_message(self, _channel: str, text: str) -> None:
        message: dict[str, Any] = json.loads(text)
        until = asyncio.get_running_loop().time() + ANNOUNCEMENT_TTL_SECONDS
        for session_id in message["sessions"]:
            if not message["watching"]:
                self._watched.get(session_id, {}).pop(message["to"], None)
                continue
            channels = self._watched.setdefault(session_id, {})
            is_new = message["to"] not in channels
            channels[message["to"]] = until
            if is_new or message["fresh"]:
                for callback in list(self._callbacks.get(session_id, ())):
                    callback()


def _pieces(delta: TextDelta) -> Iterator[TextDelta]:
    """The delta in pieces that each fit into one message."""
    for start in range(0, max(len(delta.text), 1), MAX_CHARACTERS_PER_MESSAGE):
        text = delta.text[start : start + MAX_CHARACTERS_PER_MESSAGE]
        opening = None if start else delta.opening
        yield replace(delta, offset=delta.offset + start, text=text, opening=opening)


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
