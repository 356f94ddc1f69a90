"""Rules of calls that wait for the client: results, repeats, and the end of calls without one."""

from datetime import timedelta

import pytest
from pydantic import JsonValue

from domain.rejections import CommandRejected
from domain.sessions import client_calls
from domain.sessions.client_calls import RecordedCall, call_place, client_call_id, require_taken, results_digest
from domain.sessions.command_handlers import end
from domain.sessions.commands import ClientResult, EndSession, ReturnResults
from domain.sessions.timeline import Timeline, WaitingClientCall
from domain.turns.turn import Turn, TurnEvent
from tests.support.conversation import Conversation

ONE = client_call_id("ses_0a1b", "turn_7f", 1, 0, "digest")
TWO = client_call_id("ses_0a1b", "turn_7f", 1, 1, "digest")


def waiting(talk: Conversation, *call_ids: str) -> Timeline:
    turn_id = talk.say("Sales, please.")
    for call_id in call_ids:
        call = WaitingClientCall(
            call_id=call_id,
            turn_id=turn_id,
            tool="transfer",
            said="One moment.",
            requested_at=talk.now,
            expires_at=talk.now + timedelta(minutes=5),
        )
        talk.timeline = client_calls.request(talk.timeline, call, at=talk.tick())
    return talk.timeline


def result(call_id: str, content: str = "Connected.", *, is_error: bool = False) -> ClientResult:
    return ClientResult(call_id=call_id, content=content, is_error=is_error)


def code_of(talk: Conversation, *results: ClientResult, expected_revision: int | None = None) -> str:
    command = ReturnResults(results=results, expected_revision=expected_revision)
    with pytest.raises(CommandRejected) as refused:
        client_calls.return_results(talk.timeline, command, at=talk.now)
    return refused.value.rejection.code


def test_the_id_of_a_call_names_its_session_and_turn() -> None:
    assert call_place(ONE) == ("ses_0a1b", "turn_7f")
    assert len({ONE, TWO, client_call_id("ses_0a1b", "turn_7f", 1, 0, "other")}) == 3
    for other in ("call_abc", f"{ONE}0", ONE.upper(), "", "call_0a_7f_1_0_9f86d081884c\n", f"x{ONE}"):
        assert call_place(other) is None, other


def test_results_are_one_command_however_many_there_are() -> None:
    talk = Conversation().greeted()
    before = waiting(talk, ONE, TWO)
    command = ReturnResults(results=(result(TWO, is_error=True), result(ONE)))
    taken = client_calls.return_results(before, command, at=talk.tick())
    assert taken.client_calls == ()
    assert taken.revision == before.revision + 1
    facts = [fact for fact in taken.unrecorded.facts if fact.type == "client_call_closed"]
    assert [(fact.payload["call_id"], fact.payload["outcome"]) for fact in facts] == [
        (TWO, "failed"),
        (ONE, "returned"),
    ]
    assert len({fact.key for fact in taken.unrecorded.facts}) == len(taken.unrecorded.facts)
    assert client_calls.return_results(taken, command, at=talk.tick()) is taken, "a repeat changes nothing"


def test_unexpected_results_are_rejected_and_change_nothing() -> None:
    talk = Conversation().greeted()
    waiting(talk, ONE)
    assert code_of(talk, result(TWO)) == "client_call_not_pending"
    assert code_of(talk, result(ONE), result(TWO)) == "client_call_not_pending"
    assert code_of(talk, result(ONE), result(ONE, "Busy.")) == "validation_error"
    assert code_of(talk) == "validation_error"
    assert code_of(talk, result(ONE, "x" * 65_537)) == "too_large"
    assert code_of(talk, result(ONE), expected_revision=0) == "revision_conflict"
    command = ReturnResults(results=(result(ONE),))
    talk.timeline = client_calls.return_results(talk.timeline, command, at=talk.tick())
    assert code_of(talk, result(ONE, "Busy.")) == "client_call_not_pending"
    assert code_of(talk, result(ONE, is_error=True)) == "client_call_not_pending"
    talk.timeline = end(talk.timeline, EndSession(), at=talk.tick())
    assert client_calls.return_results(talk.timeline, command, at=talk.tick()) is talk.timeline
    assert code_of(talk, result(TWO)) == "session_ended"


def test_results_of_different_turns_are_refused() -> None:
    talk = Conversation().greeted()
    waiting(talk, ONE)
    other = talk.timeline.client_calls[0].model_copy(update={"call_id": TWO, "turn_id": "turn_other"})
    talk.timeline = client_calls.request(talk.timeline, other, at=talk.tick())
    assert code_of(talk, result(ONE), result(TWO)) == "validation_error"


def test_a_session_remembers_the_newest_results() -> None:
    talk = Conversation().greeted()
    ids = [client_call_id("ses_0a1b", "turn_7f", 1, number, "digest") for number in range(51)]
    waiting(talk, *ids)
    results = tuple(map(result, ids))
    taken = client_calls.return_results(talk.timeline, ReturnResults(results=results), at=talk.tick())
    assert [call.call_id for call in taken.returned_calls] == ids[1:]


def test_equal_results_have_one_digest_in_any_order() -> None:
    one, two = result(ONE), result(TWO, is_error=True)
    assert results_digest((one, two)) == results_digest((two, one))
    others = ((one,), (one, result(TWO)), (one, result(TWO, "No.", is_error=True)))
    assert len({results_digest(each) for each in ((one, two), *others)}) == 4


def test_results_of_equal_calls_are_distinguished_after_the_end() -> None:
    """The events of the turn have the model's ids of its calls, which may be the same in every step."""
    at = Conversation().now
    arguments: dict[str, JsonValue] = {"to": "sales"}

    def events(call_id: str, content: str, error: str | None = None) -> tuple[TurnEvent, TurnEvent]:
        start: dict[str, JsonValue] = {"call_id": call_id, "name": "transfer", "arguments": arguments}
        end: dict[str, JsonValue] = {"call_id": call_id, "name": "transfer", "result": content}
        end |= {} if error is None else {"error": error}
        return (
            TurnEvent(type="tool_call_started", created_at=at, payload=start),
            TurnEvent(type="tool_call_result", created_at=at, payload=end),
        )

    three = client_call_id("ses_0a1b", "turn_7f", 2, 0, "digest")
    turn = Turn(
        id="turn_7f",
        parent_id=None,
        index=1,
        created_at=at,
        events=(*events("a", "Busy.", "tool_error"), *events("b", "Connected."), *events("a", "Late.", "not_answered")),
    )
    calls = [
        RecordedCall(TWO, "transfer", arguments, said="", outcome="returned"),
        RecordedCall(ONE, "transfer", arguments, said="", outcome="failed"),
        RecordedCall(three, "transfer", arguments, said="", outcome="unanswered"),
    ]
    taken = (result(ONE, "Busy.", is_error=True), result(TWO))
    require_taken(turn, calls, taken)
    require_taken(turn, calls, taken[::-1])
    for other, code in (
        (result(ONE), "client_call_not_pending"),
        (result(ONE, "Busy."), "client_call_not_pending"),
        (result(TWO, "Busy.", is_error=True), "client_call_not_pending"),
        (result(three, "Late."), "session_ended"),
        (result("call_of_nobody"), "session_ended"),
    ):
        with pytest.raises(CommandRejected) as refused:
            require_taken(turn, calls, (other,))
        assert refused.value.rejection.code == code, other
