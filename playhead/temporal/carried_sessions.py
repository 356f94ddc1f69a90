"""Inputs of continued sessions: only new turns are serialized, and the worker that wrote an input need not parse it."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice
from weakref import ref

from contracts.sessions import StartSession
from domain.durable import FrozenModel
from domain.turns.turn import Turn

MAX_KEPT = 16
"""Upper bound on the kept inputs. Those whose run starts on another worker are never taken, and in time dropped."""
MAX_BYTES = 64_000_000
"""Upper bound on the bytes of serialized turns that are kept, of all sessions together."""

Write = Callable[[object], bytes]
"""Writes a value as JSON."""


class CarriedSessions:
    """The inputs of next runs, by their serialized form, each until it is read once.

    Serializing or parsing an input with thousands of turns takes tens of milliseconds, in which the session answers no
    query. So turns that were serialized for an earlier run are not serialized again, and a worker does not parse an
    input that it has written itself. Models are immutable, and equal to the parsed ones: the tests compare them.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._kept: OrderedDict[bytes, StartSession] = OrderedDict()
        self._written: OrderedDict[str, _WrittenTurns] = OrderedDict()

    def written(self, session: StartSession) -> bytes:
        """The input as JSON. Its turns come first: while turns are only added, their text only grows at its end."""
        assert session.timeline is not None
        turns = self._written.pop(session.session_id, None) or _WrittenTurns(self._write)
        turns.update(session.timeline.turns.values())
        self._remember(session.session_id, turns)
        rest_of_timeline = self._without(session.timeline, {"turns": {}})
        rest = self._without(session, {"timeline": None})
        written = b"".join((b'{"timeline":{"turns":{', turns.written, b"},", rest_of_timeline[1:], b",", rest[1:]))
        self._keep(written, session)
        return written

    def take(self, written: bytes) -> StartSession | None:
        """Remove the input with this serialized form, and return it. None if it was not kept."""
        return self._kept.pop(written, None)

    def _without(self, model: FrozenModel, defaults: dict[str, object]) -> bytes:
        """A model as JSON without the fields of `defaults`; at least one other field must not have its default."""
        return self._write(model.model_copy(update=defaults))

    def _keep(self, written: bytes, session: StartSession) -> None:
        self._kept[written] = session
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)

    def _remember(self, session_id: str, turns: "_WrittenTurns") -> None:
        self._written[session_id] = turns
        size = sum(len(each.written) for each in self._written.values())
        while size > MAX_BYTES:
            _, forgotten = self._written.popitem(last=False)
            size -= len(forgotten.written)


class _WrittenTurns:
    """The turns of one session as members of a JSON object."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._turns: list[ref[Turn]] = []
        self._ends: list[int] = []
        self.written = bytearray()

    def update(self, turns: Iterable[Turn]) -> None:
        """Write the turns again from the first one that has changed."""
        turns = list(turns)
        same = next(
            (place for place, (old, turn) in enumerate(zip(self._turns, turns, strict=False)) if old() is not turn),
            min(len(self._turns), len(turns)),
        )
        del self._turns[same:], self._ends[same:]
        del self.written[self._ends[-1] if self._ends else 0 :]
        for turn in islice(turns, same, None):
            separator = b"," if self.written else b""
            self.written += b"%b%b:%b" % (separator, self._write(turn.id), self._write(turn))
            self._turns.append(ref(turn))
            self._ends.append(len(self.written))
