"""What is told live about a session, beside its log: that the log has grown, and what the agent is saying."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of what the agent says in a turn.

    `take` numbers the model calls of the turn: its step, and the attempt at it. A higher one takes over from the
    first `base` characters on, which earlier steps have said. `offset` is the place of `text` in all of it.
    """

    turn_id: str
    attempt: tuple[int, int]
    base: int
    offset: int
    text: str


class Subscribers(Protocol):
    """Those who watch sessions, as a worker sees them. Telling them something takes no time and never fails."""

    def is_watched(self, session_id: str) -> bool:
        """Whether anybody watches this session."""
        ...

    def log_appended(self, session_id: str) -> None:
        """Tell that the session's log has new events."""
        ...

    def publish_delta(self, session_id: str, spoken: TextDelta) -> None:
        """Tell a piece of what the agent says."""
        ...

    def on_subscribe(self, session_id: str, callback: Callable[[], None]) -> AbstractContextManager[None]:
        """While the block runs, call `callback` whenever watchers come who may have missed what was said before."""
        ...
