"""Cancels replies whose client has closed the stream: the turn keeps its text so far, and the session continues."""

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from api.http.problems import Problem
from api.sessions.reader import SessionReader
from api.temporal.errors import SessionClosed, WaitTimedOut
from api.temporal.session_client import SessionClient
from domain.sessions.commands import CancelTurn
from store.database.errors import StoreUnavailable
from store.sessions.chat_addresses import ChatAddressStore
from store.sessions.sessions import StoredSession

RETRY_SECONDS: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Pauses between attempts to stop the reply to a message that is not accepted yet."""

log = structlog.get_logger("api.openai")


class ReplyStopper:
    """Stops replies in the background. With `is_enabled` false they continue without their client."""

    def __init__(
        self,
        session_client: SessionClient,
        session_reader: SessionReader,
        addresses: ChatAddressStore,
        *,
        is_enabled: bool,
    ) -> None:
        self._session_client = session_client
        self._session_reader = session_reader
        self._addresses = addresses
        self._is_enabled = is_enabled
        self._stopping: set[asyncio.Task[None]] = set()

    def stop(self, session: StoredSession, message_id: str | None) -> None:
        """Stop the reply to a message; a repeat of it or another message is not affected."""
        if self._is_enabled and message_id is not None:
            task = asyncio.create_task(self._stop(session, message_id))
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)

    async def _stop(self, session: StoredSession, message_id: str) -> None:
        # The next message may come before the reply has stopped; its place is found with this note.
        with suppress(StoreUnavailable):
            await self._addresses.note_stopped(session.id, message_id)
        for pause in (*RETRY_SECONDS, None):
            try:
                await self._session_client.cancel(session.id, CancelTurn(message_id=message_id))
            except (SessionClosed, WaitTimedOut):
                return
            except Problem as problem:
                if problem.code != "turn_not_pending":
                    log.warning("reply not stopped", session=session.id, reason=problem.detail)
                    return
            else:
                log.info("reply stopped", session=session.id, reason="the client closed the stream")
                return
            if pause is None or await self._is_answered(session, message_id):
                return
            await asyncio.sleep(pause)

    async def _is_answered(self, session: StoredSession, message_id: str) -> bool:
        """True when the message has a turn, or when the session cannot be read: there is nothing left to cancel."""
        try:
            view, _ = await self._session_reader.view(session)
        except (Problem, StoreUnavailable):
            return True
        messages = (turn.user_message for turn in view.all_turns)
        return any(message is not None and message.message_id == message_id for message in messages)
