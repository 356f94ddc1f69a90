"""The event log: numbered without gaps with concurrent writers, and in the order of turns."""

import asyncio

import pytest

from domain.turns.turn import Turn
from store.database.connection import Database
from store.sessions.event_log import EventLog, LogRow
from store.sessions.forks import copy_turns
from store.sessions.settlement import SettlementStore
from tests.support.stored_conversations import SESSION, conversation, session_in, settling


@pytest.fixture
async def settlement(database: Database) -> SettlementStore:
    """The settlements of a session that was created and has never been settled."""
    await session_in(database)
    return SettlementStore(database)


@pytest.fixture
def log(database: Database) -> EventLog:
    return EventLog(database)


def pending(turn: Turn) -> Turn:
    """The turn as it began."""
    return turn.model_copy(update={"status": "pending", "assistant_message": None})


def outline(rows: list[LogRow]) -> list[tuple[int, str, str | None]]:
    """Each event as number, type and turn."""
    return [(row.sequence, row.type, row.turn_id) for row in rows]


async def test_a_start_that_was_recorded_early_is_there_once(settlement: SettlementStore, log: EventLog) -> None:
    [turn] = conversation(1)
    assert await log.record_start(SESSION, pending(turn)) == "recorded"
    assert await log.record_start(SESSION, pending(turn)) == "known"
    [start] = await log.after(SESSION, 0)
    assert start.turn is not None
    assert start.turn.user_message == turn.user_message
    await settlement.settle(settling(turn))
    assert outline(await log.after(SESSION, 0)) == [(1, "turn_started", "turn_0"), (2, "turn_completed", "turn_0")]
    assert await log.record_start(SESSION, pending(turn)) == "known"
    assert await log.length(SESSION) == 2


async def test_an_early_start_is_the_same_event_as_a_late_one(settlement: SettlementStore, log: EventLog) -> None:
    [turn] = conversation(1)
    await log.record_start(SESSION, pending(turn))
    [early] = await log.after(SESSION, 0)
    await settlement.settle(settling(turn))
    late, _ = await log.after(SESSION, 0)
    assert (early.created_at, early.payload) == (late.created_at, late.payload)


async def test_a_turn_starts_after_the_end_of_the_one_before(settlement: SettlementStore, log: EventLog) -> None:
    first, second = conversation(2)
    await log.record_start(SESSION, pending(first))
    assert await log.record_start(SESSION, pending(second)) == "too_early"
    await settlement.settle(settling(first))
    assert await log.record_start(SESSION, pending(second)) == "recorded"
    assert outline(await log.after(SESSION, 1)) == [(2, "turn_completed", "turn_0"), (3, "turn_started", "turn_1")]


async def test_first_turn_of_a_fork_starts_at_once_although_the_log_lacks_the_turns_before(
    settlement: SettlementStore, log: EventLog, database: Database
) -> None:
    first, second = conversation(2)
    await database.write(lambda connection: copy_turns(connection, SESSION, "ses_source", [first]))
    assert await log.record_start(SESSION, pending(second)) == "recorded"


async def test_open_turns_are_those_that_the_log_begins_and_does_not_end(
    settlement: SettlementStore, log: EventLog
) -> None:
    first, second = conversation(2)
    assert (await log.open_turns(SESSION), await log.head_version(SESSION)) == ({}, None)
    await log.record_start(SESSION, pending(first))
    assert await log.open_turns(SESSION) == {first.id: pending(first)}
    settled = settling(first)
    await settlement.settle(settled)
    await log.record_start(SESSION, pending(second))
    assert await log.open_turns(SESSION) == {second.id: pending(second)}
    assert await log.head_version(SESSION) == settled.head.version


async def test_a_start_can_be_recorded_without_waiting_for_its_order(
    settlement: SettlementStore, log: EventLog
) -> None:
    _, second = conversation(2)
    assert await log.record_start(SESSION, pending(second), in_order=False) == "recorded"


async def test_nothing_is_recorded_for_a_session_that_does_not_exist(log: EventLog) -> None:
    [turn] = conversation(1)
    assert await log.record_start("ses_gone", turn) == "no_session"
    assert await log.after("ses_gone", 0) == []
    assert await log.length("ses_gone") == 0


async def test_writers_at_the_same_time_leave_no_gap_and_no_repetition(
    settlement: SettlementStore, log: EventLog, other_process: Database
) -> None:
    turns = conversation(12)
    elsewhere = EventLog(other_process)
    await asyncio.gather(
        *(log.record_start(SESSION, pending(turn), in_order=False) for turn in turns),
        *(elsewhere.record_start(SESSION, pending(turn), in_order=False) for turn in turns),
        *(settlement.settle(settling(turn, version=number)) for number, turn in enumerate(turns, start=1)),
    )
    rows = await log.after(SESSION, 0)
    assert [row.sequence for row in rows] == list(range(1, 25))
    assert len({(row.type, row.turn_id) for row in rows}) == 24
    assert await log.lengths([SESSION, "ses_gone"]) == {SESSION: 24}


async def test_a_log_is_read_in_pages(settlement: SettlementStore, log: EventLog) -> None:
    await settlement.settle(settling(*conversation(3)))
    first = await log.after(SESSION, 0, limit=4)
    assert outline(first) + outline(await log.after(SESSION, 4)) == outline(await log.after(SESSION, 0))


async def test_the_first_of_several_starts_is_found(settlement: SettlementStore, log: EventLog) -> None:
    await settlement.settle(settling(*conversation(2)))
    assert await log.first_start(SESSION, ["turn_1", "turn_0"]) == 1
    assert await log.first_start(SESSION, ["turn_9"]) is None
    assert await log.first_start(SESSION, []) is None
