"""The event log of sessions: append-only, numbered without gaps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
RESET = "session_reset"
"""The type of the event of a reset, after which even an ended session continues."""

_FACTS_OF_TURNS = frozenset({"approval_requested", "client_call_requested", "client_call_closed"})
"""Events of a session that belong to a turn, whose id is in their payload."""

Recorded = Literal["recorded", "known", "too_early", "no_session"]
"""Outcome of recording a turn's start: `too_early` while the end of the previous turn is not recorded."""

_IN_SESSION = events.c.session_id == bindparam("session_id", type_=CleanText())
_COUNT = select(sessions.c.event_count).where(sessions.c.id == bindparam("session_id", type_=CleanText()))
_HEAD_VERSION = select(sessions.c.head_version).where(sessions.c.id == bindparam("session_id", type_=CleanText()))
_OPEN_TURNS = (
    select(turns.c.document)
    .where(turns.c.session_id == bindparam("session_id", type_=CleanText()), turns.c.status == "pending")
    .order_by(turns.c.created_at, turns.c.idx)
)
_STATUS = select(turns.c.status).where(
    turns.c.session_id == bindparam("session_id", type_=CleanText()),
    turns.c.id == bindparam("turn_id", type_=CleanText()),
)
_LOCKED_COUNT = _COUNT.with_for_update()
_SET_COUNT = update(sessions).where(sessions.c.id == bindparam("of_session"))
_KNOWN_KEYS = select(events.c.key).where(_IN_SESSION, events.c.key.in_(bindparam("keys", expanding=True)))
_FIRST_OF_KEYS = select(func.min(events.c.sequence)).where(
    _IN_SESSION, events.c.key.in_(bindparam("keys", expanding=True))
)
_LAST_TURNING_POINT = (
    select(events.c.sequence, events.c.type)
    .where(_IN_SESSION, events.c.type.in_((COMPLETION, RESET)))
    .order_by(events.c.sequence.desc())
    .limit(1)
)
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

_FACTS = (
    select(events.c.type, events.c.payload)
    .where(_IN_SESSION, events.c.turn_id == bindparam("turn_id", type_=CleanText()), events.c.type.in_(_FACTS_OF_TURNS))
    .order_by(events.c.sequence)
)


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event to append. `key` identifies it, so that a repeated report is not appended twice.

    The log holds no texts: they are read from the turn.
    """

    key: str
    type: str
    turn_id: str | None
    created_at: datetime
    payload: dict[str, JsonValue]

    def with_revision(self, revision: int) -> "LoggedEvent":
        """The event with the session's revision after it."""
        return replace(self, payload={**self.payload, "revision": revision})


@dataclass(frozen=True, slots=True)
class LogRow:
    """An event of the log. Events that begin or end a turn come with the turn, since the log holds no texts."""

    sequence: int
    type: str
    turn_id: str | None
    created_at: datetime
    payload: dict[str, JsonValue]
    turn: Turn | None


class EventLog:
    """Reads event logs, and records the start of turns; settlement appends everything else."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert_turn = insert_new(database, turns, key=["session_id", "id"])

    async def length(self, session_id: str) -> int:
        """The sequence number of the newest event; 0 before the first."""
        key = {"session_id": session_id}
        return await self._database.read(lambda connection: connection.execute(_COUNT, key).scalar()) or 0

    async def head_version(self, session_id: str) -> int | None:
        """The version of the session that was recorded last; None before the first settlement."""
        key = {"session_id": session_id}
        return await self._database.read(lambda connection: connection.execute(_HEAD_VERSION, key).scalar())

    async def open_turns(self, session_id: str) -> dict[str, Turn]:
        """The turns whose start is in the log and whose end is not, with their events in the log, by their ids."""

        def work(connection: Connection) -> dict[str, Turn]:
            documents = connection.execute(_OPEN_TURNS, {"session_id": session_id}).scalars()
            return {turn.id: turn for turn in map(Turn.model_validate_json, documents)}

        return await self._database.read(work)

    async def lengths(self, session_ids: Sequence[str]) -> dict[str, int]:
        """The sequence number of the newest event, by session. Unknown sessions are left out."""
        statement = select(sessions.c.id, sessions.c.event_count).where(sessions.c.id.in_(session_ids))

        def work(connection: Connection) -> dict[str, int]:
            return {row.id: row.event_count for row in connection.execute(statement)}

        return await self._database.read(work)

    async def after(self, session_id: str, sequence: int, limit: int = 200) -> list[LogRow]:
        """The events after a sequence number, oldest first."""
        key = {"session_id": session_id, "after": sequence, "limit": limit}

        def work(connection: Connection) -> list[LogRow]:
            return [_log_row(row) for row in connection.execute(_AFTER, key)]

        return await self._database.read(work)

    async def facts_of_turn(self, session_id: str, turn_id: str) -> list[tuple[str, dict[str, JsonValue]]]:
        """The events of a turn about approvals and client tools, oldest first: types and payloads."""
        key = {"session_id": session_id, "turn_id": turn_id}
        return await self._database.read(
            lambda connection: [(row.type, row.payload) for row in connection.execute(_FACTS, key)]
        )

    async def completed_at(self, session_id: str) -> int | None:
        """The sequence number of the session's completion event; None until it is recorded, and after a reset."""
        key = {"session_id": session_id}
        row = await self._database.read(lambda connection: connection.execute(_LAST_TURNING_POINT, key).one_or_none())
        return row.sequence if row is not None and row.type == COMPLETION else None

    async def first_start(self, session_id: str, turn_ids: Sequence[str]) -> int | None:
        """The sequence number of the first event that starts one of these turns; None while there is none."""
        if not turn_ids:
            return None
        key = {"session_id": session_id, "keys": [starting_key(turn_id) for turn_id in turn_ids]}
        return await self._database.read(lambda connection: connection.execute(_FIRST_OF_KEYS, key).scalar())

    async def record_start(self, session_id: str, turn: Turn, *, in_order: bool = True) -> Recorded:
        """Record the start of a turn, and the turn in its present state, before it is settled.

        With `in_order` this is done only after the end of the previous turn is recorded.
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
        if in_order and not known.issuperset(keys[1:]) and not _is_closed(connection, session_id, turn.parent_id):
            return "too_early"
        connection.execute(self._insert_turn, turn_values(session_id, turn))
        append(connection, session_id, count, [start_of(turn)])
        connection.execute(_SET_COUNT, {"of_session": session_id, "event_count": count + 1})
        return "recorded"


def _is_closed(connection: Connection, session_id: str, turn_id: str | None) -> bool:
    """True for a closed turn. The log of a fork has no events of the closed turns that it shares with its source."""
    status = connection.execute(_STATUS, {"session_id": session_id, "turn_id": turn_id}).scalar()
    return status is not None and status != "pending"


def with_revision(events: Sequence[LoggedEvent], revision: int) -> list[LoggedEvent]:
    """The events of one record. The last one carries the revision of the session after all of them."""
    *others, last = events
    return [*others, last if "revision" in last.payload else last.with_revision(revision)]


def known_keys(connection: Connection, session_id: str, keys: Sequence[str]) -> set[str]:
    """Those of the keys that are in the log already."""
    return set(connection.execute(_KNOWN_KEYS, {"session_id": session_id, "keys": keys}).scalars())


def append(connection: Connection, session_id: str, count: int, new_events: Sequence[LoggedEvent]) -> None:
    """Append events to the `count` existing ones. The caller locks the session's row and stores the new count."""
    rows = [_event_values(session_id, sequence, event) for sequence, event in enumerate(new_events, start=count + 1)]
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
    """The events of turns and facts in the order of their time; the completion of the session comes last."""
    events = [event for turn in turns for event in _of_turn(turn)]
    events += [_of_fact(fact) for fact in facts]
    return sorted(events, key=lambda event: (event.type == "session_completed", event.created_at))


def start_of(turn: Turn) -> LoggedEvent:
    """The event of a turn's start."""
    place: dict[str, JsonValue] = {"index": turn.index, "parent_id": turn.parent_id}
    return LoggedEvent(starting_key(turn.id), "turn_started", turn.id, turn.created_at, place)


def starting_key(turn_id: str) -> str:
    """The key of the event of a turn's start."""
    return f"{turn_id}/started"


def closing_key(turn_id: str) -> str:
    """The key of the event of a turn's end."""
    return f"{turn_id}/closed"


def _of_turn(turn: Turn) -> Iterable[LoggedEvent]:
    yield start_of(turn)
    for number, event in enumerate(turn.events):
        yield LoggedEvent(f"{turn.id}/{number}", event.type, turn.id, event.created_at, event.payload)
    if turn.status != "pending":
        outcome: dict[str, JsonValue] = {"node_id": turn.node_id, "error": turn.error}
        yield LoggedEvent(closing_key(turn.id), f"turn_{turn.status}", turn.id, _closed_at(turn), outcome)


def _of_fact(fact: SessionFact) -> LoggedEvent:
    """The event of a fact; one about an approval or a client tool belongs to a turn."""
    turn_id = fact.payload.get("turn_id") if fact.type in _FACTS_OF_TURNS else None
    return LoggedEvent(
        fact.key, fact.type, turn_id if isinstance(turn_id, str) else None, fact.created_at, fact.payload
    )


def _closed_at(turn: Turn) -> datetime:
    """The end of a turn: the time of its answer, else of its last error, else its start plus its duration."""
    if turn.assistant_message is not None:
        return turn.assistant_message.created_at
    errors = [event.created_at for event in turn.events if event.type == "execution_error"]
    return errors[-1] if errors else turn.created_at + timedelta(seconds=turn.usage.duration_seconds)
