"""Calls of client tools: their ids, requests, results, and the end of those that get none."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from pydantic import JsonValue

from domain.rejections import CommandRejected
from domain.sessions.commands import ClientResult, ReturnResults
from domain.sessions.timeline import ReturnedClientCall, Timeline, WaitingClientCall
from domain.turns.call_digest import hex_digest_of
from domain.turns.turn import Turn

MAX_RESULT_CHARACTERS = 65_536
"""Maximum characters of the result of a call."""
MAX_RESULTS = 100
"""Maximum results that are returned at once."""
MAX_RETURNED_CALLS = 50
"""Maximum calls with results that a session remembers, newest last, to recognise repeats."""

Outcome = Literal["returned", "failed", "expired", "unanswered"]
"""The outcome of a call: a result or an error from its client, or none before it expired or its turn ended."""

_ID = re.compile(r"call_([0-9A-Za-z]{1,64})_([0-9A-Za-z]{1,64})_[0-9]{1,4}_[0-9]{1,4}_[0-9a-f]{12}")


class RecordedCall(NamedTuple):
    """A call of a client tool as the records of its session have it; `said` is the text of the reply before it."""

    call_id: str
    tool: str
    arguments: dict[str, JsonValue]
    said: str
    outcome: Outcome | None = None

    @property
    def step(self) -> int:
        """The number of the step that made the call, from 1."""
        return call_order(self.call_id)[0]


class CallPlace(NamedTuple):
    """The session and the turn of a call."""

    session_id: str
    turn_id: str


def client_call_id(session_id: str, turn_id: str, step: int, number: int, digest: str) -> str:
    """The id of a call, which contains its session and turn. `digest` distinguishes calls with the same number."""
    place = f"{session_id.removeprefix('ses_')}_{turn_id.removeprefix('turn_')}"
    return f"call_{place}_{step}_{number}_{hex_digest_of(digest)[:12]}"


def call_place(call_id: str) -> CallPlace | None:
    """The session and turn in the id of a call; None for an id of another form."""
    match = _ID.fullmatch(call_id)
    return CallPlace(f"ses_{match[1]}", f"turn_{match[2]}") if match else None


def call_order(call_id: str) -> tuple[int, int]:
    """The place of a call among those of its turn: the number of its step, from 1, and its number in the step."""
    *_, step, number, _ = call_id.split("_")
    return int(step), int(number)


def results_digest(results: Sequence[ClientResult]) -> str:
    """A digest of results, whatever their order."""
    return hex_digest_of(*sorted(f"{each.call_id} {_digest(each)}" for each in results))[:24]


def request(timeline: Timeline, call: WaitingClientCall, *, at: datetime) -> Timeline:
    """Add a call that waits for its client. This is not a command: the revision does not change."""
    requested = timeline.changed(at=at, accepted=False, client_calls=(*timeline.client_calls, call))
    payload = call.model_dump(mode="json", exclude={"requested_at", "used"})
    return requested.with_fact("client_call_requested", at, **payload)


def return_results(timeline: Timeline, command: ReturnResults, *, at: datetime) -> Timeline:
    """Take the results of waiting calls. A result that its call has already changes nothing.

    Raises CommandRejected with `session_ended`, `revision_conflict`, `client_call_not_pending`, `too_large` or
    `validation_error`.
    """
    _require_readable(command.results)
    returned = {call.call_id: call for call in timeline.returned_calls}
    for result in command.results:
        known = returned.get(result.call_id)
        if known is not None and known.digest != _digest(result):
            raise _has_another(result.call_id)
    new = tuple(result for result in command.results if result.call_id not in returned)
    if new:
        timeline.require_open()
        timeline.require_revision(command.expected_revision)
    waiting = {call.call_id for call in timeline.client_calls}
    for result in new:
        if result.call_id not in waiting:
            raise _not_pending(result.call_id)
    turns = {call.call_id: call.turn_id for call in timeline.client_calls}
    turns |= {call.call_id: call.turn_id for call in timeline.returned_calls}
    if len({turns[result.call_id] for result in command.results}) > 1:
        raise CommandRejected("validation_error", "The results are of calls of different turns. Return each by itself.")
    return _take(timeline, new, at=at, accepted=True) if new else timeline


def require_taken(turn: Turn, calls: Iterable[RecordedCall], results: Sequence[ClientResult]) -> None:
    """Require that an ended session took these results of calls of a turn.

    Raises CommandRejected with `client_call_not_pending` for a result that differs from the one it took, and with
    `session_ended` for a result of a call that had none.
    """
    _require_readable(results)
    taken = _results_in(turn, calls)
    for result in results:
        if result.call_id not in taken:
            raise CommandRejected("session_ended", "The session has ended: no call waits for its client.")
        if taken[result.call_id] != _digest(result):
            raise _has_another(result.call_id)


def take_results(timeline: Timeline, results: Sequence[ClientResult], *, at: datetime) -> Timeline:
    """Take the results that came with a message. Those of calls that do not wait are ignored."""
    if not results:
        return timeline
    _require_readable(results)
    waiting = {call.call_id for call in timeline.client_calls}
    return _take(timeline, [each for each in results if each.call_id in waiting], at=at, accepted=False)


def close(timeline: Timeline, call_id: str, outcome: Outcome, *, at: datetime) -> Timeline:
    """End a waiting call that has no result. This is not a command: the revision does not change."""
    call = next(each for each in timeline.client_calls if each.call_id == call_id)
    waiting = tuple(each for each in timeline.client_calls if each.call_id != call_id)
    closed = timeline.changed(at=at, accepted=False, client_calls=waiting)
    return _with_fact(closed, call, outcome, at)


def returned_call(timeline: Timeline, call_id: str) -> ReturnedClientCall | None:
    """The call with this id, if it has its result and is remembered."""
    return next((call for call in timeline.returned_calls if call.call_id == call_id), None)


def _take(timeline: Timeline, results: Sequence[ClientResult], *, at: datetime, accepted: bool) -> Timeline:
    waiting = {call.call_id: call for call in timeline.client_calls}
    for result in results:
        call = waiting[result.call_id]
        returned = ReturnedClientCall(
            call_id=call.call_id, turn_id=call.turn_id, digest=_digest(result), said=len(call.said), used=call.used
        )
        # Each call is a change of its own: its event is named after the version. All are one command.
        timeline = timeline.changed(
            at=at,
            accepted=accepted and result is results[0],
            client_calls=tuple(each for each in timeline.client_calls if each.call_id != call.call_id),
            returned_calls=(*timeline.returned_calls, returned)[-MAX_RETURNED_CALLS:],
        )
        timeline = _with_fact(timeline, call, "failed" if result.is_error else "returned", at)
    return timeline


def _with_fact(timeline: Timeline, call: WaitingClientCall, outcome: Outcome, at: datetime) -> Timeline:
    return timeline.with_fact(
        "client_call_closed", at, call_id=call.call_id, turn_id=call.turn_id, tool=call.tool, outcome=outcome
    )


def _require_readable(results: Sequence[ClientResult]) -> None:
    if not results or len(results) > MAX_RESULTS:
        raise CommandRejected("validation_error", f"Return between 1 and {MAX_RESULTS} results at once.")
    if len({result.call_id for result in results}) < len(results):
        raise CommandRejected("validation_error", "A tool call has more than one result.")
    for result in results:
        if len(result.content) > MAX_RESULT_CHARACTERS:
            raise CommandRejected(
                "too_large",
                f"The result of the tool call has {len(result.content)} characters; at most "
                f"{MAX_RESULT_CHARACTERS} are allowed.",
                limit=MAX_RESULT_CHARACTERS,
                actual=len(result.content),
            )


def _results_in(turn: Turn, calls: Iterable[RecordedCall]) -> dict[str, str]:
    """The digests of the results that clients returned for calls of a turn, by call.

    The events of a turn have the model's ids of its calls, so a call is found by its tool and its arguments.
    """
    begun: dict[JsonValue, Mapping[str, JsonValue]] = {}
    ended: list[tuple[Mapping[str, JsonValue], Mapping[str, JsonValue]]] = []
    for event in turn.events:
        if event.type == "tool_call_started":
            begun[event.payload["call_id"]] = event.payload
        elif event.type == "tool_call_result" and event.payload["call_id"] in begun:
            ended.append((begun.pop(event.payload["call_id"]), event.payload))
    found: dict[str, str] = {}
    for call in sorted(calls, key=lambda each: call_order(each.call_id)):
        if call.outcome not in ("returned", "failed"):
            continue
        error = "tool_error" if call.outcome == "failed" else None
        for place, (start, end) in enumerate(ended):
            if (start["name"], start["arguments"], end.get("error")) == (call.tool, call.arguments, error):
                result = ClientResult(call_id=call.call_id, content=str(end["result"]), is_error=error is not None)
                found[call.call_id] = _digest(result)
                del ended[place]
                break
    return found


def _has_another(call_id: str) -> CommandRejected:
    return CommandRejected(
        "client_call_not_pending",
        f"The tool call {call_id} has another result already, which cannot be changed.",
        call_id=call_id,
    )


def _not_pending(call_id: str) -> CommandRejected:
    return CommandRejected(
        "client_call_not_pending",
        f"No tool call {call_id[:200]} is waiting for its client: it has expired, its reply was stopped, or it does "
        "not exist.",
        call_id=call_id[:200],
    )


def _digest(result: ClientResult) -> str:
    return hex_digest_of(result.content, "error" if result.is_error else "")[:24]
