"""Live delivery within one process: who watches which session, and what the agents are saying there.

Nothing is queued for a watcher. What is kept of a session is its state, and a watcher that was busy finds the newest:
a slow one costs nobody anything, and misses nothing but the small steps.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from streaming.messages import TextDelta


@dataclass(slots=True)
class StreamState:
    """What the agent has said so far in a turn that it is answering."""

    attempt: tuple[int, int]
    text: str

    def follow(self, spoken: TextDelta) -> None:
        """Take in a piece. Pieces may come twice; one that comes after a gap, or too late, is left out."""
        if spoken.attempt < self.attempt:
            return
        if spoken.attempt > self.attempt:
            self.attempt = spoken.attempt
            self.text = self.text[: spoken.base]
        end = spoken.offset + len(spoken.text)
        if spoken.offset <= len(self.text) < end:
            self.text = self.text[: spoken.offset] + spoken.text


@dataclass(slots=True)
class SessionView:
    """A session that is being watched."""

    watchers: set["Watch"] = field(default_factory=set)
    voices: dict[str, StreamState] = field(default_factory=dict)

    def wake(self, *, log_appended: bool = False) -> None:
        """Have every watcher look."""
        for watcher in self.watchers:
            watcher.wake(log_appended=log_appended)


class Watch:
    """One watcher of a session. It is woken when there is something new, and looks for itself what that is."""

    def __init__(self, scene: SessionView) -> None:
        self._scene = scene
        self._news = asyncio.Event()
        self._log_grew = True
        self.is_closed = False
        """Whether there will be no more news: this process stops."""

    def wake(self, *, log_appended: bool = False) -> None:
        """There may be something new, in the log or else in what is said."""
        self._log_grew = self._log_grew or log_appended
        self._news.set()

    async def news(self, *, within: float) -> bool:
        """Wait until there may be something new, at most so many seconds; whether there may be."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._news.wait()
        came = self._news.is_set()
        self._news.clear()
        self._log_grew = self._log_grew or not came  # after a silence, to be sure
        return came

    def takes_log_news(self) -> bool:
        """Whether the log may have grown since this was last asked.

        It is asked after the voices: the log has the start of a turn before anything is said in it.
        """
        grew, self._log_grew = self._log_grew, False
        return grew

    def voices(self) -> dict[str, str]:
        """What the agent has said so far, by turn that is being answered."""
        return {turn_id: voice.text for turn_id, voice in self._scene.voices.items()}

    def forget(self, turn_id: str) -> None:
        """A turn is over: what was said in it stands in the log."""
        self._scene.voices.pop(turn_id, None)


class LiveHub:
    """Brings together those who watch sessions and those who answer in them.

    In one process it is all there is to live delivery. Where workers are elsewhere it is the API's side of it:
    `on_first_watcher` asks them to tell what happens in a session, and what they tell is put in here.
    """

    def __init__(self) -> None:
        self._scenes: dict[str, SessionView] = {}
        self._callbacks: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)
        self.on_first_watcher: Callable[[str], None] = lambda session_id: None
        self.on_last_watcher: Callable[[str], None] = lambda session_id: None

    @contextmanager
    def watch(self, session_id: str) -> Iterator[Watch]:
        """Watch a session while the block runs."""
        scene = self._scenes.get(session_id)
        is_first = scene is None
        if scene is None:
            scene = self._scenes[session_id] = SessionView()
        watch = Watch(scene)
        scene.watchers.add(watch)
        if is_first:
            self.on_first_watcher(session_id)
            for callback in list(self._callbacks.get(session_id, ())):
                callback()
        try:
            yield watch
        finally:
            scene.watchers.discard(watch)
            if not scene.watchers:
                del self._scenes[session_id]
                self.on_last_watcher(session_id)

    def close(self) -> None:
        """Tell every watcher that there will be no more news."""
        for scene in self._scenes.values():
            for watcher in scene.watchers:
                watcher.is_closed = True
            scene.wake()

    @property
    def watched(self) -> list[str]:
        """The sessions that are being watched."""
        return list(self._scenes)

    def is_watched(self, session_id: str) -> bool:
        """Whether anybody watches this session."""
        return session_id in self._scenes

    def log_appended(self, session_id: str) -> None:
        """The session's log may have new events."""
        if scene := self._scenes.get(session_id):
            scene.wake(log_appended=True)

    def publish_delta(self, session_id: str, spoken: TextDelta) -> None:
        """A piece of what the agent says."""
        if scene := self._scenes.get(session_id):
            is_new = spoken.turn_id not in scene.voices
            scene.voices.setdefault(spoken.turn_id, StreamState(spoken.attempt, "")).follow(spoken)
            scene.wake(log_appended=is_new)

    @contextmanager
    def on_subscribe(self, session_id: str, callback: Callable[[], None]) -> Iterator[None]:
        """While the block runs, call `callback` when the session gets its first watcher.

        Later ones find in the scene what was said before they came.
        """
        self._callbacks[session_id].append(callback)
        try:
            yield
        finally:
            self._callbacks[session_id].remove(callback)
            if not self._callbacks[session_id]:
                del self._callbacks[session_id]
