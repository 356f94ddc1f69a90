"""Saying something to a session, and what becomes of it: answered, failed, still pending, or said before."""

from contextlib import suppress

from api.http.problems import Problem
from api.http.request_metrics import Metrics
from api.schemas import responses
from api.schemas.responses import Accepted
from api.sessions.reader import SessionReader
from api.sessions.snapshots import Snapshot
from api.sessions.spending_limits import SpendingLimits
from api.temporal.errors import SessionClosed, WaitTimedOut
from api.temporal.session_client import LiveQueryFailed, SessionClient
from contracts.sessions import SendMessageResult
from domain.sessions.commands import Regenerate, TurnCommand
from domain.turns.turn import Turn, UserMessage
from store.sessions.sessions import SessionStore, StoredSession


class MessageService:
    """The message path of the API. Every message has an id, so that none is ever said twice."""

    def __init__(
        self,
        session_client: SessionClient,
        session_reader: SessionReader,
        sessions: SessionStore,
        spending_limits: SpendingLimits,
        metrics: Metrics,
    ) -> None:
        self._session_client = session_client
        self._session_reader = session_reader
        self._sessions = sessions
        self._spending_limits = spending_limits
        self._metrics = metrics

    async def answer(self, session: StoredSession, command: TurnCommand) -> Snapshot:
        """Say something and wait for the reply; the session after it.

        Raises Problem when the message is refused, the turn fails at the model, or the wait ends first.
        """
        turn, result = await self._closed(session, command)
        self._require_answered(turn)
        if result is None:
            return await self._session_reader.now(session)
        return await self._session_reader.after(session, result, turn)

    async def reply(self, session: StoredSession, command: TurnCommand) -> Turn:
        """Say something and wait for the reply; only the turn it is in. Raises as `answer` does."""
        turn = await self.turn(session, command)
        self._require_answered(turn)
        return turn

    async def turn(self, session: StoredSession, command: TurnCommand) -> Turn:
        """Say something and wait for the turn to be over, whatever becomes of it.

        Raises Problem when the message is refused, or the wait ends first.
        """
        turn, _ = await self._closed(session, command)
        return turn

    async def accept(self, session: StoredSession, command: TurnCommand) -> Accepted:
        """Say something and wait only until it is accepted."""
        try:
            result = await self._send(session, command)
        except SessionClosed:
            turn = await self._turn_of_closed(session, command)
            ended = await self._session_reader.recorded(session)
            return Accepted(turn_id=turn.id, revision=ended.head.revision)
        except WaitTimedOut as error:
            raise self._not_taken_yet(command) from error
        return Accepted(turn_id=result.turn.id, revision=result.head.revision)

    async def _closed(self, session: StoredSession, command: TurnCommand) -> tuple[Turn, SendMessageResult | None]:
        """The turn of a message, once it is over, with what Temporal said of it unless the answer came another way."""
        result = None
        try:
            result = await self._send(session, command)
        except SessionClosed:
            turn = await self._turn_of_closed(session, command)
        except WaitTimedOut:
            turn = await self._turn_after_the_wait(session, command)
        else:
            turn = _with_words(result.turn, command)
        self._metrics.count_turn(turn.status)
        return turn, result

    async def _send(self, session: StoredSession, command: TurnCommand) -> SendMessageResult:
        await self._require_affordable(session, command)
        try:
            return await self._session_client.open_turn(session.id, command)
        except Problem as problem:
            if problem.code in ("unavailable", "rate_limited"):
                problem.figures.setdefault("message_id", command.message_id)
            raise

    async def _require_affordable(self, session: StoredSession, command: TurnCommand) -> None:
        """Refuse a new message of an organization that may not spend more. A repeat costs nothing."""
        try:
            await self._spending_limits.require(session.organization_id)
        except Problem:
            if not await self._was_said_before(session, command):
                raise

    async def _was_said_before(self, session: StoredSession, command: TurnCommand) -> bool:
        if command.message_id is None:
            return False
        if await self._sessions.turn_of_message(session.id, command.message_id):
            return True
        with suppress(LiveQueryFailed):
            seen = (await self._session_reader.live(session)).turns
            return any(turn.user_message and turn.user_message.message_id == command.message_id for turn in seen)
        return False

    async def _turn_of_closed(self, session: StoredSession, command: TurnCommand) -> Turn:
        """The first answer to a message of a session that has ended since; a new message is too late."""
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
        """The turn that was answered at the very end of the wait. Raises Problem("wait_timeout") otherwise."""
        try:
            view = await self._session_reader.live(session)
        except LiveQueryFailed as error:
            raise self._not_taken_yet(command) from error
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
        raise self._not_taken_yet(command)

    def _not_taken_yet(self, command: TurnCommand) -> Problem:
        return Problem(
            "wait_timeout",
            f"Within {self._session_client.wait_seconds:g} seconds the message got no turn of its own: it waits behind "
            "others, or no worker is running. Send it again with the same message_id to go on waiting; that never "
            "says it twice.",
            message_id=command.message_id,
        )

    def _require_answered(self, turn: Turn) -> None:
        if turn.status == "failed":
            raise failure_of(turn)


def failure_of(turn: Turn) -> Problem:
    """The answer to a message whose turn failed at the model."""
    return Problem(
        "model_failed",
        f"{turn.error or 'The turn failed.'} The session goes on from the turn before: send the next message.",
        turn=responses.Turn.model_validate(turn),
    )


def _with_words(turn: Turn, command: TurnCommand) -> Turn:
    """The turn with what the user said, which Temporal was spared to send back.

    A regenerated turn keeps words that the command does not repeat; they stand in the session.
    """
    if isinstance(command, Regenerate):
        return turn
    said = UserMessage(text=command.text, created_at=turn.created_at, message_id=command.message_id)
    return turn.model_copy(update={"user_message": said})
