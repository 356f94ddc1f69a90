"""The event log of sessions: what happened, numbered without gaps, appended with what it tells and never rewritten."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import JsonValue
from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from domain.sessions.timeline import SessionFact
from domain.turns.turn import Turn
from store.database.column_types import CleanText
from store.database.connection import Database
from store.database.ids import derived_id
from store.database.tables import events, sessions, turns
from store.database.upsert import insert_new
from store.sessions.turn_rows import turn_values

COMPLETION = "session_completed"
"""The type of a session's last event."""

Recorded = Literal["recorded", "known", "too_early", "no_session"]
"""What became of recording a turn's start: `too_early` while the turn before it is not recorded to its end."""

_IN_SESSION = events.c.session_id == bindparam("session_id", type_=CleanText())
_COUNT = select(sessions.c.event_count).where(sessions.c.id == bindparam("session_id", type_=CleanText()))
_LOCKED_COUNT = _COUNT.with_for_update()
_SET_COUNT = update(sessions).where(sessions.c.id == bindparam("of_session"))
_KNOWN_KEYS = select(events.c.key).where(_IN_SESSION, events.c.key.in_(bindparam("keys", expanding=True)))
_FIRST_OF_KEYS = select(func.min(events.c.sequence)).where(
    _IN_SESSION, events.c.key.in_(bindparam("keys", expanding=True))
)
_COMPLETED_AT = select(func.max(events.c.sequence)).where(_IN_SESSION, events.c.type == COMPLETION)
_AFTER = (
    select(events.c.sequence, events.c.type, events.c.turn_id, events.c.created_at, events.c.payload, turns.c.document)
    .select_from(
        events.outerjoin(
            turns,
            (turns.c.session_id == events.c.session_id)
            & (turns.c.id == events.c.turn_id)
            & events.c.type.in_(("turn_started", "turn_completed", "turn_failed", "turn_interrupted")),
        )
    )
    .where(_IN_SESSION, events.c.sequence > bindparam("after"))
    .order_by(events.c.sequence)
    .limit(bindparam("limit"))
)


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """Something that happened. `key` is the same however often it is reported.

    Texts are not repeated here: they are read from the turn.
    """

    key: str
    type: str
    turn_id: str | None
    created_at: datetime
    payload: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class LogRow:
    """One event. `turn` is there for the events that begin and end a turn: the log itself holds no texts."""

    sequence: int
    type: str
    turn_id: str | None
    created_at: datetime
    payload: dict[str, JsonValue]
    turn: Turn | None


class EventLog:
    """Reads the logs of sessions. Settlement writes them; only the start of a turn may be recorded before."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert_turn = insert_new(database, turns, key=["session_id", "id"])

    async def length(self, session_id: str) -> int:
        """The number of the newest event; 0 before the first."""
        key = {"session_id": session_id}
        return await self._database.read(lambda connection: connection.execute(_COUNT, key).scalar()) or 0

    async def lengths(self, session_ids: Sequence[str]) -> dict[str, int]:
        """The number of the newest event of each of the sessions that exist."""
        statement = select(sessions.c.id, sessions.c.event_count).where(sessions.c.id.in_(session_ids))

        def work(connection: Connection) -> dict[str, int]:
            return {row.id: row.event_count for row in connection.execute(statement)}

        return await self._database.read(work)

    async def after(self, session_id: str, sequence: int, limit: int = 200) -> list[LogRow]:
        """The events that follow the given number, oldest first."""
        key = {"session_id": session_id, "after": sequence, "limit": limit}

        def work(connection: Connection) -> list[LogRow]:
            return [_log_row(row) for row in connection.execute(_AFTER, key)]

        return await self._database.read(work)

    async def completed_at(self, session_id: str) -> int | None:
        """The number of the event that says that the session is over, once it is recorded."""
        key = {"session_id": session_id}
        return await self._database.read(lambda connection: connection.execute(_COMPLETED_AT, key).scalar())

    async def first_start(self, session_id: str, turn_ids: Sequence[str]) -> int | None:
        """The number of the first event that starts one of these turns; None while none has been recorded."""
        if not turn_ids:
            return None
        key = {"session_id": session_id, "keys": [starting_key(turn_id) for turn_id in turn_ids]}
        return await self._database.read(lambda connection: connection.execute(_FIRST_OF_KEYS, key).scalar())

    async def record_start(self, session_id: str, turn: Turn, *, in_order: bool = True) -> Recorded:
        """Record that a turn has started, before it is settled, with the turn as it stands then.

        It is recorded after the end of the turn before it, unless that order is not insisted on.
        """
        return await self._database.write(lambda connection: self._record_start(connection, session_id, turn, in_order))

    def _record_start(self, connection: Connection, session_id: str, turn: Turn, in_order: bool) -> Recorded:
        count = connection.execute(_LOCKED_COUNT, {"session_id": session_id}).scalar()
        if count is None:
            return "no_session"
        keys = [starting_key(turn.id)]
        if turn.parent_id is not None:
            keys.append(closing_key(turn.parent_id))
        known = known_keys(connection, session_id, keys)
        if keys[0] in known:
            return "known"
        if in_order and not known.issuperset(keys[1:]):
            return "too_early"
        connection.execute(self._insert_turn, turn_values(session_id, turn))
        append(connection, session_id, count, [start_of(turn)])
        connection.execute(_SET_COUNT, {"of_session": session_id, "event_count": count + 1})
        return "recorded"


def known_keys(connection: Connection, session_id: str, keys: Sequence[str]) -> set[str]:
    """Those of the keys that stand in the log."""
    return set(connection.execute(_KNOWN_KEYS, {"session_id": session_id, "keys": keys}).scalars())


def append(connection: Connection, session_id: str, count: int, happened: Sequence[LoggedEvent]) -> None:
    """Add events after the `count` there are. The caller holds the session's row, and writes the new count down."""
    rows = [_event_values(session_id, sequence, event) for sequence, event in enumerate(happened, start=count + 1)]
    connection.execute(insert(events), rows)


def _event_values(session_id: str, sequence: int, event: LoggedEvent) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "sequence": sequence,
        "id": derived_id("evt", session_id, event.key),
        "key": event.key,
        "type": event.type,
        "turn_id": event.turn_id,
        "created_at": event.created_at,
        "payload": event.payload,
    }


def _log_row(row: Row[*tuple[Any, ...]]) -> LogRow:
    turn = Turn.model_validate_json(row.document) if row.document is not None else None
    return LogRow(row.sequence, row.type, row.turn_id, row.created_at, row.payload, turn)


def events_of(turns: Iterable[Turn], facts: Iterable[SessionFact]) -> list[LoggedEvent]:
    """Everything that the turns and facts tell, in the order in which it happened; the end of the session last."""
    events = [event for turn in turns for event in _of_turn(turn)]
    events += [LoggedEvent(fact.key, fact.type, None, fact.created_at, fact.payload) for fact in facts]
    return sorted(events, key=lambda event: (event.type == "session_completed", event.created_at))


def start_of(turn: Turn) -> LoggedEvent:
    """The event with which a turn begins."""
    place: dict[str, JsonValue] = {"index": turn.index, "parent_id": turn.parent_id}
    return LoggedEvent(starting_key(turn.id), "turn_started", turn.id, turn.created_at, place)


def starting_key(turn_id: str) -> str:
    """The key of the event with which a turn begins."""
    return f"{turn_id}/started"


def closing_key(turn_id: str) -> str:
    """The key of the event with which a turn is over."""
    return f"{turn_id}/closed"


def _of_turn(turn: Turn) -> Iterable[LoggedEvent]:
    yield start_of(turn)
    for number, event in enumerate(turn.events):
        yield LoggedEvent(f"{turn.id}/{number}", event.type, turn.id, event.created_at, event.payload)
    if turn.status != "pending":
        outcome: dict[str, JsonValue] = {"node_id": turn.node_id, "error": turn.error}
        yield LoggedEvent(closing_key(turn.id), f"turn_{turn.status}", turn.id, _closed_at(turn), outcome)


def _closed_at(turn: Turn) -> datetime:
    """When a turn was over: with its answer, else with the error that ended it, else after the time it took."""
    if turn.assistant_message is not None:
        return turn.assistant_message.created_at
    errors = [event.created_at for event in turn.events if event.type == "execution_error"]
    return errors[-1] if errors else turn.created_at + timedelta(seconds=turn.usage.duration_seconds)
