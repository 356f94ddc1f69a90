"""Messages to sessions and their results: answered, failed, still pending, or a repeat."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from api.http.problems import Problem, not_found
from api.http.request_metrics import Metrics
from api.schemas import responses
from api.schemas.responses import Accepted
from api.sessions.reader import SessionReader
from api.sessions.snapshots import Snapshot
from api.sessions.spending_limits import SpendingLimits
from api.sessions.taken_results import TakenResults
from api.temporal.errors import SessionClosed, WaitTimedOut
from api.temporal.session_client import LiveQueryFailed, SessionClient
from contracts.sessions import ReturnResultsResult, SendMessageResult
from domain.sessions.commands import Regenerate, ReturnResults, SendMessage, TurnCommand
from domain.sessions.timeline import WaitingClientCall
from domain.sessions.views import SessionHead
from domain.turns.turn import Turn, UserMessage
from store.sessions.sessions import SessionStore, StoredSession


@dataclass(frozen=True)
class Answer:
    """A turn at its end, or a pending one with the calls that wait for its client."""

    turn: Turn
    calls: tuple[WaitingClientCall, ...] = ()


class MessageService:
    """Sends messages to sessions. Every message has an id, so that a repeat is not sent twice."""

    def __init__(
        self,
        session_client: SessionClient,
        session_reader: SessionReader,
        sessions: SessionStore,
        spending_limits: SpendingLimits,
        *,
        metrics: Metrics,
        taken_results: TakenResults,
    ) -> None:
        self._session_client = session_client
        self._session_reader = session_reader
        self._sessions = sessions
        self._spending_limits = spending_limits
        self._metrics = metrics
        self._taken_results = taken_results

    async def answer(self, session: StoredSession, command: TurnCommand) -> Snapshot:
        """Send a message and wait for the reply; returns the session after it.

        Raises Problem when the message is rejected, the turn fails at the model, or the wait ends first.
        """
        turn, result = await self._closed_turn(session, command)
        self._require_answered(turn)
        if result is None or turn.status == "pending":
            return await self._session_reader.now(session)
        return await self._session_reader.after(session, result, turn)

    async def reply(self, session: StoredSession, command: TurnCommand) -> Turn:
        """Send a message and wait for the reply; returns only its turn. Raises as `answer` does."""
        turn = await self.turn(session, command)
        self._require_answered(turn)
        return turn

    async def turn(self, session: StoredSession, command: TurnCommand) -> Turn:
        """Send a message and wait for the end of its turn, also of a failed or interrupted one.

        Raises Problem when the message is rejected, or the wait ends first.
        """
        turn, _ = await self._closed_turn(session, command)
        return turn

    async def reply_or_calls(self, session: StoredSession, command: SendMessage) -> Answer:
        """Send a message; returns its turn at its end, or with the calls that its client is to carry out.

        Raises Problem when the message is rejected, or the wait ends first.
        """
        turn, result = await self._closed_turn(session, command)
        return Answer(turn) if result is None else _answer_of(turn, result.head)

    async def return_results(
        self, session: StoredSession, command: ReturnResults
    ) -> tuple[Answer, ReturnResultsResult]:
        """Return results of client tools; returns their turn as `reply_or_calls` does, or at once without `wait`.

        Raises Problem when the results are rejected, or the wait ends first.
        """
        try:
            result = await self._session_client.return_results(session.id, command)
        except SessionClosed:
            result = await self._taken_results.repeated(session, command)
        except WaitTimedOut as error:
            raise Problem(
                "wait_timeout",
                f"The agent has not answered within {self._session_client.wait_seconds:g} seconds. The turn goes on: "
                "return the same results again to wait for it.",
            ) from error
        if result.turn.status != "pending":
            self._metrics.count_turn(result.turn.status)
        return _answer_of(result.turn, result.head), result

    async def recorded_calls(self, session: StoredSession, turn_id: str) -> tuple[str, ...]:
        """The ids of the calls of a turn that waited for the client, as far as they are recorded."""
        return tuple(await self._taken_results.calls(session.id, turn_id))

    async def accept(self, session: StoredSession, command: TurnCommand) -> Accepted:
        """Send a message and wait only until it is accepted."""
        try:
            result = await self._send(session, command)
        except SessionClosed:
            turn = await self._turn_of_closed(session, command)
            ended = await self._session_reader.recorded(session)
            return Accepted(turn_id=turn.id, revision=ended.head.revision)
        except WaitTimedOut as error:
            raise self._timeout_problem(command) from error
        return Accepted(turn_id=result.turn.id, revision=result.head.revision)

    async def _closed_turn(self, session: StoredSession, command: TurnCommand) -> tuple[Turn, SendMessageResult | None]:
        """The closed turn of a message, with the result of the update unless the turn was read elsewhere."""
        result = None
        try:
            result = await self._send(session, command)
        except SessionClosed:
            turn = await self._turn_of_closed(session, command)
        except WaitTimedOut:
            turn = await self._turn_after_the_wait(session, command)
        else:
            turn = _with_user_message(result.turn, command)
        if turn.status != "pending":
            self._metrics.count_turn(turn.status)
        return turn, result

    async def _send(self, session: StoredSession, command: TurnCommand) -> SendMessageResult:
        await self._require_affordable(session, command)
        started_at = datetime.now(UTC)
        try:
            result = await self._session_client.open_turn(session.id, command)
        except Problem as problem:
            if problem.code in ("unavailable", "rate_limited", "session_stuck"):
                problem.figures.setdefault("message_id", command.message_id)
            raise
        if result.turn.created_at < started_at:
            await self._require_not_erased(session)
        return result

    async def _require_not_erased(self, session: StoredSession) -> None:
        """Raise Problem("not_found") for a session that another API process erased and this one still has in its cache.

        Until Temporal has deleted a workflow, in about half a minute, it returns the results of earlier messages.
        """
        if await self._sessions.organization_of(session.id) is None:
            self._session_reader.forget(session.id)
            raise not_found("session", session.id)

    async def _require_affordable(self, session: StoredSession, command: TurnCommand) -> None:
        """Reject a new message of an organization at its spending limit. A repeat costs nothing and is accepted."""
        try:
            await self._spending_limits.require(session.organization_id)
        except Problem:
            if not await self._is_repeat(session, command):
                raise

    async def _is_repeat(self, session: StoredSession, command: TurnCommand) -> bool:
        if command.message_id is None:
            return False
        if await self._sessions.turn_of_message(session.id, command.message_id):
            return True
        with suppress(LiveQueryFailed):
            turns = (await self._session_reader.live(session)).turns
            return any(turn.user_message and turn.user_message.message_id == command.message_id for turn in turns)
        return False

    async def _turn_of_closed(self, session: StoredSession, command: TurnCommand) -> Turn:
        """The turn of a repeated message of a session that has ended; a new message is rejected."""
        turn = None
        if command.message_id:
            turn = await self._sessions.turn_of_message(session.id, command.message_id)
        if turn is None or turn.user_message is None:
            raise Problem("session_ended", "The session has ended and accepts no more commands.")
        if not isinstance(command, Regenerate) and turn.user_message.text != command.text:
            raise Problem(
                "idempotency_mismatch",
                f"The message id {command.message_id} was already used for another text. Use a new id for a new "
                "message.",
                turn_id=turn.id,
            )
        return turn

    async def _turn_after_the_wait(self, session: StoredSession, command: TurnCommand) -> Turn:
        """The turn, if it was answered just as the wait ended. Raises Problem("wait_timeout") otherwise."""
        try:
            view = await self._session_reader.live(session)
        except LiveQueryFailed as error:
            raise self._timeout_problem(command) from error
        for turn in reversed(view.turns):
            if turn.user_message and turn.user_message.message_id == command.message_id:
                if turn.status != "pending":
                    return turn
                raise Problem(
                    "wait_timeout",
                    f"The agent has not answered within {self._session_client.wait_seconds:g} seconds. "
                    "The turn goes on: read the session, or send the same message_id again to wait for it.",
                    turn=responses.Turn.model_validate(turn),
                    message_id=command.message_id,
                )
        raise self._timeout_problem(command)

    def _timeout_problem(self, command: TurnCommand) -> Problem:
        return Problem(
            "wait_timeout",
            f"Within {self._session_client.wait_seconds:g} seconds no turn was opened for the message: it is queued, "
            "or no worker is running. Send it again with the same message_id to go on waiting; it is never "
            "sent twice.",
            message_id=command.message_id,
        )

    def _require_answered(self, turn: Turn) -> None:
        if turn.status == "failed":
            raise failure_of(turn)


def _answer_of(turn: Turn, head: SessionHead) -> Answer:
    calls = (call for call in head.client_calls if call.turn_id == turn.id) if turn.status == "pending" else ()
    return Answer(turn, tuple(calls))


def failure_of(turn: Turn) -> Problem:
    """The problem for a message whose turn failed at the model; `reason` is the code of its cause, if there is one."""
    reason = {"reason": turn.error_code} if turn.error_code else {}
    return Problem(
        "model_failed",
        f"{turn.error or 'The turn failed.'} The session continues from the turn before it: send the next message.",
        turn=responses.Turn.model_validate(turn),
        **reason,
    )


def _with_user_message(turn: Turn, command: TurnCommand) -> Turn:
    """The turn with the user message, which is left out of the update's result.

    A regenerated turn has the message of the original turn, which the command does not contain.
    """
    if isinstance(command, Regenerate):
        return turn
    message = UserMessage(text=command.text, created_at=turn.created_at, message_id=command.message_id)
    return turn.model_copy(update={"user_message": message})
