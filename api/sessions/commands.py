"""Commands that move a session without saying anything: rewinding, cancelling, restoring and ending."""

from typing import Literal, NoReturn

from api.http.problems import Problem
from api.sessions.reader import SessionReader
from api.sessions.snapshots import Snapshot
from api.temporal.errors import SessionClosed, WaitTimedOut
from api.temporal.session_client import SessionClient
from domain.sessions.caller_config import SetSimulator
from domain.sessions.commands import CancelTurn, DecideApproval, EndSession, RestoreBranch, Rewind
from store.sessions.sessions import StoredSession


class SessionCommands:
    """Moves as the API answers them: with the session afterwards."""

    def __init__(self, session_client: SessionClient, session_reader: SessionReader) -> None:
        self._session_client = session_client
        self._session_reader = session_reader

    async def rewind(self, session: StoredSession, command: Rewind) -> Snapshot:
        """Move the cursor. Raises Problem when that is refused."""
        try:
            await self._session_client.rewind(session.id, command)
        except SessionClosed as error:
            raise Problem("session_ended", "The session has ended and cannot be rewound.") from error
        except WaitTimedOut:
            self._not_taken()
        return await self._session_reader.now(session)

    async def cancel(self, session: StoredSession, command: CancelTurn) -> Snapshot:
        """Stop the reply that is pending. Raises Problem when that is refused."""
        try:
            await self._session_client.cancel(session.id, command)
        except SessionClosed as error:
            raise Problem("session_ended", "The session has ended: there is no reply to cancel.") from error
        except WaitTimedOut:
            self._not_taken()
        return await self._session_reader.now(session)

    async def restore(self, session: StoredSession, command: RestoreBranch) -> Snapshot:
        """Go back to a branch that was given up. Raises Problem when that is refused."""
        try:
            await self._session_client.restore(session.id, command)
        except SessionClosed as error:
            raise Problem("session_ended", "The session has ended and stays on the branch it ended on.") from error
        except WaitTimedOut:
            self._not_taken()
        return await self._session_reader.now(session)

    async def decide(
        self, session: StoredSession, command: DecideApproval, decision: Literal["approve", "deny"]
    ) -> Snapshot:
        """Let a tool call that waits be made, or not. Raises Problem when that is refused."""
        try:
            await self._session_client.decide(session.id, command, decision)
        except SessionClosed as error:
            raise Problem("session_ended", "The session has ended, and with it what waited.") from error
        except WaitTimedOut:
            self._not_taken()
        return await self._session_reader.now(session)

    async def set_simulator(self, session: StoredSession, command: SetSimulator) -> Snapshot:
        """Switch the simulated caller. Raises Problem when that is refused."""
        try:
            await self._session_client.set_simulator(session.id, command)
        except SessionClosed as error:
            raise Problem("session_ended", "The session has ended: nobody talks any more.") from error
        except WaitTimedOut:
            self._not_taken()
        return await self._session_reader.now(session)

    async def end(self, session: StoredSession, command: EndSession) -> Snapshot:
        """End the session, if it has not ended yet. Raises Problem when that is refused."""
        try:
            await self._session_client.end(session.id, command)
        except SessionClosed:
            return await self._session_reader.now(session)
        except WaitTimedOut:
            self._not_taken()
        return await self._session_reader.now(session)

    def _not_taken(self) -> NoReturn:
        raise Problem(
            "wait_timeout",
            f"No worker took the command within {self._session_client.wait_seconds:g} seconds; is one running? It may "
            "still be taken: read the session before you send it again.",
        )
