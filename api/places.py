"""Places among the commands of a session: Temporal takes ten updates of a workflow at once, from all its clients."""

from asyncio import Semaphore
from typing import Final
from weakref import WeakValueDictionary

TO_WAIT: Final = 3
"""Messages of one session that wait for their reply in Temporal; the others have been accepted and wait here."""
TO_ACT: Final = 2
"""Commands of one session that are obeyed at once: they need a place for milliseconds, and always find one."""


class Places:
    """What one process takes of the places of each session: half of them, so that two fill them and none is refused."""

    def __init__(self) -> None:
        # A semaphore is kept for as long as somebody waits at it.
        self._to_wait: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()
        self._to_act: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()

    def to_wait(self, session_id: str) -> Semaphore:
        """The places in which callers wait for replies of a session."""
        return self._to_wait.setdefault(session_id, Semaphore(TO_WAIT))

    def to_act(self, session_id: str) -> Semaphore:
        """The places for everything that is obeyed at once."""
        return self._to_act.setdefault(session_id, Semaphore(TO_ACT))
