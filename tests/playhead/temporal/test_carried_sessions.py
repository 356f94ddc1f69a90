"""Inputs of next runs: turns are serialized once, and what is read equals what was written."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from pydantic_core import SchemaSerializer
from pydantic_core.core_schema import any_schema

from contracts.sessions import AgentRef, StartSession
from domain.sessions.timeline import Timeline
from domain.turns.turn import Turn
from playhead.temporal import carried_sessions
from playhead.temporal.carried_sessions import CarriedSessions
from tests.support.agents import CLERK

AT = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)


class Writer:
    """Writes as the payload converter does, and counts the turns."""

    def __init__(self) -> None:
        self._serializer = SchemaSerializer(any_schema())
        self.turns: Counter[str] = Counter()

    def __call__(self, value: object) -> bytes:
        if isinstance(value, Turn):
            self.turns[value.id] += 1
        return self._serializer.to_json(value, exclude_defaults=True)


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def carried(writer: Writer) -> CarriedSessions:
    return CarriedSessions(writer)


def turn(number: int, error: str | None = None) -> Turn:
    return Turn(id=f"turn_{number}", parent_id=None, index=number, status="completed", created_at=AT, error=error)


def session(turns: list[Turn], session_id: str = "ses_1") -> StartSession:
    return StartSession(
        session_id=session_id,
        organization_id="org_1",
        agent=AgentRef(id="agt_1", version=1),
        definition=CLERK,
        model="demo",
        name="a name",
        timeline=Timeline(created_at=AT, updated_at=AT, turns={each.id: each for each in turns}, version=len(turns)),
    )


def test_a_turn_is_written_once_however_often_it_is_carried(carried: CarriedSessions, writer: Writer) -> None:
    turns = [turn(number) for number in range(5)]
    for known in (2, 2, 4, 5):
        carrying = session(turns[:known])
        assert StartSession.model_validate_json(carried.written(carrying)) == carrying
    assert set(writer.turns.values()) == {1}


def test_a_longer_session_is_written_with_the_same_beginning(carried: CarriedSessions) -> None:
    turns = [turn(number) for number in range(5)]
    before, after = carried.written(session(turns[:4])), carried.written(session(turns))
    assert after.startswith(before[: before.index(b'"turn_3"')])


def test_turns_are_written_anew_from_the_first_that_has_changed(carried: CarriedSessions, writer: Writer) -> None:
    turns = [turn(number) for number in range(4)]
    carried.written(session(turns))
    changed = session([turns[0], turn(1, error="It failed."), *turns[2:]])
    assert StartSession.model_validate_json(carried.written(changed)) == changed
    assert writer.turns == {"turn_0": 1, "turn_1": 2, "turn_2": 2, "turn_3": 2}


def test_a_session_without_turns_is_carried(carried: CarriedSessions) -> None:
    carrying = session([])
    assert StartSession.model_validate_json(carried.written(carrying)) == carrying


def test_a_written_session_is_read_once_from_memory(carried: CarriedSessions) -> None:
    carrying = session([turn(0)])
    written = carried.written(carrying)
    assert carried.take(written) is carrying
    assert carried.take(written) is None


def test_written_turns_above_the_byte_limit_are_not_kept(
    carried: CarriedSessions, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = [turn(number) for number in range(3)]
    monkeypatch.setattr(carried_sessions, "MAX_BYTES", 1)
    for _ in range(2):
        assert StartSession.model_validate_json(carried.written(session(turns))) == session(turns)
    assert set(writer.turns.values()) == {2}
