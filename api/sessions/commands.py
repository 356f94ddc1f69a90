"""Commands that send no message: rewind, cancel, restore, decide on a call, return a result, simulate, end."""

from typing import Literal, NoReturn

from api.http.problems import Problem
from api.sessions.reader import SessionReader
from api.sessions.snapshots import Snapshot
from api.sessions.taken_results import TakenResults
from api.temporal.errors import SessionClosed, WaitTimedOut
from api.temporal.session_client import SessionClient
from domain.sessions.caller_config import SetSimulator
from domain.sessions.commands import CancelTurn, DecideApproval, EndSession, RestoreBranch, ReturnResults, Rewind
from store.sessions.sessions import StoredSession


class SessionCommands:
    """Sends commands to sessions and returns the session after each."""

    def __init__(
        self, session_client: SessionClient, session_reader: SessionReader, taken_results: TakenResults
    ) -> None:
        self._session_client = session_client
        self._session_reader = session_reader
        self._taken_results = taken_results

    async def rewind(self, session: StoredSession, command: Rewind) -> Snapshot:
        """Move the cursor. Raises Problem when the command is rejected."""
        try:
            await self._session_client.rewind(session.id, command)
        except SessionClosed as error:
            raise Problem("session_ended", "The session has ended and cannot be rewound.") from error
        except WaitTimedOut:
            self._raise_timeout()
        return await self._session_reader.now(session)

    async def cancel(self, session: StoredSession, command: CancelTurn) -> Snapshot:
        """Stop the pending reply. Raises Problem when the command is rejected."""
        try:
            await self._session_client.cancel(session.id, command)
        except SessionClosed as error:
            raise Problem("session_ended", "The session has ended: there is no reply to cancel.") from error
        except WaitTimedOut:
            self._raise_timeout()
        return await self._session_reader.now(session)

    async def restore(self, session: StoredSession, command: RestoreBranch) -> Snapshot:
        """Make a discarded branch active again. Raises Problem when the command is rejected."""
        try:
            await self._session_client.restore(session.id, command)
        except SessionClosed as error:
            raise Problem(
                "session_ended", "The session has ended and its branches can no longer be changed."
            ) from error
        except WaitTimedOut:
            self._raise_timeout()
        return await self._session_reader.now(session)

    async def decide(
        self, session: StoredSession, command: DecideApproval, decision: Literal["approve", "deny"]
    ) -> Snapshot:
        """Approve or deny a pending tool call. Raises Problem when the command is rejected."""
        try:
            await self._session_client.decide(session.id, command, decision)
        except SessionClosed as error:
            raise Problem("session_ended", "The session has ended: no approval is pending.") from error
        except WaitTimedOut:
            self._raise_timeout()
        return await self._session_reader.now(session)

    async def return_results(self, session: StoredSession, command: ReturnResults) -> Snapshot:
        """Return results of client tools. Raises Problem when the command is rejected."""
        try:
            await self._session_client.return_results(session.id, command)
        except SessionClosed:
            await self._taken_results.repeated(session, command)
        except WaitTimedOut:
            self._raise_timeout()
        return await self._session_reader.now(session)

    async def set_simulator(self, session: StoredSession, command: SetSimulator) -> Snapshot:
        """Switch the simulated user on or off. Raises Problem when the command is rejected."""
        try:
            await self._session_client.set_simulator(session.id, command)
        except SessionClosed as error:
            raise Problem("session_ended", "The session has ended: its simulated user cannot be changed.") from error
        except WaitTimedOut:
            self._raise_timeout()
        return await self._session_reader.now(session)

    async def end(self, session: StoredSession, command: EndSession) -> Snapshot:
        """End the session, if it has not ended yet. Raises Problem when the command is rejected."""
        try:
            await self._session_client.end(session.id, command)
        except SessionClosed:
            return await self._session_reader.now(session)
        except WaitTimedOut:
            self._raise_timeout()
        return await self._session_reader.now(session)

    def _raise_timeout(self) -> NoReturn:
        raise Problem(
            "wait_timeout",
            f"No worker accepted the command within {self._session_client.wait_seconds:g} seconds. It may still "
            "be applied: read the session before you send it again.",
        )
