"""Live delivery within one process: the watchers of sessions and the state of replies being streamed.

Nothing is queued for a watcher. The hub keeps each session's latest state, so a slow watcher skips intermediate
deltas, costs no memory and misses no text.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from contracts.sessions import TurnStart
from streaming.messages import TextDelta


@dataclass(slots=True)
class StreamState:
    """The agent's text so far in a turn that is being answered.

    `opening` is the start of the turn; `is_logged` is true once the log has it.
    """

    attempt: tuple[int, int]
    text: str
    opening: TurnStart | None = None
    is_logged: bool = False

    def follow(self, delta: TextDelta) -> None:
        """Apply a delta. A repeated one changes nothing; one after a gap or from an older attempt is ignored."""
        self.opening = self.opening or delta.opening
        self.is_logged = self.is_logged or delta.is_logged
        if delta.attempt < self.attempt:
            return
        if delta.attempt > self.attempt:
            self.attempt = delta.attempt
            self.text = self.text[: delta.base]
        end = delta.offset + len(delta.text)
        if delta.offset <= len(self.text) < end:
            self.text = self.text[: delta.offset] + delta.text


@dataclass(slots=True)
class SessionView:
    """A session that is being watched."""

    watchers: set["Watch"] = field(default_factory=set)
    streams: dict[str, StreamState] = field(default_factory=dict)

    def wake(self, *, log_appended: bool = False) -> None:
        """Wake every watcher."""
        for watcher in self.watchers:
            watcher.wake(log_appended=log_appended)


class Watch:
    """One watcher of a session. It is woken by updates and then reads the session's latest state."""

    def __init__(self, view: SessionView) -> None:
        self._view = view
        self._updated = asyncio.Event()
        self._log_grew = True
        self.is_closed = False
        """True when there will be no more updates because the process stops."""

    def wake(self, *, log_appended: bool = False) -> None:
        """Signal a possible update, in the event log or in the streamed text."""
        self._log_grew = self._log_grew or log_appended
        self._updated.set()

    async def wait(self, *, within: float) -> bool:
        """Wait for an update for at most `within` seconds. Returns False after a timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._updated.wait()
        was_updated = self._updated.is_set()
        self._updated.clear()
        self._log_grew = self._log_grew or not was_updated  # read the log after a timeout too, as a safety net
        return was_updated

    def take_log_growth(self) -> bool:
        """True if the log may have new events since the last call.

        Call it after reading the texts of turns that are logged: the log then has the start of each.
        """
        grew, self._log_grew = self._log_grew, False
        return grew

    def streamed_texts(self) -> dict[str, str]:
        """The agent's text so far, by the id of each turn being answered whose start is in the log."""
        return {turn_id: stream.text for turn_id, stream in self._view.streams.items() if stream.is_logged}

    def streams(self) -> dict[str, StreamState]:
        """The state of each turn being answered, by its id, also of those whose start is not in the log yet."""
        return dict(self._view.streams)

    def drop_text(self, turn_id: str) -> None:
        """Drop the text of a turn that is over: the log has it."""
        self._view.streams.pop(turn_id, None)


class LiveHub:
    """Connects the watchers of sessions with the workers that answer in them.

    In a single process it is the whole of live delivery. With remote workers it is the API's side: `on_first_watcher`
    subscribes to a session at the workers, whose messages are then published here.
    """

    def __init__(self) -> None:
        self._views: dict[str, SessionView] = {}
        self._callbacks: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)
        self.on_first_watcher: Callable[[str], None] = lambda session_id: None
        self.on_last_watcher: Callable[[str], None] = lambda session_id: None

    @contextmanager
    def watch(self, session_id: str) -> Iterator[Watch]:
        """Watch a session while the block runs."""
        view = self._views.get(session_id)
        is_first = view is None
        if view is None:
            view = self._views[session_id] = SessionView()
        watch = Watch(view)
        view.watchers.add(watch)
        if is_first:
            self.on_first_watcher(session_id)
            for callback in list(self._callbacks.get(session_id, ())):
                callback()
        try:
            yield watch
        finally:
            view.watchers.discard(watch)
            if not view.watchers:
                del self._views[session_id]
                self.on_last_watcher(session_id)

    def close(self) -> None:
        """Close all watches: there will be no more updates."""
        for view in self._views.values():
            for watcher in view.watchers:
                watcher.is_closed = True
            view.wake()

    @property
    def watched(self) -> list[str]:
        """The sessions that are being watched."""
        return list(self._views)

    def is_watched(self, session_id: str) -> bool:
        """True if anybody watches this session."""
        return session_id in self._views

    def log_appended(self, session_id: str) -> None:
        """Notify watchers that the session's log may have new events."""
        if view := self._views.get(session_id):
            view.wake(log_appended=True)

    def publish_delta(self, session_id: str, delta: TextDelta) -> None:
        """Publish a piece of the agent's text."""
        if view := self._views.get(session_id):
            stream = view.streams.setdefault(delta.turn_id, StreamState(delta.attempt, ""))
            was_logged = stream.is_logged
            stream.follow(delta)
            view.wake(log_appended=stream.is_logged and not was_logged)

    @contextmanager
    def on_subscribe(self, session_id: str, callback: Callable[[], None]) -> Iterator[None]:
        """While the block runs, call `callback` when the session gets its first watcher.

        Later watchers find the earlier text in the session's state.
        """
        self._callbacks[session_id].append(callback)
        try:
            yield
        finally:
            self._callbacks[session_id].remove(callback)
            if not self._callbacks[session_id]:
                del self._callbacks[session_id]
