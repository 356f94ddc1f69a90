"""Results of client tools that a session accepted before it ended: a repeat gets the same response as the first."""

from collections.abc import Mapping
from typing import Final, cast, get_args

from pydantic import JsonValue

from api.http.problems import Problem, problem_of
from api.sessions.reader import SessionReader
from contracts.sessions import ReturnResultsResult
from domain.rejections import CommandRejected
from domain.sessions.client_calls import Outcome, RecordedCall, call_place, require_taken
from domain.sessions.commands import ReturnResults
from domain.usage import Usage, merge_usage
from store.sessions.event_log import EventLog
from store.sessions.sessions import SessionStore, StoredSession
from store.sessions.steps import StepStore

_OUTCOMES: Final = frozenset(get_args(Outcome))


class TakenResults:
    """Answers repeated results after their session has ended, from the store."""

    def __init__(self, sessions: SessionStore, log: EventLog, steps: StepStore, session_reader: SessionReader) -> None:
        self._sessions = sessions
        self._log = log
        self._steps = steps
        self._session_reader = session_reader

    async def repeated(self, session: StoredSession, command: ReturnResults) -> ReturnResultsResult:
        """The response to results that the session accepted. Raises Problem for any others."""
        call_id = command.results[0].call_id if command.results else ""
        place = call_place(call_id)
        turns = await self._sessions.turns_of(session.id, [place.turn_id]) if place else []
        if place is None or not turns:
            raise Problem("session_ended", "The session has ended: no call waits for its client.")
        calls = await self.calls(session.id, place.turn_id)
        try:
            require_taken(turns[0], calls.values(), command.results)
        except CommandRejected as rejected:
            raise problem_of(rejected.rejection) from rejected
        call = calls[call_id]
        head = (await self._session_reader.recorded(session)).head
        used = await self._usage_before(session.id, place.turn_id, call)
        return ReturnResultsResult(turn=turns[0], head=head, said=len(call.said), used=used)

    async def calls(self, session_id: str, turn_id: str) -> dict[str, RecordedCall]:
        """The calls of a turn that waited for its client, with their outcomes, by id."""
        calls: dict[str, RecordedCall] = {}
        for kind, payload in await self._log.facts_of_turn(session_id, turn_id):
            call_id = str(payload.get("call_id"))
            if kind == "client_call_requested":
                calls[call_id] = _recorded_call(call_id, payload)
            elif kind == "client_call_closed" and call_id in calls and payload.get("outcome") in _OUTCOMES:
                calls[call_id] = calls[call_id]._replace(outcome=cast("Outcome", payload["outcome"]))
        return calls

    async def _usage_before(self, session_id: str, turn_id: str, call: RecordedCall) -> Usage:
        """The usage of the turn up to a call."""
        steps = {step.step: step for step in await self._steps.of_turn(session_id, turn_id)}
        return merge_usage([step.reply.usage for number, step in steps.items() if number < call.step])


def _recorded_call(call_id: str, payload: Mapping[str, JsonValue]) -> RecordedCall:
    arguments = payload.get("arguments")
    return RecordedCall(
        call_id,
        tool=str(payload.get("tool")),
        arguments=arguments if isinstance(arguments, dict) else {},
        said=str(payload.get("said", "")),
    )
