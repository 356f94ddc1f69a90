"""Inputs of the next runs of sessions, kept in memory by the worker that wrote them."""

from collections import OrderedDict

from contracts.sessions import StartSession

MAX_KEPT = 16
"""Sessions whose next run begins elsewhere are forgotten when so many others have ended a run."""


class CarriedSessions:
    """The inputs of next runs, by their serialized form, each until it is read once.

    Reading one with thousands of turns takes tens of milliseconds, in which nobody can ask the session anything. Models
    are immutable, and equal to what would be read: the tests compare them.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, StartSession] = OrderedDict()

    def keep(self, written: bytes, session: StartSession) -> None:
        """Keep what was written for the next run."""
        self._kept[written] = session
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)

    def take(self, written: bytes) -> StartSession | None:
        """Remove the input with this serialized form, and return it. None if it was not kept."""
        return self._kept.pop(written, None)
