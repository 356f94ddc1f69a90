"""Live messages about a session: notices of new events in its log, and text deltas of replies."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from contracts.sessions import TurnStart


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the agent's text in a turn.

    `attempt` orders the model calls of the turn: its step, and the attempt at it. A higher one replaces the text
    after the first `base` characters, which earlier steps produced. `offset` is the position of `text` in the turn's
    text. `opening` is the start of the turn, in the first delta of a call; `is_logged` is true if the log has it.
    """

    turn_id: str
    attempt: tuple[int, int]
    base: int
    offset: int
    text: str
    opening: TurnStart | None = None
    is_logged: bool = True


class Subscribers(Protocol):
    """The subscribers of sessions, as a worker sees them. No method blocks or fails."""

    def is_watched(self, session_id: str) -> bool:
        """True if the session has a subscriber."""
        ...

    def log_appended(self, session_id: str) -> None:
        """Notify subscribers that the session's log has new events."""
        ...

    def publish_delta(self, session_id: str, delta: TextDelta) -> None:
        """Publish a piece of the agent's text."""
        ...

    def on_subscribe(self, session_id: str, callback: Callable[[], None]) -> AbstractContextManager[None]:
        """While the block runs, call `callback` for new subscribers that may have missed earlier deltas."""
        ...
